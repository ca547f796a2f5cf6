//! Records that had expired before they were read, and logs that were made anew.

use super::stage;
use crate::stage::{KEEP, batch, line, source};
use model::batch::Source;
use store::{Gap, Position, Written};

fn gap(from: i64, to: i64) -> Gap {
    Gap { source: source("log"), from, to, at: KEEP.now }
}

#[tokio::test]
async fn a_gap_is_noted_once_and_the_offset_moves_over_it() {
    let mut s = stage().await;
    s.follow("log", &[line(1, 0, "")]).await;
    assert!(matches!(s.store.record_gap(&gap(1, 500)).await.unwrap(), Written::Committed(_)));
    assert_eq!(s.store.record_gap(&gap(1, 500)).await.unwrap(), Written::Behind { next: 500 });
    assert_eq!(s.store.record_gap(&gap(0, 900)).await.unwrap(), Written::Behind { next: 500 });
    assert!(matches!(s.write(&batch("log", 500, &[line(1, 30, "")])).await.unwrap(), Written::Committed(_)));
    let noted = s.place.rows("select topic, partition, from_offset, to_offset, at from gaps").await;
    assert_eq!(noted, [["queue", "0", "1", "500", "2026-11-23T10:01:00.000Z"].map(|cell| Some(cell.to_owned()))]);
    assert_eq!(s.query("select count(*) from results").await, "2");
}

#[tokio::test]
async fn a_log_that_was_made_anew_under_its_name_is_told_from_a_new_one() {
    let mut s = stage().await;
    let partition = |log: &str, partition| Source { partition, ..source(log) };
    assert_eq!(s.store.position(&source("first")).await.unwrap(), Position::New);
    s.follow("first", &[line(1, 0, "")]).await;
    assert_eq!(s.store.position(&source("first")).await.unwrap(), Position::At(1));
    let remade = Position::Remade { log: "first".to_owned(), next: 1 };
    assert_eq!(s.store.position(&source("second")).await.unwrap(), remade);
    assert_eq!(s.store.position(&partition("second", 1)).await.unwrap(), Position::New);
    let named_otherwise = Source { name: "other".into(), ..source("second") };
    assert_eq!(s.store.position(&named_otherwise).await.unwrap(), Position::New);
    s.follow("second", &[line(1, 30, "")]).await;
    assert_eq!(s.store.position(&source("second")).await.unwrap(), Position::At(1));
}

#[tokio::test]
async fn where_a_person_says_is_where_reading_goes_on() {
    let mut s = stage().await;
    s.follow("log", &[line(1, 0, ""), line(1, 30, "")]).await;
    s.store.set_offset(&source("log"), 7).await.unwrap();
    s.store.set_offset(&source("another"), 3).await.unwrap();
    assert_eq!(s.store.position(&source("log")).await.unwrap(), Position::At(7));
    let stored: Vec<_> = s.store.offsets().await.unwrap().into_iter().map(|o| (o.source.log, o.next)).collect();
    assert_eq!(stored, [("another".into(), 3), ("log".into(), 7)]);
    assert_eq!(s.write(&batch("log", 2, &[line(1, 60, "")])).await.unwrap(), Written::Behind { next: 7 });
    assert!(matches!(s.write(&batch("log", 7, &[line(1, 60, "")])).await.unwrap(), Written::Committed(_)));
}
