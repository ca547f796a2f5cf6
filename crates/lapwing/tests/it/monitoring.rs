//! The dashboard and the alerts that we hand out ask for metrics that the program has.

use crate::at_work::{LIMIT, Lapwing, targets};
use model::Verdict;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};
use testkit::{Refused, Site, step::*, until};

fn handed_out(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(path)).unwrap()
}

/// The queries of the dashboard's panels, and those that its variables are made of.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let asked = targets.map(|target| &target["expr"]).chain(variables.map(|variable| &variable["definition"]));
    asked.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The queries of the rules: what `expr` is followed by, on its line or on the ones that are further in.
fn expressions(rules: &str) -> Vec<String> {
    let mut lines = rules.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some((before, query)) = line.split_once("expr: ") else { continue };
        let mut query = query.to_owned();
        while let Some(more) = lines.next_if(|next| next.starts_with(&format!("{before}  "))) {
            query = query + " " + more.trim();
        }
        found.push(query);
    }
    found
}

/// Each name of ours in a query, with what stands in its braces.
fn names(query: &str) -> Vec<(&str, &str)> {
    query
        .match_indices("lapwing_")
        .map(|(at, _)| {
            let rest = &query[at..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            let braces = rest[end..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
            (&rest[..end], braces.map_or("", |(inside, _)| inside))
        })
        .collect()
}

/// A Lapwing that has seen an `up` and a `down`, and stored both: every metric has its samples.
fn metrics_at_work() -> String {
    let (site, refused) = (Site::serve([resp(200, "fine")]), Refused::new());
    let lapwing = Lapwing::with(&targets([("fine", site.url("/")), ("refused", refused.url("/"))]));
    let _running = lapwing.started();
    lapwing.wait_for_results("fine", 1);
    lapwing.wait_for_results("refused", 1);
    let mut text = String::new();
    until("the writer has told its lag and its progress", LIMIT, || {
        text = lapwing.get("/metrics").unwrap().body;
        text.contains("lapwing_consumer_lag_records{") && text.contains("stage=\"write\"")
    });
    text
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_alerts_is_one_and_each_is_on_the_dashboard() {
    let text = metrics_at_work();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let of = |name: &str| {
        let named = |line: &&&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        samples.iter().filter(named).copied().collect::<Vec<_>>()
    };
    let dashboard = queries(&serde_json::from_str(&handed_out("grafana/lapwing.json")).unwrap());
    let alerts = expressions(&handed_out("prometheus/lapwing.rules.yaml"));
    assert!(dashboard.len() > 20 && alerts.len() > 10, "{} queries, {} alerts", dashboard.len(), alerts.len());
    for query in dashboard.iter().chain(&alerts) {
        for (name, matchers) in names(query) {
            assert!(!of(name).is_empty(), "{name} is no metric: {query}");
            for matcher in matchers.split(", ").filter(|m| !m.is_empty()) {
                let (label, value) = matcher.split_once(['=', '!']).unwrap();
                let has = |line: &&str| line.contains(&format!("{label}=\""));
                let known = match label {
                    "job" | "instance" => true, // Prometheus' own
                    "stage" => of(name).iter().any(|line| line.contains(matcher)),
                    "verdict" => Verdict::from_word(value.trim_matches('"')).is_some(),
                    _ => of(name).iter().any(has),
                };
                assert!(known, "{name} has no {matcher}: {query}");
            }
        }
    }
    let shown: BTreeSet<_> = dashboard.iter().flat_map(|query| names(query)).map(|(name, _)| name).collect();
    for metric in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let name = match metric {
            (name, "counter") => format!("{name}_total"),
            (name, "histogram") => format!("{name}_bucket"),
            (name, _) => name.to_owned(),
        };
        assert!(shown.contains(name.as_str()), "{name} is not on the dashboard");
    }
}

#[test]
fn the_labels_that_queries_are_summed_by_are_those_of_the_metrics() {
    let text = metrics_at_work();
    let dashboard = queries(&serde_json::from_str(&handed_out("grafana/lapwing.json")).unwrap());
    let alerts = expressions(&handed_out("prometheus/lapwing.rules.yaml"));
    for query in dashboard.iter().chain(&alerts) {
        for by in query.split("by (").skip(1) {
            for label in by.split_once(')').unwrap().0.split(", ") {
                let known = ["job", "instance"].contains(&label) || text.contains(&format!("{label}=\""));
                assert!(known, "no metric has {label}: {query}");
            }
        }
    }
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let (rules, tests) =
        (handed_out("prometheus/lapwing.rules.yaml"), handed_out("prometheus/lapwing.rules.test.yaml"));
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert_eq!(alerts.len(), expressions(&rules).len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        assert!(tests.contains(name), "{name} is in no test");
    }
}
