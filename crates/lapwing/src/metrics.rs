//! What the process counts, under the names of the contract.

use bus::{log::Lag, queue::Gauge as QueueGauge};
use model::{CheckResult, UnixMs, Verdict};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    sync::{OnceLock, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use store::{Counts, DeadCounts};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    verdict: &'static str,
    /// Empty for `up`.
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    partition: i32,
}

/// Why a record that is fine is not stored.
const SKIPPED: [&str; 3] = ["duplicate", "too_old", "unknown_kind"];

/// The stages whose progress is shown.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Probe,
    Queue,
    #[cfg(feature = "kafka")]
    Relay,
    Write,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Queue => "queue",
            #[cfg(feature = "kafka")]
            Self::Relay => "relay",
            Self::Write => "write",
        }
    }
}

type SecondsGauge = Gauge<f64, AtomicU64>;

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    queue: OnceLock<QueueGauge>,
    #[cfg(feature = "kafka")]
    relay: OnceLock<bus::relay::Gauge>,
    lag_of: OnceLock<Lag>,
    checks: Family<CheckLabels, Counter>,
    lag: Histogram,
    in_flight: Gauge,
    queue_results: Gauge,
    queue_bytes: Gauge,
    queue_oldest: SecondsGauge,
    queue_dropped: Counter,
    stored: Counter,
    skipped: Family<CauseLabel, Counter>,
    commit: Histogram,
    consumer_lag: Family<PartitionLabel, Gauge>,
    dead_letters: Family<ReasonLabel, Counter>,
    progress: Family<StageLabel, SecondsGauge>,
    reload: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let mut r = Registry::default();
        let checks: Family<CheckLabels, Counter> = Family::default();
        r.register("lapwing_checks", "Checks by what they concluded", checks.clone());
        let lag = Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0]);
        r.register("lapwing_check_lag_seconds", "How late checks start against their slots", lag.clone());
        let in_flight = Gauge::default();
        r.register("lapwing_checks_in_flight", "Checks that run now", in_flight.clone());
        let queue_results = Gauge::default();
        r.register("lapwing_queue_results", "Results that wait in the queue", queue_results.clone());
        let queue_bytes = Gauge::default();
        r.register("lapwing_queue_bytes", "Bytes of the results that wait in the queue", queue_bytes.clone());
        let queue_oldest = SecondsGauge::default();
        r.register(
            "lapwing_queue_oldest_seconds",
            "Age of the oldest result that waits in the queue",
            queue_oldest.clone(),
        );
        let queue_dropped = Counter::default();
        r.register(
            "lapwing_queue_dropped",
            "Results that were dropped because the queue was full or could not be written",
            queue_dropped.clone(),
        );
        let stored = Counter::default();
        r.register("lapwing_results_stored", "Results that were stored", stored.clone());
        let skipped: Family<CauseLabel, Counter> = Family::default();
        r.register("lapwing_results_skipped", "Records that were read and not stored", skipped.clone());
        let commit = Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]);
        r.register("lapwing_store_commit_seconds", "Time of one transaction of the store", commit.clone());
        let consumer_lag = Family::default();
        r.register(
            "lapwing_consumer_lag_records",
            "Records of a partition that wait to be stored",
            consumer_lag.clone(),
        );
        let dead_letters: Family<ReasonLabel, Counter> = Family::default();
        r.register("lapwing_dead_letters", "Records that became dead letters", dead_letters.clone());
        let progress = Family::default();
        r.register("lapwing_last_progress_timestamp_seconds", "When a stage last got something done", progress.clone());
        let reload: Gauge = Gauge::default();
        reload.set(1);
        r.register(
            "lapwing_config_last_reload_successful",
            "Whether the configuration in force is the one in the file",
            reload.clone(),
        );
        // A counter that begins with its first count has no increase that could be seen.
        drop(checks.get_or_create(&CheckLabels { verdict: Verdict::Up.word(), reason: "" }));
        for cause in SKIPPED {
            drop(skipped.get_or_create(&CauseLabel { cause }));
        }
        for (reason, _) in DeadCounts::default().by_reason() {
            drop(dead_letters.get_or_create(&ReasonLabel { reason: reason.word() }));
        }
        Self {
            registry: r,
            queue: OnceLock::new(),
            #[cfg(feature = "kafka")]
            relay: OnceLock::new(),
            lag_of: OnceLock::new(),
            checks,
            lag,
            in_flight,
            queue_results,
            queue_bytes,
            queue_oldest,
            queue_dropped,
            stored,
            skipped,
            commit,
            consumer_lag,
            dead_letters,
            progress,
            reload,
        }
    }

    /// The queue whose size is shown.
    pub fn watch_queue(&self, queue: QueueGauge) {
        let _ = self.queue.set(queue); // a process has one queue
    }

    /// The relay whose progress is shown.
    #[cfg(feature = "kafka")]
    pub fn watch_relay(&self, relay: bus::relay::Gauge) {
        let _ = self.relay.set(relay); // a process has one relay
    }

    /// The log whose lag is shown.
    pub fn watch_lag(&self, lag: Lag) {
        let _ = self.lag_of.set(lag); // a process has one writer
    }

    pub fn started(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    pub fn in_flight(&self, n: usize) {
        self.in_flight.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    pub fn checked(&self, result: &CheckResult) {
        let reason = result.finding.as_ref().map_or("", |f| f.reason.word());
        self.checks.get_or_create(&CheckLabels { verdict: result.verdict.word(), reason }).inc();
        self.progress(Stage::Probe);
    }

    /// A batch was committed to the store.
    pub fn stored(&self, counts: &Counts, took: Duration) {
        let Counts { stored, duplicate, too_old, unknown_kind, dead } = *counts;
        self.commit.observe(took.as_secs_f64());
        self.stored.inc_by(stored);
        for (cause, n) in SKIPPED.into_iter().zip([duplicate, too_old, unknown_kind]) {
            self.skipped.get_or_create(&CauseLabel { cause }).inc_by(n);
        }
        for (reason, n) in dead.by_reason().into_iter().filter(|(_, n)| *n > 0) {
            self.dead_letters.get_or_create(&ReasonLabel { reason: reason.word() }).inc_by(n);
        }
        self.progress(Stage::Write);
    }

    pub fn reloaded(&self, well: bool) {
        self.reload.set(i64::from(well));
    }

    pub fn progress(&self, stage: Stage) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        self.progress.get_or_create(&StageLabel { stage: stage.word() }).set(now);
    }

    /// How many results wait in the queue or for it.
    pub fn waiting(&self) -> u64 {
        self.queue.get().map_or(0, |q| {
            let stats = q.stats();
            stats.results + stats.in_memory
        })
    }

    fn look_at_lag(&self) {
        let Some(lag) = self.lag_of.get() else { return };
        self.consumer_lag.clear(); // partitions come and go
        for (partition, records) in lag.now() {
            let gauge = self.consumer_lag.get_or_create(&PartitionLabel { partition });
            gauge.set(i64::try_from(records).unwrap_or(i64::MAX));
        }
    }

    #[cfg(feature = "kafka")]
    fn look_at_relay(&self) {
        if let Some(at) = self.relay.get().and_then(|relay| relay.stats().acknowledged_at) {
            self.progress.get_or_create(&StageLabel { stage: Stage::Relay.word() }).set(at.0 as f64 / 1e3);
        }
    }

    fn look_at_queue(&self) {
        let Some(stats) = self.queue.get().map(QueueGauge::stats) else { return };
        let now = UnixMs::from_system(SystemTime::now());
        self.queue_results.set(i64::try_from(stats.results + stats.in_memory).unwrap_or(i64::MAX));
        self.queue_bytes.set(i64::try_from(stats.bytes).unwrap_or(i64::MAX));
        self.queue_oldest.set(stats.oldest_at.map_or(0.0, |at| now.since(at).as_secs_f64()));
        self.queue_dropped.inc_by(stats.dropped_total.saturating_sub(self.queue_dropped.get()));
        if let Some(at) = stats.committed_at {
            self.progress.get_or_create(&StageLabel { stage: Stage::Queue.word() }).set(at.0 as f64 / 1e3);
        }
    }

    /// The text that a scraper reads (OpenMetrics 1.0).
    pub fn text(&self) -> String {
        self.look_at_queue();
        #[cfg(feature = "kafka")]
        self.look_at_relay();
        self.look_at_lag();
        let mut out = String::new();
        match encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(e) => format!("# can't write the metrics: {e}\n"),
        }
    }
}
