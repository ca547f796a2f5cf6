//! Every letter is to be copied to the dead topic, by one writer at a time.

use super::stage;
use crate::stage::{KEEP, Stage, batch, line};
use model::{UnixMs, batch::Source};
use store::{Select, Written};

/// Three letters among the records of a topic, and one from the queue.
async fn with_letters() -> Stage {
    let mut s = stage().await;
    let mut records = batch("topic-id", 0, &["1".to_owned(), line(1, 0, ""), "2".to_owned(), "3".to_owned()]);
    records.source = Source { log: "topic-id".into(), name: "results".into(), partition: 2 };
    assert!(matches!(s.write(&records).await.unwrap(), Written::Committed(_)));
    s.follow("queue-id", &["{".to_owned()]).await;
    s
}

fn after(seconds: i64) -> UnixMs {
    UnixMs(KEEP.now.0 + seconds * 1000)
}

#[tokio::test]
async fn letters_of_a_topic_are_taken_once_and_again_when_who_took_them_has_died() {
    let mut s = with_letters().await;
    let mut other = s.place.open(store::Settings { beside: true, migrate: false, ..Default::default() }).await;
    assert_eq!(s.store.take_to_copy("results", KEEP.now, 2).await.unwrap(), [1, 2]);
    assert_eq!(other.take_to_copy("results", after(1), 9).await.unwrap(), [3]);
    assert_eq!(other.take_to_copy("results", after(59), 9).await.unwrap(), [0; 0]);
    s.store.copied(&[1]).await.unwrap();
    assert_eq!(other.take_to_copy("results", after(62), 9).await.unwrap(), [2, 3]);
    other.copied(&[2, 3]).await.unwrap();
    assert_eq!(other.take_to_copy("results", after(3600), 9).await.unwrap(), [0; 0]);
    assert_eq!(s.query("select letter from dead_copies").await, "4", "a letter of the queue is in no topic's way");
    other.close().await;
}

#[tokio::test]
async fn what_was_purged_is_not_copied() {
    let mut s = with_letters().await;
    s.store.purge(&Select { ids: Some(vec![1, 4]), ..Select::default() }).await.unwrap();
    assert_eq!(s.query("select letter from dead_copies order by 1").await, "2\n3");
}

#[tokio::test]
async fn a_batch_that_is_behind_leaves_nothing_to_copy() {
    let mut s = with_letters().await;
    let behind = batch("queue-id", 0, &["{".to_owned()]);
    assert!(matches!(s.write(&behind).await.unwrap(), Written::Behind { next: 1 }));
    assert_eq!(s.query("select count(*) from dead_copies").await, "4");
}
