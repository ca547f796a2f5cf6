//! Whatever is repeated, given up or raced: each result is stored once, and the first record of it stands.

use super::stage;
use crate::stage::{T0, batch, line, source};
use model::UnixMs;
use std::time::Duration;
use store::{Counts, Keep, Written};

#[tokio::test]
async fn a_repeated_batch_is_behind_and_changes_nothing() {
    let mut s = stage().await;
    let batch = batch("log", 0, &[line(1, 0, ""), line(2, 0, "")]);
    assert_eq!(s.write(&batch).await.unwrap(), Written::Committed(Counts { stored: 2, ..Counts::default() }));
    for _ in 0..2 {
        assert_eq!(s.write(&batch).await.unwrap(), Written::Behind { next: 2 });
    }
    assert_eq!(s.query("select count(*) from results").await, "2");
    let s = s.restarted().await;
    assert_eq!(s.query("select next from offsets").await, "2");
}

#[tokio::test]
async fn of_two_writers_one_is_heard_and_the_other_told_where_to_go_on() {
    let mut s = stage().await;
    s.follow("log", &[line(1, 0, "")]).await;
    let first = batch("log", 1, &[line(1, 30, ""), line(1, 60, "")]);
    let second = batch("log", 1, &[line(1, 30, "")]);
    assert!(matches!(s.write(&first).await.unwrap(), Written::Committed(_)));
    assert_eq!(s.write(&second).await.unwrap(), Written::Behind { next: 3 });
    let ahead = batch("log", 7, &[line(1, 90, "")]);
    assert_eq!(s.write(&ahead).await.unwrap(), Written::Behind { next: 3 });
    assert_eq!(s.query("select count(*) from results").await, "3");
}

#[tokio::test]
async fn a_source_begins_where_its_first_batch_does_and_knows_no_other() {
    let mut s = stage().await;
    assert_eq!(s.store.next_offset(&source("a")).await.unwrap(), None);
    assert!(matches!(s.write(&batch("a", 500, &[line(1, 0, "")])).await.unwrap(), Written::Committed(_)));
    assert!(matches!(s.write(&batch("b", 3, &[line(1, 30, "")])).await.unwrap(), Written::Committed(_)));
    assert_eq!(s.store.next_offset(&source("a")).await.unwrap(), Some(501));
    assert_eq!(s.store.next_offset(&source("b")).await.unwrap(), Some(4));
}

#[tokio::test]
async fn a_batch_without_records_moves_the_offset() {
    let mut s = stage().await;
    let mut batch = batch("log", 0, &[]);
    batch.next = 40;
    assert!(matches!(s.write(&batch).await.unwrap(), Written::Committed(_)));
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(40));
}

#[tokio::test]
async fn the_first_record_of_an_identity_stands() {
    let mut s = stage().await;
    let status = |n: u32| line(1, 0, &format!(",\"status\":{n}"));
    let counts = s.follow("log", &[status(201), status(202), line(2, 0, ""), status(203)]).await;
    assert_eq!((counts.stored, counts.duplicate), (2, 2));
    let counts = s.follow("other", &[status(204), line(1, 30, "")]).await;
    assert_eq!((counts.stored, counts.duplicate), (1, 1));
    assert_eq!(s.query("select status from results where target = 't1' order by due_at").await, "201\nnull");
}

#[tokio::test]
async fn another_location_or_slot_is_another_result() {
    let mut s = stage().await;
    let away = line(1, 0, "").replace("\"home\"", "\"away\"");
    let counts = s.follow("log", &[line(1, 0, ""), away, line(1, 30, "")]).await;
    assert_eq!(counts.stored, 3);
    assert_eq!(s.query("select location from results order by location").await, "away\nhome\nhome");
}

#[tokio::test]
async fn a_large_batch_is_stored_whatever_its_order() {
    let mut s = stage().await;
    let mut lines: Vec<_> = (0..3000).map(|n| line(n % 700, (n / 700) as i64 * 30, "")).collect();
    lines.reverse();
    lines.extend((0..10).map(|n| line(n, 0, "")));
    let counts = s.follow("log", &lines).await;
    assert_eq!((counts.stored, counts.duplicate), (3000, 10));
    assert_eq!(s.query("select count(*) from results").await, "3000");
    assert_eq!(s.query("select count(distinct target) from results").await, "700");
}

#[tokio::test]
async fn what_is_older_than_is_kept_is_counted_and_not_stored() {
    let mut s = stage().await;
    let keep = Keep { now: UnixMs(T0 + 60_000), checks: Duration::from_secs(60) };
    let batch = batch("log", 0, &[line(1, -1, ""), line(1, 0, "")]);
    let Written::Committed(counts) = s.store.write(&batch, &keep).await.unwrap() else { panic!() };
    assert_eq!((counts.stored, counts.too_old), (1, 1));
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(2));
}

#[tokio::test]
async fn other_kinds_are_counted_and_skipped() {
    let mut s = stage().await;
    let counts = s.follow("log", &["{\"kind\":\"heartbeat\"}".to_owned(), line(1, 0, "")]).await;
    assert_eq!((counts.stored, counts.unknown_kind), (1, 1));
    assert_eq!(s.query("select count(*) from dead_letters").await, "0");
}

#[tokio::test]
async fn a_write_that_is_given_up_anywhere_leaves_nothing_and_can_be_repeated() {
    let mut s = stage().await;
    let mut given_up = 0;
    for round in 0..60 {
        let lines: Vec<_> = (0..300).map(|n| line(round * 300 + n, 0, "")).collect();
        let batch = batch("log", round as i64 * 300, &lines);
        let patience = Duration::from_micros(round as u64 * 400);
        // Its end may have been reached before anybody was told.
        let outcome = tokio::time::timeout(patience, s.write(&batch)).await;
        given_up += u32::from(outcome.is_err());
        if outcome.is_err() {
            let again = s.write(&batch).await.unwrap();
            assert!(
                matches!(again, Written::Committed(Counts { stored: 300, .. }) | Written::Behind { .. }),
                "{again:?}"
            );
        }
        let wrong = s.query("select count(*) from results where target is null or location is null or verdict is null");
        assert_eq!(wrong.await, "0");
    }
    assert!(given_up > 5, "only {given_up} were given up");
    assert_eq!(s.query("select count(*) from results").await, (60 * 300).to_string());
    assert_eq!(s.query("select count(distinct target) from results").await, (60 * 300).to_string());
}
