//! A topic of one's own, records put into it by hand, and everything that is in it.

use bus::{
    Log, Queue,
    kafka::{Consumer, Most, Reach},
    log::{Read, Started},
    queue::Options,
    relay::{Gauge, Relay},
};
use model::{
    batch::{Batch, Source},
    kafka::{KafkaSetting, Replication},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;
pub use testkit::OnWire;
use testkit::{Topic, unique};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// More than anything of a healthy broker takes.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const AT_ONCE: Most = Most { records: 10_000, bytes: 64 << 20, pace: Duration::ZERO };

/// The shared broker, topics and a group of one's own.
pub fn setting() -> KafkaSetting {
    setting_at(&testkit::kafka_brokers())
}

pub fn setting_at(brokers: &str) -> KafkaSetting {
    KafkaSetting {
        brokers: brokers.split(',').map(str::to_owned).collect(),
        topic: unique("results"),
        dead_topic: unique("dead"),
        group: unique("writer"),
        partitions: 1,
        replication: Replication::Auto,
        tls: None,
        sasl: None,
        properties: Vec::new(),
    }
}

fn client(setting: &KafkaSetting) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", setting.brokers.join(","));
    config
}

pub fn admin(setting: &KafkaSetting) -> AdminClient<DefaultClientContext> {
    client(setting).create().unwrap()
}

pub fn patience() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

/// The topic of the results.
pub fn topic(setting: &KafkaSetting) -> Topic {
    Topic::at(&setting.brokers.join(","), &setting.topic)
}

/// Puts records into the topic, in their order.
pub fn put(setting: &KafkaSetting, records: &[OnWire]) {
    topic(setting).put(records);
}

/// Everything that is in the topic, partition by partition.
pub fn all(setting: &KafkaSetting) -> Vec<OnWire> {
    topic(setting).all()
}

/// Joins the group; makes the topic.
pub async fn join(setting: &KafkaSetting, most: Most) -> Log {
    let stop = CancellationToken::new();
    let opening = Consumer::open(setting, most, Reach::default(), &stop);
    Log::kafka(timeout(LIMIT, opening).await.unwrap().unwrap().unwrap())
}

pub async fn next(log: &mut Log) -> Read {
    let stop = CancellationToken::new();
    timeout(LIMIT, log.read(&stop)).await.expect("something to read").unwrap().unwrap()
}

/// Starts what is opened until a batch comes.
pub async fn next_batch(log: &mut Log) -> Batch {
    loop {
        match next(log).await {
            Read::Batch(batch) => return batch,
            Read::Opened(source) => {
                log.start(&source, None).await.unwrap();
            }
            Read::Closed(_) => {}
        }
    }
}

/// What is opened next.
pub async fn opened(log: &mut Log) -> Source {
    loop {
        if let Read::Opened(source) = next(log).await {
            return source;
        }
    }
}

/// Starts what is opened next.
pub async fn started(log: &mut Log, stored: Option<i64>) -> (Source, Started) {
    loop {
        let source = opened(log).await;
        if let Some(started) = log.start(&source, stored).await.unwrap() {
            return (source, started);
        }
    }
}

/// A queue on a file, its relay running.
pub struct Relayed {
    _folder: TempDir,
    pub path: PathBuf,
    pub tail: bus::queue::Tail,
    pub queue: bus::queue::Gauge,
    pub gauge: Gauge,
    pub reach: Reach,
    pub no_more: CancellationToken,
    pub give_up: CancellationToken,
    pub running: JoinHandle<Result<(), bus::kafka::Error>>,
}

pub async fn relayed(setting: &KafkaSetting) -> Relayed {
    relayed_with(setting, &[]).await
}

/// With this in the queue when it starts.
pub async fn relayed_with(setting: &KafkaSetting, records: &[Vec<u8>]) -> Relayed {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut queue = Queue::open(&path, Options::new(1 << 30), &CancellationToken::new()).await.unwrap();
    for records in records.chunks(4000) {
        queue.tail.append(records).await.unwrap();
    }
    let reach = Reach::default();
    let relay = Relay::new(queue.reader, setting, reach.clone());
    let gauge = relay.gauge();
    let (no_more, give_up) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(relay.run(no_more.clone(), give_up.clone()));
    Relayed { _folder: folder, path, tail: queue.tail, queue: queue.gauge, gauge, reach, no_more, give_up, running }
}

impl Relayed {
    /// Waits until the queue has nothing left that is not in Kafka.
    pub async fn all_arrived(&self) {
        testkit::eventually("all is acknowledged", 2 * LIMIT, async || self.queue.stats().results == 0).await;
    }

    /// Stops in order: everything arrives.
    pub async fn drain(self) {
        self.no_more.cancel();
        timeout(2 * LIMIT, self.running).await.expect("drained").unwrap().unwrap();
        assert_eq!(self.queue.stats().results, 0);
    }
}

/// Results of so many targets in turn: number n is of target t<n % targets>.
pub fn results(numbers: std::ops::Range<usize>, targets: usize) -> Vec<Vec<u8>> {
    let result = |n: usize| {
        let due = model::UnixMs(crate::results::DUE.0 - 86_400_000 * 200 + n as i64);
        let target = model::TargetId::new(&format!("t{}", n % targets)).unwrap();
        let result = model::CheckResult { target, due_at: due, ..crate::results::down() };
        let mut out = Vec::new();
        bus::record::encode(&result, &mut out);
        out
    };
    numbers.map(result).collect()
}
