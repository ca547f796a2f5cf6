//! From the queue to the topic: what is on the wire, and that nothing stops before it is.

use super::stage::{LIMIT, admin, all, patience, relayed, relayed_with, results, setting, setting_at};
use model::kafka::{KafkaSetting, Replication};
use rdkafka::admin::{NewTopic, ResourceSpecifier, TopicReplication};
use std::{collections::BTreeMap, time::Duration};
use testkit::{Kafka, eventually};
use tokio::time::timeout;

#[tokio::test]
async fn a_result_is_on_the_wire_as_the_contract_says() {
    let setting = setting();
    let records = results(0..3, 2);
    let relayed = relayed_with(&setting, &records).await;
    relayed.all_arrived().await;
    let wire = all(&setting);
    assert_eq!(wire.iter().map(|r| r.value.clone().unwrap()).collect::<Vec<_>>(), records);
    assert_eq!(wire.iter().map(super::stage::OnWire::key).collect::<Vec<_>>(), ["t0", "t1", "t0"]);
    let text = |value: &Option<Vec<u8>>| String::from_utf8(value.clone().unwrap()).unwrap();
    let headers: Vec<_> = wire[2].headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    let id = headers[2].1.strip_suffix("/2").expect("the record's number in the queue");
    assert_eq!(
        headers,
        [
            ("content-type", "application/json".to_owned()),
            ("lapwing-version", "1".to_owned()),
            ("lapwing-seq", format!("{id}/2")),
        ]
    );
    assert!(id.len() == 32 && wire.iter().map(|record| record.sequence().1).eq(0..3), "{id}");
    relayed.drain().await;
}

#[tokio::test]
async fn results_of_one_target_share_a_partition_in_their_order() {
    let setting = KafkaSetting { partitions: 4, ..setting() };
    let mut relayed = relayed(&setting).await;
    for n in 0..20 {
        relayed.tail.append(&results(n * 50..(n + 1) * 50, 7)).await.unwrap();
    }
    relayed.drain().await;
    let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let wire = all(&setting);
    for record in &wire {
        partitions.entry(record.key()).or_default().push(record.partition);
        let before = last.insert(record.key(), record.sequence().1);
        assert!(before.is_none_or(|before| before < record.sequence().1), "{record:?} after {before:?}");
    }
    assert_eq!((wire.len(), partitions.len()), (1000, 7));
    for (key, mut of_one) in partitions {
        of_one.dedup();
        assert_eq!(of_one.len(), 1, "{key}");
    }
}

#[tokio::test]
async fn a_topic_that_is_missing_is_made() {
    let setting = KafkaSetting { partitions: 5, replication: Replication::Copies(1), ..setting() };
    let relayed = relayed_with(&setting, &results(0..1, 1)).await;
    relayed.all_arrived().await;
    let metadata = admin(&setting).inner().fetch_metadata(Some(&setting.topic), LIMIT).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 5);
    relayed.drain().await;
}

#[tokio::test]
async fn what_the_results_topic_takes_the_dead_topic_takes() {
    let setting = setting();
    let results = NewTopic::new(&setting.topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "8388608");
    admin(&setting).create_topics([&results], &patience()).await.unwrap()[0].as_ref().unwrap();
    super::stage::join(&setting, super::stage::AT_ONCE).await.close().await;
    let dead = ResourceSpecifier::Topic(&setting.dead_topic);
    let described = admin(&setting).describe_configs([&dead], &patience()).await.unwrap().remove(0).unwrap();
    let takes: i64 = described.get("max.message.bytes").unwrap().value.as_ref().unwrap().parse().unwrap();
    assert!(takes > 8_388_608, "{takes}");
    assert_eq!(testkit::Topic::at(&setting.brokers.join(","), &setting.dead_topic).all(), []);
}

#[tokio::test]
async fn a_stop_waits_until_everything_is_in_kafka() {
    let setting = setting();
    let relayed = relayed_with(&setting, &results(0..30_000, 100)).await;
    eventually("Kafka is reached", LIMIT, async || relayed.gauge.stats().acknowledged > 0).await;
    relayed.drain().await;
    assert_eq!(all(&setting).len(), 30_000);
}

#[tokio::test]
async fn what_is_acknowledged_leaves_the_queue() {
    let setting = setting();
    let mut relayed = relayed_with(&setting, &results(0..1000, 10)).await;
    relayed.all_arrived().await;
    relayed.tail.sweep().await.unwrap();
    let stats = relayed.gauge.stats();
    assert_eq!((stats.in_flight, stats.in_flight_bytes, stats.acknowledged, stats.restarts), (0, 0, 1000, 0));
    assert!(stats.acknowledged_at.is_some());
    let batches = testkit_batches(&relayed.path).await;
    assert_eq!(batches, 0);
    relayed.drain().await;
}

async fn testkit_batches(path: &std::path::Path) -> i64 {
    use sqlx::{Connection as _, Row as _};
    let mut theirs = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::query("select count(*) from batches").fetch_one(&mut theirs).await.unwrap().get(0)
}

#[tokio::test]
async fn giving_up_ends_at_once_and_leaves_the_rest_in_the_queue() {
    let nowhere = format!("127.0.0.1:{}", testkit::free_port());
    let relayed = relayed_with(&setting_at(&nowhere), &results(0..10, 10)).await;
    eventually("Kafka is missed", LIMIT, async || relayed.reach.trouble().is_some()).await;
    let trouble = relayed.reach.trouble().unwrap();
    assert!(trouble.contains(&nowhere) && trouble.contains("refused"), "{trouble}");
    relayed.give_up.cancel();
    timeout(Duration::from_secs(10), relayed.running).await.unwrap().unwrap().unwrap();
    assert_eq!(relayed.queue.stats().results, 10);
}

#[tokio::test]
async fn batches_that_are_too_large_for_the_topic_are_made_smaller() {
    let setting = setting();
    // Uncompressible enough: a batch of librdkafka's usual size does not pass, one record does.
    let topic = NewTopic::new(&setting.topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "100000");
    admin(&setting).create_topics([&topic], &patience()).await.unwrap()[0].as_ref().unwrap();
    let properties = vec![("compression.type".to_owned(), "none".to_owned())];
    let setting = KafkaSetting { properties, ..setting };
    let relayed = relayed_with(&setting, &results(0..5000, 10)).await;
    relayed.all_arrived().await;
    assert!(relayed.gauge.stats().restarts > 0);
    relayed.drain().await;
    in_order(&setting, 5000, 10);
}

#[tokio::test]
async fn a_topic_that_is_deleted_is_made_again_and_what_was_not_in_it_arrives() {
    let properties = vec![("topic.metadata.propagation.max.ms".to_owned(), "1000".to_owned())];
    let setting = KafkaSetting { properties, ..setting() };
    let mut relayed = relayed_with(&setting, &results(0..10, 10)).await;
    relayed.all_arrived().await;
    admin(&setting).delete_topics(&[&setting.topic], &patience()).await.unwrap()[0].as_ref().unwrap();
    relayed.tail.append(&results(10..20, 10)).await.unwrap();
    relayed.all_arrived().await;
    relayed.drain().await;
    let numbers: Vec<_> = all(&setting).iter().map(|record| record.sequence().1).collect();
    assert_eq!(numbers, (10..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_in_flight_is_bounded_while_the_broker_says_nothing() {
    let mut kafka = Kafka::start().await;
    let setting = setting_at(&kafka.brokers());
    let mut relayed = relayed_with(&setting, &results(0..10, 10)).await;
    relayed.all_arrived().await;
    kafka.pause();
    for n in 0..10 {
        relayed.tail.append(&results(10 + n * 3000..10 + (n + 1) * 3000, 10)).await.unwrap();
    }
    eventually("the flight is full", LIMIT, async || relayed.gauge.stats().in_flight == 20_000).await;
    eventually("it is said", LIMIT, async || relayed.reach.trouble().is_some()).await;
    for _ in 0..50 {
        let stats = relayed.gauge.stats();
        assert!(stats.in_flight <= 20_000 && stats.in_flight_bytes <= (16 << 20) + (64 << 10), "{stats:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(relayed.queue.stats().results, 30_000);
    kafka.resume();
    relayed.all_arrived().await;
    eventually("it is over", LIMIT, async || relayed.reach.trouble().is_none()).await;
    relayed.drain().await;
    in_order(&setting, 30_010, 10);
}

/// Every number is in the topic, and of one target each comes first after those before it.
pub fn in_order(setting: &KafkaSetting, count: usize, targets: usize) {
    let mut seen = vec![false; count];
    let mut last = vec![-1; targets];
    for record in all(setting) {
        let n = record.sequence().1;
        let target = n as usize % targets;
        assert_eq!(record.key(), format!("t{target}"));
        if !seen[n as usize] {
            assert_eq!(last[target], if n < targets as i64 { -1 } else { n - targets as i64 }, "before {n}");
            (seen[n as usize], last[target]) = (true, n);
        }
    }
    let missing: Vec<_> = seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(n, _)| n).take(10).collect();
    assert_eq!(missing, [0; 0]);
}
