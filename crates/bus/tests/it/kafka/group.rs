//! Several members: they share the partitions, and one takes over from another that is gone.

use super::stage::{AT_ONCE, LIMIT, OnWire, join, next, next_batch, put, setting, setting_at, started};
use bus::{Log, log::Read};
use model::kafka::KafkaSetting;
use std::{
    collections::BTreeSet,
    env,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use testkit::unique;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Follows what is opened and closed, until it is these partitions that are ours.
async fn until_ours(log: &mut Log, ours: &mut BTreeSet<i32>, is_it: impl Fn(&BTreeSet<i32>) -> bool) {
    while !is_it(ours) {
        match next(log).await {
            Read::Opened(source) => {
                ours.insert(source.partition);
                log.start(&source, None).await.unwrap();
            }
            Read::Closed(source) => {
                ours.remove(&source.partition);
            }
            Read::Batch(_) => {}
        }
    }
}

#[tokio::test]
async fn members_share_the_partitions_and_one_that_leaves_hands_its_own_over() {
    let setting = KafkaSetting { partitions: 4, ..setting() };
    let mut first = join(&setting, AT_ONCE).await;
    let mut of_first = BTreeSet::new();
    until_ours(&mut first, &mut of_first, |ours| ours.len() == 4).await;
    let mut second = join(&setting, AT_ONCE).await;
    let mut of_second = BTreeSet::new();
    tokio::join!(
        until_ours(&mut first, &mut of_first, |ours| ours.len() == 2),
        until_ours(&mut second, &mut of_second, |ours| ours.len() == 2),
    );
    assert!(of_first.is_disjoint(&of_second), "{of_first:?} {of_second:?}");
    second.close().await;
    let begun = Instant::now();
    until_ours(&mut first, &mut of_first, |ours| ours.len() == 4).await;
    assert!(begun.elapsed() < Duration::from_secs(9), "it had to time out: {:?}", begun.elapsed());
    // Partitions that never moved were never read anew; those that did are read from where the store says.
    put(&setting, &(0..4).map(|partition| OnWire { partition, ..OnWire::value("{}") }).collect::<Vec<_>>());
    let mut read = BTreeSet::new();
    while read.len() < 4 {
        if let Read::Batch(batch) = next(&mut first).await {
            assert_eq!((batch.from, batch.next), (0, 1));
            read.insert(batch.source.partition);
        }
    }
    first.close().await;
}

#[tokio::test]
async fn the_partitions_of_a_member_that_was_killed_are_taken_over_within_a_minute() {
    let setting = KafkaSetting { partitions: 4, ..setting() };
    let mut log = join(&setting, AT_ONCE).await;
    let mut ours = BTreeSet::new();
    until_ours(&mut log, &mut ours, |ours| ours.len() == 4).await;
    let mut other = Killed(
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "kafka::group::the_member_that_is_killed", "--ignored"])
            .env(
                "LAPWING_TEST_MEMBER",
                [&*setting.brokers[0], &setting.topic, &setting.dead_topic, &setting.group].join(" "),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until_ours(&mut log, &mut ours, |ours| ours.len() == 2).await;
    other.0.kill().unwrap();
    let begun = Instant::now();
    timeout(LIMIT, until_ours(&mut log, &mut ours, |ours| ours.len() == 4)).await.expect("taken over within a minute");
    assert!(begun.elapsed() > Duration::from_secs(2), "it left in order");
    log.close().await;
}

/// Two members with one `group.instance.id`: Kafka fences the first off (KIP-345), which librdkafka calls fatal. Its consumer never
/// reads again, and says so only once.
#[tokio::test]
async fn a_consumer_that_has_failed_for_good_is_followed_by_a_new_one() {
    let mut setting = setting();
    setting.properties.push(("group.instance.id".to_owned(), unique("instance")));
    let mut log = join(&setting, AT_ONCE).await;
    put(&setting, &[OnWire::value("{}")]);
    let batch = next_batch(&mut log).await;
    let rival = join(&setting, AT_ONCE).await;
    let stop = CancellationToken::new();
    let (mut has_failed, mut is_closed) = (false, false);
    while !has_failed || !is_closed {
        match timeout(LIMIT, log.read(&stop)).await.expect("the end of the consumer") {
            Err(error) => {
                assert!(error.to_string().contains(&setting.topic), "{error}");
                has_failed = true;
            }
            Ok(Some(Read::Closed(source))) => is_closed = source == batch.source,
            Ok(Some(Read::Opened(source))) => drop(log.start(&source, Some(1)).await),
            Ok(read) => assert!(matches!(read, Some(Read::Batch(_))), "{read:?}"),
        }
    }
    rival.close().await;
    put(&setting, &[OnWire::value("{}")]);
    let (source, started) = timeout(LIMIT, started(&mut log, Some(batch.next))).await.expect("a new consumer");
    assert_eq!((source, started.next), (batch.source, 1));
    assert_eq!(next_batch(&mut log).await.from, 1);
    log.close().await;
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "the other process of a test above"]
async fn the_member_that_is_killed() {
    let Ok(text) = env::var("LAPWING_TEST_MEMBER") else { return };
    let [brokers, topic, dead_topic, group] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let (topic, dead_topic, group) = (topic.to_owned(), dead_topic.to_owned(), group.to_owned());
    let setting = KafkaSetting { topic, dead_topic, group, ..setting_at(brokers) };
    let mut log = join(&setting, AT_ONCE).await;
    let _ = timeout(LIMIT, until_ours(&mut log, &mut BTreeSet::new(), |_| false)).await;
}
