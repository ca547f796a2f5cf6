//! What a reload changes.

use crate::helper::load;
use config::{Difference, difference};
use std::sync::Arc;

fn between(old: &str, new: &str) -> Difference {
    difference(&load(old), &load(new))
}

fn ids(targets: &[Arc<model::Target>]) -> Vec<&str> {
    targets.iter().map(|t| t.id.as_str()).collect()
}

#[test]
fn targets_are_added_changed_removed_or_left_alone() {
    let old = load("data_dir: /d\ntargets: [http://a/, http://b/, http://c/]");
    let new = load("data_dir: /d\ntargets: [http://d/, {url: 'http://b/', retries: 1}, http://a/]");
    let d = difference(&old, &new);
    assert_eq!((ids(&d.added), ids(&d.changed)), (vec!["d"], vec!["b"]));
    assert_eq!(d.removed.iter().map(model::TargetId::as_str).collect::<Vec<_>>(), ["c"]);
    assert_eq!(ids(&d.targets), ["d", "b", "a"]);
    assert_eq!((d.changed[0].retries, d.restart.len(), d.settings.len()), (1, 0, 0));
    assert!(Arc::ptr_eq(&d.targets[2], &old.targets[0]), "an unchanged target is the old one itself");
}

#[test]
fn the_same_config_is_no_difference() {
    let yaml = "data_dir: /d\ndefaults: {expect: {body: x, headers: {a: b}}}\ntargets: [http://a/, {url: 'http://b/', request: {headers: {x: y}}}]";
    assert!(between(yaml, yaml).is_empty());
    // Said in other words.
    assert!(
        between(
            "data_dir: /d\ntargets: [http://a/]",
            "data_dir: /d\nlocation: default\ndefaults: {interval: 1m}\ntargets: [{url: 'http://a', name: a}]"
        )
        .is_empty()
    );
}

#[test]
fn what_needs_a_restart_is_named() {
    let old = "data_dir: /d\ntargets: []";
    for (new, restart, settings) in [
        ("data_dir: /d\nstore: sqlite:b.db\ntargets: []", &["store"][..], &[][..]),
        ("data_dir: /e\ntargets: []", &["store", "queue", "data_dir"], &[]),
        ("data_dir: /d\nqueue: {max_size: 1MiB}\ntargets: []", &["queue"], &[]),
        ("data_dir: /d\nkafka: {brokers: 'b:1'}\ntargets: []", &["kafka"], &[]),
        (
            "data_dir: /d\nweb: {listen: ':1', title: x}\nmetrics: {listen: ':2'}\ntargets: []",
            &["web.listen", "metrics.listen"],
            &["web.title"],
        ),
        (
            "data_dir: /d\nlocation: x\nretention: {checks: 1d}\nshutdown_grace: 1s\nprobe: {per_host: 1}\nguard: {private: deny}\ntargets: []",
            &[],
            &["location", "retention", "shutdown_grace", "probe", "guard"],
        ),
    ] {
        let d = between(old, new);
        assert_eq!((d.restart.as_slice(), d.settings.as_slice()), (restart, settings), "{new}");
        assert!(!d.is_empty());
    }
}
