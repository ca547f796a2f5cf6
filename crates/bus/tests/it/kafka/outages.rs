//! Brokers that stop, die and come back, on a broker of the test's own.

use super::{
    relay::in_order,
    stage::{AT_ONCE, LIMIT, OnWire, admin, all, join, next_batch, put, relayed, relayed_with, results, setting_at},
};
use model::kafka::KafkaSetting;
use std::{collections::BTreeSet, time::Duration};
use testkit::{Kafka, eventually};
use tokio::time::timeout;

#[tokio::test]
async fn all_results_arrive_in_order_though_the_broker_is_restarted_and_killed() {
    let mut kafka = Kafka::start().await;
    let setting = KafkaSetting { partitions: 3, ..setting_at(&kafka.brokers()) };
    let mut relayed = relayed(&setting).await;
    let mut appended = 0;
    for round in 0..4 {
        for n in 0..60 {
            relayed.tail.append(&results(appended..appended + 100, 10)).await.unwrap();
            appended += 100;
            if n == 30 {
                if round % 2 == 0 {
                    kafka.kill9();
                } else {
                    kafka.stop().await;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kafka.restart().await;
    }
    relayed.all_arrived().await;
    eventually("the trouble is over", LIMIT, async || relayed.reach.trouble().is_none()).await;
    relayed.drain().await;
    in_order(&setting, appended, 10);
}

/// Leaders of partitions and the group's coordinator move with each that dies; the controller stays.
#[tokio::test]
async fn a_cluster_that_loses_one_broker_after_the_other_loses_no_result() {
    let small = || Kafka::options().heap_mib(256);
    let first = small()
        .property("offsets.topic.replication.factor", "3")
        .property("default.replication.factor", "3")
        .property("min.insync.replicas", "2")
        .start()
        .await;
    let join_first = |node| small().joins(node, &first).property("min.insync.replicas", "2").start();
    let (mut second, mut third) = tokio::join!(join_first(2), join_first(3));
    let brokers = [&first, &second, &third].map(Kafka::brokers).join(",");
    let setting = KafkaSetting { partitions: 6, ..setting_at(&brokers) };
    let mut relayed = relayed(&setting).await;
    let mut log = join(&setting, AT_ONCE).await;
    assert_eq!(copies(&setting), [3; 6]);
    let mut appended = 0;
    for broker in [&mut second, &mut third] {
        for n in 0..60 {
            relayed.tail.append(&results(appended..appended + 50, 10)).await.unwrap();
            appended += 50;
            match n {
                20 => broker.kill9(),
                40 => broker.restart().await,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        relayed.all_arrived().await;
        broker.kill9();
        relayed.tail.append(&results(appended..appended + 50, 10)).await.unwrap();
        appended += 50;
        relayed.all_arrived().await; // two of three are enough
        broker.restart().await;
    }
    relayed.drain().await;
    in_order(&setting, appended, 10);
    let mut unread: BTreeSet<_> = all(&setting).iter().map(|record| (record.partition, record.offset)).collect();
    let reading = async {
        while !unread.is_empty() {
            let batch = next_batch(&mut log).await;
            for entry in &batch.entries {
                unread.remove(&(batch.source.partition, entry.offset));
            }
        }
    };
    let in_time = timeout(LIMIT, reading).await;
    assert!(in_time.is_ok(), "unread: {unread:?}");
    log.close().await;
}

/// How many copies of each partition of the topic there are.
fn copies(setting: &KafkaSetting) -> Vec<usize> {
    let metadata = admin(setting).inner().fetch_metadata(Some(&setting.topic), LIMIT).unwrap();
    metadata.topics()[0].partitions().iter().map(|partition| partition.replicas().len()).collect()
}

#[tokio::test]
async fn a_broker_that_comes_late_finds_everything_in_the_queue() {
    let mut kafka = Kafka::start().await;
    let setting = setting_at(&kafka.brokers());
    kafka.stop().await;
    let relayed = relayed_with(&setting, &results(0..1000, 10)).await;
    eventually("it is missed", LIMIT, async || relayed.reach.trouble().is_some()).await;
    kafka.restart().await;
    relayed.all_arrived().await;
    assert_eq!(relayed.reach.trouble(), None);
    relayed.drain().await;
    in_order(&setting, 1000, 10);
}

#[tokio::test]
async fn reading_goes_on_where_it_stood_after_the_broker_was_killed() {
    let mut kafka = Kafka::start().await;
    let setting = setting_at(&kafka.brokers());
    let mut log = join(&setting, AT_ONCE).await;
    let records = |from: usize, to: usize| results(from..to, 10).into_iter().map(OnWire::value).collect::<Vec<_>>();
    put(&setting, &records(0, 100));
    let mut next = 0;
    while next < 100 {
        let batch = next_batch(&mut log).await;
        assert_eq!((batch.from, batch.entries.len() as i64), (next, batch.next - batch.from));
        next = batch.next;
    }
    kafka.kill9();
    kafka.restart().await;
    put(&setting, &records(100, 200));
    while next < 200 {
        let batch = next_batch(&mut log).await;
        // The group may have been joined anew: then reading begins where the store says, which here is at the beginning.
        assert!(batch.from == next || batch.from == 0, "{} after {next}", batch.from);
        next = batch.next;
    }
    log.close().await;
}

#[tokio::test]
async fn leaving_the_group_does_not_wait_for_a_broker_that_is_away() {
    let mut kafka = Kafka::start().await;
    let setting = setting_at(&kafka.brokers());
    let mut log = join(&setting, AT_ONCE).await;
    put(&setting, &[OnWire::value("{}")]);
    let batch = next_batch(&mut log).await;
    kafka.kill9();
    log.release(&batch);
    let begun = std::time::Instant::now();
    log.close().await;
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
}
