//! The producer, and what it tells of each record it was given.

use super::window::Window;
use crate::{
    kafka::{Reach, producer_settings},
    queue::Releases,
};
use model::{UnixMs, kafka::KafkaSetting};
use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};
use tokio::sync::Notify;

/// One producer and what is in flight with it. When a record fails it is given up as a whole.
pub(super) struct Flight {
    producer: ThreadedProducer<Deliveries>,
    shared: Arc<Shared>,
    topic: String,
    queue: Arc<str>,
}

/// What the thread that hears of deliveries knows.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something was acknowledged, or has failed.
    pub moved: Notify,
    /// Something has failed.
    pub missed: Notify,
    releases: Releases,
}

struct State {
    window: Window,
    failed: Option<Failure>,
    acknowledged: u64,
    acknowledged_at: Option<UnixMs>,
    /// Since when something is in flight and nothing is acknowledged.
    idle_since: Option<Instant>,
}

/// A record that Kafka did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub code: Option<Code>,
    pub why: String,
}

/// What a moment looks like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub records: usize,
    pub bytes: usize,
    pub acknowledged: u64,
    pub acknowledged_at: Option<UnixMs>,
    pub idle_since: Option<Instant>,
}

/// Whether a record was handed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// Not now: wait until something has moved.
    NoRoom,
    Failed,
}

impl Flight {
    /// From here on, with a new producer. No batch of it is larger than `batch` bytes.
    pub fn new(
        setting: &KafkaSetting,
        reach: &Reach,
        batch: usize,
        queue: &Arc<str>,
        next: i64,
        releases: Releases,
    ) -> Result<Self, KafkaError> {
        let state =
            State { window: Window::new(next), failed: None, acknowledged: 0, acknowledged_at: None, idle_since: None };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), moved: Notify::new(), missed: Notify::new(), releases });
        let mut config = producer_settings(setting);
        let written = config.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(usize::MAX);
        if batch < written {
            config.set("batch.size", batch.to_string());
        }
        let context = Deliveries { reach: reach.clone(), shared: Arc::clone(&shared) };
        let producer = ThreadedProducer::from_config_and_context(&config, context)?;
        Ok(Self { producer, shared, topic: setting.topic.clone(), queue: Arc::clone(queue) })
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands a record to librdkafka, which copies it.
    pub fn send(&self, n: i64, record: &[u8]) -> Sent {
        {
            let mut state = self.shared.state();
            if state.failed.is_some() {
                return Sent::Failed;
            }
            if !state.window.has_room() {
                return Sent::NoRoom;
            }
            // Before it is handed over: it may be acknowledged before this returns.
            state.window.sent(n, record.len());
            state.idle_since.get_or_insert_with(Instant::now);
        }
        let key = super::key(record);
        let sequence = format!("{}/{n}", self.queue);
        let mut message =
            BaseRecord::with_opaque_to(&self.topic, Box::new(n)).payload(record).headers(headers(&sequence));
        if let Some(key) = &key {
            message = message.key(&**key);
        }
        let Err((error, _)) = self.producer.send(message) else { return Sent::Yes };
        let mut state = self.shared.state();
        state.window.not_sent();
        if error.rdkafka_error_code() == Some(Code::QueueFull) {
            return Sent::NoRoom;
        }
        state.failed.get_or_insert_with(|| Failure::of(&error));
        self.shared.missed.notify_one();
        Sent::Failed
    }

    /// Why records failed: where that ended the producer they say no more than that they were ended.
    pub fn cause(&self, failure: Failure) -> Failure {
        match self.producer.client().fatal_error() {
            Some((code, why)) => Failure { code: Some(code), why },
            None => failure,
        }
    }

    /// Gives up what is in flight, and waits until nothing of it can reach a broker any more. Blocks.
    pub fn give_up(self) -> Arc<Shared> {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        drop(self.producer);
        self.shared
    }
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Shared {
    pub fn failure(&self) -> Option<Failure> {
        self.state().failed.clone()
    }

    pub fn lowest(&self) -> i64 {
        self.state().window.lowest()
    }

    pub fn has_landed(&self) -> bool {
        self.state().window.is_empty()
    }

    pub fn progress(&self) -> Progress {
        let state = self.state();
        Progress {
            records: state.window.len(),
            bytes: state.window.bytes(),
            acknowledged: state.acknowledged,
            acknowledged_at: state.acknowledged_at,
            idle_since: state.idle_since,
        }
    }

    fn acknowledged(&self, n: i64) {
        let mut state = self.state();
        state.acknowledged += 1;
        state.acknowledged_at = Some(UnixMs::from_system(SystemTime::now()));
        let has_moved = state.window.acknowledged(n);
        state.idle_since = (!state.window.is_empty()).then(Instant::now);
        if has_moved {
            self.releases.release(state.window.lowest());
        }
        drop(state);
        self.moved.notify_one();
    }

    fn has_failed(&self, error: &KafkaError) {
        self.state().failed.get_or_insert_with(|| Failure::of(error));
        self.missed.notify_one();
        self.moved.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

impl Failure {
    fn of(error: &KafkaError) -> Self {
        let code = error.rdkafka_error_code();
        Self { code, why: code.map_or_else(|| error.to_string(), |code| code.to_string()) }
    }
}

/// The contract, section 7.
fn headers(sequence: &str) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(3)
        .insert(Header { key: "content-type", value: Some("application/json") })
        .insert(Header { key: "lapwing-version", value: Some("1") })
        .insert(Header { key: "lapwing-seq", value: Some(sequence) })
}

/// Hears of deliveries, on the producer's own thread.
struct Deliveries {
    reach: Reach,
    shared: Arc<Shared>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reach.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reach.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<i64>;

    fn delivery(&self, report: &DeliveryResult<'_>, n: Box<i64>) {
        match report {
            Ok(message) => {
                tracing::trace!(n, partition = message.partition(), offset = message.offset(), "a result is in Kafka");
                self.shared.acknowledged(*n);
            }
            Err((error, _)) => self.shared.has_failed(error),
        }
    }
}
