//! The stage between the queue and Kafka: takes results from the one, in their order, and lets them go there when the other
//! has acknowledged them.
//!
//! Whatever becomes of Kafka, results wait in the queue. A record that fails takes everything in flight with it: it all begins
//! again at the lowest that is not acknowledged, with a new producer, so that a target's results keep their order. What was
//! acknowledged and is sent again is a record of the same identity, and harmless.

mod flight;
mod window;

use crate::{
    Class, QueueError,
    kafka::{Cluster, Deed, Error, Needed, Reach, explained},
    queue::{Most, Raw, Reader},
    record::decode,
};
use flight::{Failure, Flight, Progress, Sent, Shared};
use model::{
    UnixMs,
    batch::Content,
    kafka::KafkaSetting,
    trouble::{Lasting, Say},
};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// What is taken from the queue at once. What comes is sent at once, too: the producer gathers by itself.
const MOST: Most = Most { records: 5000, bytes: 4 << 20, pace: Duration::ZERO };
/// Records between two pauses for others: handing one over takes some microseconds.
const IN_A_ROW: usize = 100;
/// Between two tries, growing from one to the other.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// Before the queue is read again when a person must act.
const RETRY_SYSTEMIC: Duration = Duration::from_secs(30);
/// What librdkafka puts into one batch at most, and the smallest that still holds a record of ours.
const BATCH: usize = 1_000_000;
const SMALLEST_BATCH: usize = 70_000;
/// How often Kafka is looked at, and how long it may take to acknowledge something before that is a trouble.
const LOOK: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a producer that is given up may take to go.
const GOING: Duration = Duration::from_secs(5);

/// Takes results from a queue to a topic.
#[derive(Debug)]
pub struct Relay {
    reader: Reader,
    setting: KafkaSetting,
    reach: Reach,
    gauge: Gauge,
    flight: Option<Flight>,
    next: i64,
    batch: usize,
    failing: Lasting,
}

/// The relay as others see it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    now: Option<Arc<Shared>>,
    /// Of the flights before.
    acknowledged: u64,
    acknowledged_at: Option<UnixMs>,
    restarts: u64,
}

/// The relay at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Handed to Kafka and not acknowledged: records, and bytes of them.
    pub in_flight: usize,
    pub in_flight_bytes: usize,
    /// Since the start.
    pub acknowledged: u64,
    pub acknowledged_at: Option<UnixMs>,
    /// How often it began again at the lowest that was not acknowledged.
    pub restarts: u64,
}

/// How a flight ended.
enum Landed {
    /// Everything is acknowledged, and nothing more comes.
    All,
    Failed(Failure),
}

impl Relay {
    /// `reach` tells how Kafka is reached, from the moment when the relay runs.
    pub fn new(reader: Reader, setting: &KafkaSetting, reach: Reach) -> Self {
        Self {
            reader,
            setting: setting.clone(),
            reach,
            gauge: Gauge::default(),
            flight: None,
            next: 0,
            batch: BATCH,
            failing: Lasting::default(),
        }
    }

    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Runs until nothing more can come and all is acknowledged, or until it is to give up. What is left waits in the queue for
    /// the next start.
    ///
    /// # Errors
    /// At start, what waiting does not mend: refused authentication or TLS, a topic that is missing and may not be made.
    pub async fn run(mut self, no_more: CancellationToken, give_up: CancellationToken) -> Result<(), Error> {
        let ended = tokio::select! {
            ended = self.relay(&no_more) => ended,
            () = give_up.cancelled() => {
                tracing::warn!("results wait in the queue for the next start");
                Ok(())
            }
        };
        if let Some(flight) = self.flight.take() {
            let _ = timeout(GOING, tokio::task::spawn_blocking(|| flight.give_up())).await; // it ends with us
        }
        self.reader.close().await;
        ended
    }

    async fn relay(&mut self, no_more: &CancellationToken) -> Result<(), Error> {
        self.next = self.resume().await;
        let (setting, reach, never) = (self.setting.clone(), self.reach.clone(), CancellationToken::new());
        let opened = tokio::select! {
            opened = Cluster::open(&setting, &reach, &never) => opened?,
            () = self.nothing_to_do(no_more) => None,
        };
        let Some((cluster, _)) = opened else { return Ok(()) };
        let watching = tokio::spawn(watch(Arc::clone(&cluster), self.gauge.clone(), self.reach.clone()));
        let _watching = AbortOnDrop(watching);
        let mut pause = RETRY;
        loop {
            self.take_off()?;
            let landed = match (self.fly(no_more).await, &self.flight) {
                (Landed::Failed(failure), Some(flight)) => Landed::Failed(flight.cause(failure)),
                (landed, _) => landed,
            };
            let has_moved = self.land().await;
            let Landed::Failed(failure) = landed else { return Ok(()) };
            pause = if has_moved { RETRY } else { (2 * pause).min(LONGEST_RETRY) };
            self.failed(failure);
            sleep(pause).await;
            // It may have been deleted.
            if let Err(error) = cluster.ensure(Needed::Results).await {
                self.reach.is_missed(&error);
            }
        }
    }

    /// Where the queue begins: what is in it was not acknowledged, or is not known to be.
    async fn resume(&mut self) -> i64 {
        let mut trouble = Lasting::default();
        loop {
            match self.reader.resume(None).await {
                Ok(next) => return next,
                Err(error) => unreadable(&error, &mut trouble).await,
            }
        }
    }

    /// Waits until nothing more can come, and ends only if nothing is there.
    async fn nothing_to_do(&mut self, no_more: &CancellationToken) {
        no_more.cancelled().await;
        while !matches!(self.reader.read_raw_rest(self.next, self.next, &MOST).await, Ok(None)) {
            sleep(LONGEST_RETRY).await;
        }
    }

    fn take_off(&mut self) -> Result<(), Error> {
        let queue = Arc::clone(&self.reader.source().log);
        let releases = self.reader.releases();
        let flight = Flight::new(&self.setting, &self.reach, self.batch, &queue, self.next, releases)
            .map_err(|e| Error::of_settings(&e))?;
        self.gauge.seen().now = Some(Arc::clone(flight.shared()));
        self.flight = Some(flight);
        Ok(())
    }

    /// Gives the producer up. What it has not acknowledged comes again. True: it had acknowledged something.
    async fn land(&mut self) -> bool {
        let Some(flight) = self.flight.take() else { return false };
        let shared = Arc::clone(flight.shared());
        if let Err(error) = tokio::task::spawn_blocking(|| flight.give_up()).await {
            tracing::error!(%error, "a producer crashed while it ended; this is a mistake in lapwing");
        }
        self.next = shared.lowest();
        self.gauge.landed(shared.progress())
    }

    async fn fly(&mut self, no_more: &CancellationToken) -> Landed {
        let mut trouble = Lasting::default();
        let Some(flight) = &self.flight else { return Landed::All };
        let shared = Arc::clone(flight.shared());
        loop {
            let held = shared.lowest();
            let read = tokio::select! {
                read = self.reader.read_raw(self.next, held, &MOST, no_more) => read,
                failure = failed(&shared) => return Landed::Failed(failure),
            };
            let read = match read {
                Ok(None) => self.reader.read_raw_rest(self.next, held, &MOST).await,
                read => read,
            };
            match read {
                Ok(Some(raw)) => {
                    if let Err(failure) = send(flight, &raw).await {
                        return Landed::Failed(failure);
                    }
                    self.next = raw.next;
                    if let Some(Say::Over(lasted)) = self.failing.gone(Instant::now()) {
                        tracing::info!(?lasted, "results go to Kafka again");
                    }
                }
                Ok(None) => return last(&shared).await,
                Err(error) => unreadable(&error, &mut trouble).await,
            }
        }
    }

    fn failed(&mut self, failure: Failure) {
        let Failure { code, why } = failure;
        let advice = if code == Some(Code::MessageSizeTooLarge) {
            self.batch = (self.batch / 2).max(SMALLEST_BATCH);
            " (raise max.message.bytes of the topic if this lasts)"
        } else {
            ""
        };
        let topic = &self.setting.topic;
        let why = match code {
            Some(code) => explained(&self.setting, code, Deed::Produce, why),
            None => why,
        };
        let error = format!("topic {topic} does not take a result: {why}{advice}");
        self.reach.set_stalled(Some(error.as_str().into()));
        match self.failing.met(Instant::now()) {
            Some(Say::Begins | Say::Over(_)) => {
                tracing::warn!(%error, "a delivery has failed; it all begins again at the first that is not in Kafka");
            }
            Some(Say::Lasts(lasted)) => {
                tracing::warn!(%error, ?lasted, "deliveries still fail; results wait in the queue");
            }
            None => {}
        }
    }
}

/// Hands records over, in their order, while there is room in flight.
async fn send(flight: &Flight, raw: &Raw) -> Result<(), Failure> {
    let shared = flight.shared();
    for records in raw.records.chunks(IN_A_ROW) {
        for (n, record) in records {
            loop {
                match flight.send(*n, record) {
                    Sent::Yes => break,
                    // Also by itself: room in librdkafka may come without a word.
                    Sent::NoRoom => {
                        let _ = timeout(Duration::from_millis(100), shared.moved.notified()).await;
                    }
                    Sent::Failed => return Err(failed(shared).await),
                }
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Waits for a failure.
async fn failed(shared: &Shared) -> Failure {
    loop {
        if let Some(failure) = shared.failure() {
            return failure;
        }
        shared.missed.notified().await;
    }
}

/// Waits until everything is acknowledged.
async fn last(shared: &Shared) -> Landed {
    while !shared.has_landed() {
        if let Some(failure) = shared.failure() {
            return Landed::Failed(failure);
        }
        shared.moved.notified().await;
    }
    Landed::All
}

async fn unreadable(error: &QueueError, trouble: &mut Lasting) {
    if let Some(Say::Begins | Say::Lasts(_)) = trouble.met(Instant::now()) {
        tracing::error!(%error, "results can't be taken from the queue; it is tried again");
    }
    sleep(match error.class() {
        Class::Transient => RETRY,
        Class::Systemic | Class::Record => RETRY_SYSTEMIC,
    })
    .await;
}

/// The target's id, so that its results share a partition and keep their order.
fn key(record: &[u8]) -> Option<Cow<'_, [u8]>> {
    // As every record of ours begins; an id needs no escapes.
    if let Some(rest) = record.strip_prefix(br#"{"v":1,"target":""#)
        && let Some(end) = rest.iter().position(|&c| c == b'"' || c == b'\\')
        && rest[end] == b'"'
    {
        return Some(Cow::Borrowed(&rest[..end]));
    }
    match decode(record, UnixMs(i64::MAX)) {
        Content::Result(record) => Some(Cow::Owned(record.target.as_str().as_bytes().to_vec())),
        Content::UnknownKind | Content::Dead(_) => None,
    }
}

/// Looks at Kafka every other second, whether there are results or not.
async fn watch(cluster: Arc<Cluster>, gauge: Gauge, reach: Reach) {
    loop {
        sleep(LOOK).await;
        match cluster.look().await {
            Ok(()) => reach.is_fine(),
            Err(error) => reach.is_missed(&error),
        }
        let progress = gauge.progress();
        match progress.idle_since.map(|since| since.elapsed()) {
            Some(idle) if idle > PATIENCE => {
                let s = idle.as_secs();
                reach.set_stalled(Some(format!("Kafka has acknowledged nothing for {s} s").into()));
            }
            _ if progress.acknowledged > 0 => reach.set_stalled(None),
            _ => {}
        }
    }
}

impl Gauge {
    pub fn stats(&self) -> Stats {
        let seen = self.seen();
        let Progress { records, bytes, acknowledged, acknowledged_at, .. } =
            seen.now.as_ref().map(|shared| shared.progress()).unwrap_or_default();
        Stats {
            in_flight: records,
            in_flight_bytes: bytes,
            acknowledged: seen.acknowledged + acknowledged,
            acknowledged_at: acknowledged_at.or(seen.acknowledged_at),
            restarts: seen.restarts,
        }
    }

    fn progress(&self) -> Progress {
        self.seen().now.as_ref().map(|shared| shared.progress()).unwrap_or_default()
    }

    /// A flight is over. True: it had acknowledged something.
    fn landed(&self, progress: Progress) -> bool {
        let mut seen = self.seen();
        seen.now = None;
        seen.acknowledged += progress.acknowledged;
        seen.acknowledged_at = progress.acknowledged_at.or(seen.acknowledged_at);
        seen.restarts += 1;
        progress.acknowledged > 0
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        // Nothing that holds it panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
