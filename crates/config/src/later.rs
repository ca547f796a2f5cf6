//! What is understood and has no effect yet. It is refused, so that nobody trusts a setting that does nothing; a line
//! goes with the work that gives it its effect.

use crate::{
    grammar::{
        keys::CONFIG,
        target::{DEFAULTS, TARGET},
    },
    mistakes::Report,
    place::Path,
    tree::Node,
    view::View,
};

/// Keys of a target, and so of `defaults`.
const OF_TARGET: &[(&[&str], Used)] = &[(&["request", "http"], |n| n.as_text() == Some("2"))];

type Used = fn(&Node) -> bool;

/// Reports what of a checked config is for later.
pub(crate) fn refuse_of_config(root: &Node, report: &mut Report) {
    if let Some(defaults) = View::new(root, &CONFIG).node("defaults") {
        refuse(View::new(defaults, &DEFAULTS), OF_TARGET, Path::ROOT.key("defaults"), report);
    }
}

/// Reports what of a checked target is for later.
pub(crate) fn refuse_of_target(node: &Node, path: &Path<'_>, report: &mut Report) {
    refuse(View::new(node, &TARGET), OF_TARGET, *path, report);
}

fn refuse(view: View<'_>, list: &[(&[&str], Used)], path: Path<'_>, report: &mut Report) {
    for (keys, is_used) in list {
        let Some((last, maps)) = keys.split_last() else { continue };
        let Some(map) = maps.iter().try_fold(view, |view, key| view.node(key).map(|_| view.map(key))) else { continue };
        if let Some(node) = map.node(last).filter(|n| is_used(n)) {
            let below = maps.first().map(|key| path.key(key));
            let whole = format!("`{last}` is not supported yet by this version of Lapwing; take it out");
            report.add(node.place, &below.as_ref().unwrap_or(&path).key(last), whole);
        }
    }
}
