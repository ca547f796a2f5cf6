//! What is asked of an answer: `expect` and `warn`, and the patterns of both compiled together.

use crate::{grammar::target::LIMITS, rules, spot::Spot, target::Workshop, tree::Node, units, view::View};
use model::{
    pattern::{HeaderPattern, Patterns},
    target::{Limits, StatusSet},
};
use std::sync::Arc;

pub(crate) struct Judging {
    pub expect: Limits,
    pub warn: Limits,
    pub patterns: Option<Arc<Patterns>>,
}

/// Reads both of a merged target. What is wrong with a single pattern was said where it stands.
pub(crate) fn judging(workshop: &mut Workshop<'_>, target: View<'_>, spot: &Spot<'_>) -> Judging {
    let mut texts = Vec::new();
    let expect = limits(workshop, target.map("expect"), &mut texts);
    let warn = limits(workshop, target.map("warn"), &mut texts);
    let patterns = if texts.is_empty() { None } else { together(workshop, &texts, target, spot) };
    Judging { expect, warn, patterns }
}

fn together(
    workshop: &mut Workshop<'_>,
    texts: &[Arc<str>],
    target: View<'_>,
    spot: &Spot<'_>,
) -> Option<Arc<Patterns>> {
    match workshop.patterns.body(texts) {
        Ok(patterns) => Some(patterns),
        Err(why) => {
            let each_is_sound = texts.iter().all(|t| workshop.patterns.body(std::slice::from_ref(t)).is_ok());
            if let (true, Some((keys, node))) = (each_is_sound, a_body(target)) {
                let message = format!("all patterns of the target together: this {why}");
                spot.report(workshop.report, &keys, node.place, message);
            }
            None
        }
    }
}

fn a_body<'a>(target: View<'a>) -> Option<([&'static str; 2], &'a Node)> {
    ["expect", "warn"].into_iter().find_map(|limits| Some(([limits, "body"], target.map(limits).node("body")?)))
}

fn limits(workshop: &mut Workshop<'_>, view: View<'_>, texts: &mut Vec<Arc<str>>) -> Limits {
    debug_assert_eq!(view.shape.name, LIMITS.name);
    let body = view.map("body");
    let mut headers = Vec::new();
    for entry in view.named("headers") {
        headers.extend(header(workshop, &entry.key, &entry.node));
    }
    Limits {
        status: view.node("status").map(|_| StatusSet(view.list("status", rules::status))),
        headers,
        matches: indices(body.items("matches"), texts),
        not_matches: indices(body.items("not_matches"), texts),
        cel: view.node("cel").and_then(|n| workshop.patterns.expression(&n.as_shared_text()?).ok()),
        time: view.read("time", units::duration),
        certificate: view.read("certificate", units::certificate),
    }
}

fn header(workshop: &mut Workshop<'_>, name: &str, node: &Node) -> Option<(http::HeaderName, HeaderPattern)> {
    let pattern = workshop.patterns.header(&node.as_shared_text()?).ok()?;
    Some((rules::any_header_name(name).ok()?, pattern))
}

/// Where the patterns stand among those of the target; equal ones stand once.
fn indices(patterns: &[Node], texts: &mut Vec<Arc<str>>) -> Vec<usize> {
    let index = |text: Arc<str>| {
        texts.iter().position(|t| *t == text).unwrap_or_else(|| {
            texts.push(text);
            texts.len() - 1
        })
    };
    patterns.iter().filter_map(Node::as_shared_text).map(index).collect()
}
