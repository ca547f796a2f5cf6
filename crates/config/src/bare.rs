//! URLs of the command line: the same grammar, the same `defaults`, the same rules as in a file; a mistake names the
//! flag.

use crate::{
    files::Files,
    grammar::target::TARGET,
    intern::Interned,
    meant::Config,
    merge::merge,
    mistakes::{Mistakes, Report},
    patterns::PatternCache,
    place::{Path, Place, Sources},
    rules,
    target::{Workshop, Written, slug_of_url},
    tree::{Entry, Node, Value},
    units,
    view::View,
    walk::Walk,
};
use model::{Target, id::MAX_LEN};
use std::{collections::HashSet, path::PathBuf, sync::Arc};
use url::Url;

/// What `lapwing check URL…` may say about its URLs, as written.
#[derive(Clone, Default)]
pub struct BareFlags {
    pub timeout: Option<String>,
    /// Codes and ranges; several may stand in one text, with commas.
    pub status: Vec<String>,
    pub matches: Vec<String>,
    pub not_matches: Vec<String>,
    /// `Name: value`.
    pub headers: Vec<String>,
    pub method: Option<String>,
    pub insecure: bool,
    pub ca_file: Option<PathBuf>,
    pub resolver: Vec<String>,
}

/// Headers hold secrets.
impl std::fmt::Debug for BareFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BareFlags(..)")
    }
}

/// Makes targets of URLs, in their order, over the `defaults` of a config. Ids are slugs of the URLs; equal ones are
/// numbered. An interval that is too short for the timeout is stretched, for each is checked once.
///
/// # Errors
/// Every mistake at once, each named by its flag.
pub fn bare_targets(urls: &[String], flags: &BareFlags, base: Option<&Config>) -> Result<Vec<Arc<Target>>, Mistakes> {
    let mut sources = base.map(|c| c.defaults.sources.clone()).unwrap_or_default();
    let mut report = Report::default();
    let (files, patterns) = (&mut Files::default(), &mut PatternCache::default());
    let common = common(flags, &mut sources, &mut report);
    let place = sources.flag("URL");
    let defaults = base.map_or_else(|| Node::empty_map(place), |c| c.defaults.node.clone());
    let mut ids = Ids::default();
    let mut written = Vec::with_capacity(urls.len());
    for (index, url) in urls.iter().enumerate() {
        let node = set(&common, &["url"], Node::text(place, url));
        let mut walk = Walk { sources: &sources, files, patterns, report: &mut report };
        let mut node = walk.map(&node, &TARGET, &Path::ROOT);
        if let Ok(read) = rules::web_url(url) {
            node = set(&node, &["id"], Node::text(place, &ids.next(url, &read)));
        }
        written.push(Written { node: with_time(node, &defaults), index });
    }
    let interned = &mut Interned::default();
    let mut workshop = Workshop { sources: &sources, files, patterns, interned, report: &mut report };
    let targets = written.iter().filter_map(|w| workshop.target(w, &defaults).map(Arc::new)).collect();
    report.into_result(&sources)?;
    Ok(targets)
}

/// What the flags say of every URL, as if it stood in a file.
fn common(flags: &BareFlags, sources: &mut Sources, report: &mut Report) -> Node {
    let text = |place: Place, text: &Option<String>| text.iter().map(|t| Node::text(place, t)).collect::<Vec<_>>();
    let texts = |place: Place, texts: &[String]| match texts {
        [] => vec![],
        _ => vec![Node::new(place, Value::List(texts.iter().map(|t| Node::text(place, t)).collect()))],
    };
    let status: Vec<_> = flags.status.iter().flat_map(|s| s.split(',')).map(|s| s.trim().to_owned()).collect();
    let ca_file = flags.ca_file.as_ref().map(|p| p.display().to_string());
    let insecure = flags.insecure.then(|| "false".to_owned());
    let said = [
        (&["timeout"][..], text(sources.flag("--timeout"), &flags.timeout)),
        (&["request", "method"], text(sources.flag("--method"), &flags.method)),
        (&["request", "headers"], headers(&flags.headers, sources.flag("--header"), report)),
        (&["request", "resolver"], texts(sources.flag("--resolver"), &flags.resolver)),
        (&["request", "tls", "verify"], text(sources.flag("--insecure"), &insecure)),
        (&["request", "tls", "ca_file"], text(sources.flag("--ca-file"), &ca_file)),
        (&["expect", "status"], texts(sources.flag("--status"), &status)),
        (&["expect", "body", "matches"], texts(sources.flag("--match"), &flags.matches)),
        (&["expect", "body", "not_matches"], texts(sources.flag("--not-match"), &flags.not_matches)),
    ];
    let mut target = Node::empty_map(Place::default());
    for (keys, nodes) in said {
        for node in nodes {
            target = set(&target, keys, node);
        }
    }
    target
}

/// `Name: value` texts as a map; a name given several times has several values.
fn headers(texts: &[String], place: Place, report: &mut Report) -> Vec<Node> {
    let mut map: Vec<(String, Vec<Node>)> = Vec::new();
    for text in texts {
        let Some((name, value)) = text.split_once(':') else {
            // What follows the name may be secret.
            let name = text.split_whitespace().next().unwrap_or_default();
            report.add(place, &Path::ROOT, format!("{name:?} has no colon behind it; write 'Name: value'"));
            continue;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), Node::text(place, value.trim()));
        match map.iter_mut().find(|(n, _)| *n == name) {
            Some((_, values)) => values.push(value),
            None => map.push((name, vec![value])),
        }
    }
    let entry = |(name, values): (String, Vec<Node>)| Entry {
        key: name.into(),
        place,
        node: Node::new(place, Value::List(values.into())),
    };
    if map.is_empty() { vec![] } else { vec![Node::new(place, Value::Map(map.into_iter().map(entry).collect()))] }
}

/// The map with this value under these keys.
fn set(map: &Node, keys: &[&str], node: Node) -> Node {
    let Some((first, rest)) = keys.split_first() else { return node };
    let below = map.get(first).cloned().unwrap_or_else(|| Node::empty_map(node.place));
    let entry = Entry { key: (*first).into(), place: node.place, node: set(&below, rest, node) };
    let others = map.entries().iter().filter(|e| &*e.key != *first).cloned();
    Node { value: Value::Map(others.chain([entry]).collect()), ..map.clone() }
}

/// With an interval in which all attempts have time.
fn with_time(own: Node, defaults: &Node) -> Node {
    let merged = merge(defaults, &own, &TARGET);
    let view = View::new(&merged, &TARGET);
    let Some(timeout) = view.read("timeout", units::duration) else { return own };
    let needed = timeout.saturating_mul(view.whole_u32("retries").saturating_add(1));
    if needed <= view.duration("interval") {
        return own;
    }
    set(&own, &["interval"], Node::text(own.place, &units::write_duration(needed)))
}

/// Ids that are in use.
#[derive(Default)]
struct Ids(HashSet<String>);

impl Ids {
    /// The slug of a URL, with `-2`, `-3` … behind it where it was given before.
    fn next(&mut self, written: &str, url: &Url) -> String {
        let slug = slug_of_url(written, url).unwrap_or_else(|| "url".to_owned());
        let numbered = |n: u32| {
            let suffix = if n == 1 { String::new() } else { format!("-{n}") };
            format!("{}{suffix}", &slug[..slug.len().min(MAX_LEN - suffix.len())])
        };
        let id = (1..).map(numbered).find(|id| !self.0.contains(id)).unwrap_or_default();
        self.0.insert(id.clone());
        id
    }
}
