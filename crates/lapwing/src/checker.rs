//! The stage that looks: schedule -> probe -> records for the queue.

use crate::{
    clock::SlotClock,
    metrics::Metrics,
    reload::{self, InForce},
    stop::Stop,
    watch::Watch,
};
use bus::{append::Entrance, record};
use config::Config;
use model::{
    CheckResult, Location, Reason, UnixMs,
    result::{Finding, Look},
    schedule::{Job, Limits, Next, Schedule, Slot},
};
use probe::{Due, Prober};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::sleep,
};

/// The schedule is asked at least this often: it takes longer silences for a stop of the process.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What the checker is given.
#[derive(Debug)]
pub struct Checker {
    pub config: Arc<Config>,
    /// Tells of new ones, known to be good.
    pub in_force: InForce,
    /// Where results go; it takes every one at once.
    pub queue: Entrance,
    pub watch: Arc<Watch>,
    pub metrics: Arc<Metrics>,
}

/// Checks every target at its slots until the stop; then what is in flight may end within the grace. What does not is given
/// up and not reported: another start can still check that slot.
pub async fn checker(mut given: Checker, stop: Stop) {
    let mut clock = SlotClock::start();
    let mut schedule = Schedule::new(given.config.location.clone(), limits(&given.config));
    let mut prober = reload::prober_of(&given.config);
    take_over(&mut schedule, &given, &mut clock);
    let mut running = Running::default();
    while !stop.asked.is_cancelled() {
        let wait = match schedule.next(clock.now()) {
            Next::Start(job) => {
                let lag = clock.since(job.slot.due_at);
                given.metrics.started(lag);
                let due = Due { location: given.config.location.clone(), at: Some(job.slot.due_at), lag };
                running.start(job, Arc::clone(&prober), due);
                continue;
            }
            Next::Late(slot) => {
                given.report(&late(&slot, &given.config.location));
                continue;
            }
            Next::Wait(at) => at.map_or(ASK_AGAIN, |at| at.since(clock.now()).min(ASK_AGAIN)),
        };
        given.metrics.in_flight(schedule.in_flight());
        tokio::select! {
            () = stop.asked.cancelled() => {}
            () = sleep(wait) => {}
            Some((job, result)) = running.next() => given.finish(&mut schedule, &job, result),
            Ok(()) = given.in_force.changed() => {
                given.config = Arc::clone(&given.in_force.borrow_and_update());
                prober = reload::prober_of(&given.config);
                take_over(&mut schedule, &given, &mut clock);
            }
        }
    }
    let drain = async {
        while let Some((job, result)) = running.next().await {
            given.finish(&mut schedule, &job, result);
        }
    };
    tokio::select! {
        () = drain => {}
        () = stop.given_up(given.config.shutdown_grace) => {}
    }
    if !running.jobs.is_empty() {
        tracing::warn!(given_up = running.jobs.len(), "checks were still in flight and are given up");
    }
}

fn limits(config: &Config) -> Limits {
    Limits { concurrency: config.probe.concurrency, per_host: config.probe.per_host }
}

fn take_over(schedule: &mut Schedule, given: &Checker, clock: &mut SlotClock) {
    let location = &given.config.location;
    schedule.set(location, limits(&given.config), &given.config.targets, clock.now());
    given.watch.set(given.config.targets.iter().filter(|t| t.is_watched_from(location)).map(|t| &t.id));
}

/// Checks in flight, and the jobs that they are of.
#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<CheckResult>,
    jobs: HashMap<Id, Job>,
}

impl Running {
    fn start(&mut self, job: Job, prober: Arc<Prober>, due: Due) {
        let target = Arc::clone(&job.slot.target);
        let task = self.tasks.spawn(async move { prober.check(&target, due).await });
        self.jobs.insert(task.id(), job);
    }

    /// The next check that ends. `None`: nothing is in flight.
    async fn next(&mut self) -> Option<(Job, Result<CheckResult, JoinError>)> {
        loop {
            let (id, result) = match self.tasks.join_next_with_id().await? {
                Ok((id, result)) => (id, Ok(result)),
                Err(e) => (e.id(), Err(e)),
            };
            if let Some(job) = self.jobs.remove(&id) {
                return Some((job, result));
            }
        }
    }
}

impl Checker {
    fn finish(&self, schedule: &mut Schedule, job: &Job, result: Result<CheckResult, JoinError>) {
        let result = result.unwrap_or_else(|e| {
            tracing::error!(id = %job.slot.target.id, error = %e, "a check crashed; this is a mistake in lapwing");
            crashed(&job.slot, &self.config.location)
        });
        let timed_out = result.finding.as_ref().is_some_and(|f| f.reason == Reason::Timeout);
        schedule.done(job, timed_out);
        self.report(&result);
    }

    fn report(&self, result: &CheckResult) {
        let CheckResult { target, due_at, verdict, .. } = result;
        tracing::debug!(id = %target, %due_at, %verdict, "checked");
        self.metrics.checked(result);
        self.watch.note(result);
        let mut record = Vec::with_capacity(1024);
        record::encode(result, &mut record);
        self.queue.push(record);
    }
}

fn late(slot: &Slot, location: &Location) -> CheckResult {
    let finding =
        Finding::new(Reason::Late, "the check could not be started before its next slot: all places were taken");
    CheckResult::unknown(&slot.target, location.clone(), slot.due_at, finding)
}

fn crashed(slot: &Slot, location: &Location) -> CheckResult {
    let finding = Finding::new(Reason::ProberFailed, "the check crashed: a mistake in Lapwing");
    let look = Look::begun(UnixMs::from_system(SystemTime::now()), Duration::ZERO, 1);
    CheckResult { look: Some(look), ..CheckResult::unknown(&slot.target, location.clone(), slot.due_at, finding) }
}
