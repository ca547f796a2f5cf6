//! The stage that appends: soon, together, and without losing a record that could have been kept.

use bus::{
    Queue,
    append::{Entrance, Limits, appender},
    queue::{Gauge, Options, Stats},
};
use sqlx::{Connection as _, Row as _, SqliteConnection, raw_sql};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Running {
    _folder: TempDir,
    path: PathBuf,
    entrance: Entrance,
    gauge: Gauge,
    give_up: CancellationToken,
    stage: JoinHandle<usize>,
    reader: bus::queue::Reader,
}

async fn running(limits: Limits, max_pages: Option<u32>) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let options = Options { max_pages, ..Options::new(1 << 30) };
    let Queue { tail, gauge, reader } = Queue::open(&path, options, &CancellationToken::new()).await.unwrap();
    let (entrance, stage) = appender(tail, limits);
    let give_up = CancellationToken::new();
    let stage = tokio::spawn(stage.run(give_up.clone()));
    Running { _folder: folder, path, entrance, gauge, give_up, stage, reader }
}

impl Running {
    async fn wait_until(&self, want: impl Fn(&Stats) -> bool) -> Stats {
        for _ in 0..2000 {
            let stats = self.gauge.stats();
            if want(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited for 20 s; {:?}", self.gauge.stats());
    }
}

fn record(n: usize) -> Vec<u8> {
    format!("{{\"kind\":\"test\",\"n\":{n}}}").into_bytes()
}

async fn commits(path: &Path) -> i64 {
    let mut theirs = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::query("select count(*) from batches").fetch_one(&mut theirs).await.unwrap().get(0)
}

#[tokio::test]
async fn the_first_record_is_committed_at_once_and_those_that_follow_together() {
    let r = running(Limits { pace: Duration::from_secs(2), ..Limits::default() }, None).await;
    r.entrance.push(record(0));
    r.wait_until(|stats| stats.results == 1).await;
    for n in 1..500 {
        r.entrance.push(record(n));
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    r.wait_until(|stats| stats.results == 500).await;
    assert_eq!(commits(&r.path).await, 2);
}

#[tokio::test]
async fn an_idle_queue_that_can_be_written_again_says_so_without_a_further_result() {
    let r = running(Limits::default(), None).await;
    r.entrance.push(record(0));
    r.wait_until(|stats| stats.results == 1).await;
    let mut theirs = SqliteConnection::connect(r.path.to_str().unwrap()).await.unwrap();
    raw_sql("begin immediate").execute(&mut theirs).await.unwrap();
    r.reader.release(1);
    r.wait_until(|stats| stats.trouble.is_some()).await;
    raw_sql("rollback").execute(&mut theirs).await.unwrap();
    r.wait_until(|stats| stats.trouble.is_none()).await;
    r.give_up.cancel();
    assert_eq!(r.stage.await.unwrap(), 0);
}

#[tokio::test]
async fn the_stage_ends_when_nothing_can_come_and_all_is_durable() {
    let r = running(Limits::default(), None).await;
    (0..1000).for_each(|n| r.entrance.push(record(n)));
    drop(r.entrance);
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), r.stage).await.unwrap().unwrap(), 0);
    assert_eq!(r.gauge.stats().results, 1000);
}

#[tokio::test]
async fn records_wait_in_memory_while_another_program_holds_the_file() {
    let r = running(Limits::default(), None).await;
    let mut theirs = SqliteConnection::connect(r.path.to_str().unwrap()).await.unwrap();
    raw_sql("begin immediate").execute(&mut theirs).await.unwrap();
    (0..100).for_each(|n| r.entrance.push(record(n)));
    let stats = r.wait_until(|stats| stats.trouble.is_some()).await;
    let trouble = stats.trouble.unwrap();
    assert!(trouble.contains("queue.db") && trouble.contains("another program"), "{trouble}");
    let stats = r.wait_until(|stats| stats.in_memory > 0).await;
    assert_eq!((stats.results, stats.dropped_total), (0, 0));
    raw_sql("rollback").execute(&mut theirs).await.unwrap();
    let stats = r.wait_until(|stats| stats.results == 100).await;
    assert_eq!(stats.dropped_total, 0);
    r.wait_until(|stats| stats.trouble.is_none() && stats.in_memory == 0).await;
}

#[tokio::test]
async fn when_the_memory_is_full_the_oldest_go_and_are_counted() {
    let r = running(Limits { memory: 20_000, ..Limits::default() }, None).await;
    let mut theirs = SqliteConnection::connect(r.path.to_str().unwrap()).await.unwrap();
    raw_sql("begin immediate").execute(&mut theirs).await.unwrap();
    (0..2000).for_each(|n| r.entrance.push(record(n)));
    r.wait_until(|stats| stats.trouble.is_some()).await;
    let stats = r.wait_until(|stats| stats.dropped_total > 0).await;
    assert!(stats.dropped_total > 1000 && stats.dropped_total < 2000, "{stats:?}");
    raw_sql("rollback").execute(&mut theirs).await.unwrap();
    let stats = r.wait_until(|stats| stats.results + stats.dropped_total == 2000).await;
    assert!(stats.trouble.is_none_or(|trouble| trouble.contains("dropped")));
}

#[tokio::test]
async fn a_full_disk_keeps_results_in_memory_and_giving_up_says_how_many() {
    let r = running(Limits::default(), Some(16)).await;
    let mut x = 1u64;
    for _ in 0..200 {
        let noise = (0..300).map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (x >> 33) as u8
        });
        r.entrance.push(noise.collect());
    }
    let stats = r.wait_until(|stats| stats.trouble.as_ref().is_some_and(|t| t.contains("full"))).await;
    drop(r.entrance);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!r.stage.is_finished(), "given up although nobody said so");
    r.give_up.cancel();
    let lost = tokio::time::timeout(Duration::from_secs(20), r.stage).await.unwrap().unwrap();
    assert_eq!(lost as u64, 200 - stats.results);
}

#[tokio::test]
async fn an_idle_stage_deletes_what_is_stored() {
    let r = running(Limits::default(), None).await;
    r.entrance.push(record(0));
    r.wait_until(|stats| stats.results == 1).await;
    r.reader.release(1);
    for _ in 0..2000 {
        if commits(&r.path).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still there after 20 s");
}
