//! `lapwing dead` for people who look after letters: which are shown, made due and deleted, and which never.

use crate::at_work::Lapwing;
use crate::tables;
use testkit::Output;

/// A store with three letters: an old one that waits, a new one that waits, one that is resolved.
fn with_letters() -> Lapwing {
    let lapwing = Lapwing::with("targets: []");
    assert_eq!(lapwing.program.run(&["db", "migrate"]).code, 0);
    let insert = |reason: &str, key: &str, failed_at: &str, resolved_at: &str| {
        let sql = format!(
            "insert into dead_letters (reason, message, topic, partition, \"offset\", key, value, headers, failed_at, attempts, \
             resolved_at) values ('{reason}', 'why', 'results', 0, 7, cast('{key}' as blob), x'ff', x'', {failed_at}, 1, {resolved_at})"
        );
        tables::execute(&lapwing.store(), &sql);
    };
    let now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    insert("refused", "old", "'2026-01-01T00:00:00.000Z'", "null");
    insert("not_json", "new", now, "null");
    insert("refused", "done", "'2026-01-01T00:00:00.000Z'", now);
    lapwing
}

/// The ids of the letters that a command names, one JSON object a line.
#[track_caller]
fn ids(lapwing: &Lapwing, arguments: &[&str]) -> Vec<i64> {
    let output = dead(lapwing, arguments);
    assert_eq!(output.code, 0, "{arguments:?}: {output}");
    output.json().iter().map(|letter| letter["id"].as_i64().unwrap()).collect()
}

fn dead(lapwing: &Lapwing, arguments: &[&str]) -> Output {
    lapwing.program.run(&[&["dead"], arguments].concat())
}

#[test]
fn letters_are_listed_by_reason_target_and_age_and_resolved_ones_only_when_asked_for() {
    let lapwing = with_letters();
    for (arguments, want) in [
        (&[][..], &[1, 2][..]),
        (&["--all"], &[1, 2, 3]),
        (&["--reason", "refused"], &[1]),
        (&["--target", "new"], &[2]),
        (&["--older-than", "1h"], &[1]),
        (&["--older-than", "1h", "--all"], &[1, 3]),
    ] {
        assert_eq!(ids(&lapwing, &[&["list", "--json"], arguments].concat()), want, "{arguments:?}");
    }
    assert_eq!(ids(&lapwing, &["show", "2", "--json"]), [2]);
}

#[test]
fn what_is_not_there_is_named_and_without_a_selection_nothing_is_done() {
    let lapwing = with_letters();
    for arguments in [&["show", "4711"][..], &["replay", "1", "4711"], &["purge", "1", "4711"]] {
        let output = dead(&lapwing, arguments);
        assert!(output.code == 2 && output.stderr.contains("4711"), "{arguments:?}: {output}");
    }
    for arguments in [&["replay"][..], &["purge"]] {
        assert_eq!(dead(&lapwing, arguments).code, 2);
    }
    assert_eq!(ids(&lapwing, &["list", "--all", "--json"]), [1, 2, 3]);
}

#[test]
fn a_dry_run_names_what_a_replay_makes_due() {
    let lapwing = with_letters();
    let due = "select count(*) from dead_letters where next_retry_at is not null";
    assert_eq!(ids(&lapwing, &["replay", "--all", "--dry-run", "--json"]), [1, 2]);
    assert_eq!(tables::value(&lapwing.store(), due), 0);
    assert_eq!(ids(&lapwing, &["replay", "--reason", "refused", "--json"]), [1]);
    assert_eq!(tables::value(&lapwing.store(), due), 1);
}

#[test]
fn letters_are_deleted_by_id_age_or_once_they_are_resolved() {
    let lapwing = with_letters();
    assert_eq!(ids(&lapwing, &["purge", "--resolved", "--json"]), [3]);
    assert_eq!(ids(&lapwing, &["purge", "--older-than", "1h", "--json"]), [1]);
    assert_eq!(ids(&lapwing, &["purge", "2", "--json"]), [2]);
    assert_eq!(ids(&lapwing, &["list", "--all", "--json"]), [0; 0]);
}
