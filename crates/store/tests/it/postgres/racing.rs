//! Several writers on one database: whatever they race for, each record is stored once.

use crate::stage::{KEEP, Kind, Stage, batch, line, source};
use std::collections::BTreeSet;
use store::{Settings, Store, Written};

/// Follows a log to its end, as a writer does: what others have stored is passed over.
async fn follow(mut store: Store, log: &str, lines: &[String], step: usize) -> (u64, u32) {
    let (mut at, mut stored, mut behind) = (0, 0, 0);
    while at < lines.len() {
        let to = lines.len().min(at + step);
        match store.write(&batch(log, at as i64, &lines[at..to]), &KEEP).await.unwrap() {
            Written::Committed(counts) => (at, stored) = (to, stored + counts.stored),
            Written::Behind { next } => (at, behind) = (usize::try_from(next).unwrap(), behind + 1),
        }
    }
    store.close().await;
    (stored, behind)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_on_one_source_store_each_record_once() {
    let mut s = Stage::new(Kind::Postgres).await;
    let lines: Vec<_> = (0..3000).map(|n| line(n % 300, (n / 300) as i64 * 30, "")).collect();
    let mut writing = Vec::new();
    for step in [97, 41, 150] {
        let (store, lines) = (s.place.open(Settings::default()).await, lines.clone());
        writing.push(tokio::spawn(async move { follow(store, "log", &lines, step).await }));
    }
    let mut sums = (0, 0);
    for task in writing {
        let (stored, behind) = task.await.unwrap();
        sums = (sums.0 + stored, sums.1 + behind);
    }
    assert_eq!(sums.0, 3000, "each was counted by one writer");
    assert!(sums.1 > 0, "they never met");
    assert_eq!(s.query("select count(*) from results").await, "3000");
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(3000));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_different_sources_with_the_same_records_store_each_once() {
    let s = Stage::new(Kind::Postgres).await;
    // Each in its own order, all with new targets, so that they race for numbers, days and rows at once.
    let mut tasks = Vec::new();
    for n in 0..4usize {
        let mut lines: Vec<_> = (0..2000).map(|i| line(i % 500, -86_400 * (i / 500) as i64, "")).collect();
        lines.rotate_left(n * 500);
        let store = s.place.open(Settings::default()).await;
        tasks.push(tokio::spawn(async move {
            let log = format!("log{n}");
            retrying(store, &log, &lines).await
        }));
    }
    let mut stored = 0;
    for task in tasks {
        stored += task.await.unwrap();
    }
    assert_eq!(stored, 2000);
    assert_eq!(s.query("select count(*) from results").await, "2000");
    assert_eq!(s.query("select count(*) from targets").await, "500");
    assert_eq!(s.query("select count(*) from results where target is null or verdict is null").await, "0");
    let wrong = "select count(*) from results where url <> 'http://' || target || '.example/'";
    assert_eq!(s.query(wrong).await, "0");
}

/// Two that insert the same keys in different orders may meet in a deadlock: one of them is told to try again.
async fn retrying(mut store: Store, log: &str, lines: &[String]) -> u64 {
    let mut stored = 0;
    for (n, part) in lines.chunks(250).enumerate() {
        let batch = batch(log, n as i64 * 250, part);
        loop {
            match store.write(&batch, &KEEP).await {
                Ok(Written::Committed(counts)) => {
                    stored += counts.stored;
                    break;
                }
                Ok(Written::Behind { next }) => panic!("nobody else writes {log}, yet it stands at {next}"),
                Err(e) => assert_eq!(e.class(), store::Class::Transient, "{e}"),
            }
        }
    }
    stored
}

#[tokio::test]
async fn another_connections_rename_is_seen_after_the_source_has_changed_hands() {
    let mut s = Stage::new(Kind::Postgres).await;
    let named = |name: &str, second| line(1, second, "").replace("\"T 1\"", &format!("\"{name}\""));
    s.follow("log", &[named("old", 0)]).await;
    let mut theirs = s.place.open(Settings::default()).await;
    theirs.write(&batch("log", 1, &[named("new", 600), named("new", 900)]), &KEEP).await.unwrap();
    // Late, and of the old name: between what we knew and what they have stored since.
    s.follow("log", &[named("older", 700)]).await;
    assert_eq!(s.query("select distinct name from results").await, "new");
    theirs.close().await;
}

#[tokio::test]
async fn a_writer_with_an_old_offset_changes_nothing_and_learns_where_to_go_on() {
    let mut s = Stage::new(Kind::Postgres).await;
    let mut zombie = s.place.open(Settings::default()).await;
    let first = batch("log", 0, &[line(1, 0, "")]);
    assert!(matches!(zombie.write(&first, &KEEP).await.unwrap(), Written::Committed(_)));
    s.follow("log", &[line(1, 30, ""), line(1, 60, "")]).await;
    let stale = batch("log", 1, &[line(7, 0, ""), "not json".to_owned()]);
    assert_eq!(zombie.write(&stale, &KEEP).await.unwrap(), Written::Behind { next: 3 });
    assert_eq!(s.query("select count(*) from dead_letters").await, "0");
    let targets: BTreeSet<_> = s.query("select target from results").await.lines().map(str::to_owned).collect();
    assert_eq!(targets, BTreeSet::from(["t1".to_owned()]));
}
