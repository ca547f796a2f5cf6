//! Mistakes of keys that are each sound and together are not: found after merging, named where they were written.

use crate::{
    mistakes::Report,
    place::{Path, Place},
    tree::{Node, Value},
    view::View,
};

/// A map as written, and the path to it. What is not in it came from `defaults`.
pub(crate) struct Spot<'a> {
    pub own: &'a Node,
    pub path: Path<'a>,
}

impl Spot<'_> {
    /// Whether something is written there, be it `null`.
    pub fn is_own(&self, keys: &[&str]) -> bool {
        keys.iter().try_fold(self.own, |node, key| node.get(key)).is_some()
    }

    pub fn report(&self, report: &mut Report, keys: &[&str], place: Place, message: impl Into<String>) {
        let defaults = Path::ROOT.key("defaults");
        let start = if self.is_own(keys) { self.path } else { defaults };
        let message = message.into();
        with_keys(&start, keys, &mut |path| report.add(place, path, message.as_str()));
    }

    /// Two keys of the map under `at`, of which one is of no use without the other.
    pub fn both_or_none(&self, report: &mut Report, view: View<'_>, at: &[&str], [a, b]: [&str; 2]) {
        for (written, other) in [(a, b), (b, a)] {
            if let Some(node) = view.node(written)
                && view.node(other).is_none()
                && !view.is_broken(other)
            {
                let keys = [at, &[written]].concat();
                self.report(report, &keys, node.place, format!("`{written}` needs `{other}` beside it"));
            }
        }
    }

    /// An empty user name is one, no user name is a mistake.
    pub fn needs_username(&self, report: &mut Report, map: &Node, at: &[&str]) {
        let written = |key| map.get(key).is_some_and(|n| !matches!(n.value, Value::Null));
        if matches!(map.value, Value::Map(_)) && !written("username") && !written("username_file") {
            self.report(report, at, map.place, "`username` is missing");
        }
    }
}

fn with_keys(path: &Path<'_>, keys: &[&str], then: &mut dyn FnMut(&Path<'_>)) {
    match keys.split_first() {
        None => then(path),
        Some((key, rest)) => with_keys(&path.key(key), rest, then),
    }
}
