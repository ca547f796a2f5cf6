//! Topics that change under the reader: partitions that are added, records that expire, another topic of the same name.

use super::stage::{AT_ONCE, LIMIT, OnWire, admin, join, next, next_batch, opened, patience, put, setting, started};
use bus::{
    Class, Log,
    log::{Gap, Read},
};
use model::{batch::Source, kafka::KafkaSetting};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{NewPartitions, NewTopic, TopicReplication},
};
use testkit::eventually;

fn records(count: usize) -> Vec<OnWire> {
    (0..count).map(|n| OnWire::value(format!(r#"{{"kind":"test","n":{n}}}"#))).collect()
}

/// Everything below is deleted, as retention does.
async fn expire(setting: &KafkaSetting, below: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&setting.topic, 0, Offset::Offset(below)).unwrap();
    admin(setting).delete_records(&list, &patience()).await.unwrap();
}

#[tokio::test]
async fn a_partition_that_is_added_is_read_too() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    let (first, _) = started(&mut log, None).await;
    assert_eq!(first.partition, 0);
    let more = NewPartitions::new(&setting.topic, 2);
    admin(&setting).create_partitions([&more], &patience()).await.unwrap()[0].as_ref().unwrap();
    put(&setting, &[OnWire { partition: 1, ..OnWire::value("{}") }]);
    let batch = next_batch(&mut log).await;
    assert_eq!((batch.source.partition, batch.from, batch.next), (1, 0, 1));
    assert_eq!(batch.source.log, first.log);
    log.close().await;
}

#[tokio::test]
async fn records_that_expired_before_they_were_read_are_a_gap() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    put(&setting, &records(10));
    expire(&setting, 6).await;
    let (source, begun) = started(&mut log, Some(2)).await;
    assert_eq!((begun.next, begun.gap), (6, Some(Gap { from: 2, to: 6 })));
    let batch = next_batch(&mut log).await;
    assert_eq!((batch.from, batch.next), (6, 10));
    assert_eq!(log.start(&source, None).await.unwrap().unwrap().gap, None, "nothing was stored, nothing is missed");
    log.close().await;
}

#[tokio::test]
async fn records_that_expire_under_the_reader_are_a_gap_as_well() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    put(&setting, &records(4));
    let (source, _) = started(&mut log, None).await;
    assert_eq!(next_batch(&mut log).await.next, 4);
    log.hold(&source);
    put(&setting, &records(6));
    expire(&setting, 7).await;
    log.go_on(&source);
    assert_eq!(next(&mut log).await, Read::Closed(source.clone()));
    assert_eq!(next(&mut log).await, Read::Opened(source.clone()));
    let begun = log.start(&source, Some(4)).await.unwrap().unwrap();
    assert_eq!((begun.next, begun.gap), (7, Some(Gap { from: 4, to: 7 })));
    assert_eq!(next_batch(&mut log).await.next, 10);
    log.close().await;
}

#[tokio::test]
async fn a_store_that_is_ahead_of_the_topic_is_an_error_that_says_so() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    put(&setting, &records(3));
    let source = opened(&mut log).await;
    let error = log.start(&source, Some(4)).await.unwrap_err();
    assert_eq!(error.class(), Class::Systemic);
    assert!(error.to_string().contains(&format!("{}/0", setting.topic)), "{error}");
    // It can be started all the same, when somebody has set the offset.
    assert_eq!(log.start(&source, Some(1)).await.unwrap().unwrap().next, 1);
    assert_eq!(next_batch(&mut log).await.entries.len(), 2);
    log.close().await;
}

async fn make_anew(setting: &KafkaSetting) {
    admin(setting).delete_topics(&[&setting.topic], &patience()).await.unwrap()[0].as_ref().unwrap();
    let anew = NewTopic::new(&setting.topic, 1, TopicReplication::Fixed(1));
    eventually("the topic is made anew", LIMIT, async || {
        admin(setting).create_topics([&anew], &patience()).await.unwrap()[0].is_ok()
    })
    .await;
}

/// What is opened of another topic than that.
async fn opened_anew(log: &mut Log, before: &Source) -> Source {
    loop {
        if let Read::Opened(source) = next(log).await
            && source.log != before.log
        {
            return source;
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_made_anew_while_it_is_not_read_is_offered_again() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    put(&setting, &records(3));
    let (before, _) = started(&mut log, None).await;
    assert_eq!(next_batch(&mut log).await.next, 3);
    log.hold(&before);
    make_anew(&setting).await;
    put(&setting, &records(2));
    assert_eq!(log.start(&before, Some(3)).await.unwrap(), None);
    let after = opened_anew(&mut log, &before).await;
    assert_eq!(log.start(&after, None).await.unwrap().unwrap().next, 0);
    assert_eq!(next_batch(&mut log).await.next, 2);
    log.close().await;
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_another_source() {
    let setting = setting();
    let mut log = join(&setting, AT_ONCE).await;
    put(&setting, &records(3));
    let (before, _) = started(&mut log, None).await;
    assert_eq!(next_batch(&mut log).await.next, 3);
    make_anew(&setting).await;
    put(&setting, &records(5));
    let after = opened_anew(&mut log, &before).await;
    assert_eq!((&after.name, after.partition), (&before.name, 0));
    assert_eq!(log.start(&before, Some(3)).await.unwrap(), None, "what was is no more");
    assert_eq!(log.start(&after, None).await.unwrap().unwrap().next, 0);
    assert_eq!(next_batch(&mut log).await.next, 5);
    log.close().await;
}
