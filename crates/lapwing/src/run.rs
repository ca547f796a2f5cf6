//! The roles that go on for ever: `lapwing run`, `lapwing probe` and `lapwing write`. One pipeline, whole or a half of it: results
//! are made (checker -> queue), or stored (log -> store), or both, and between the halves is the queue itself or Kafka.

use crate::{
    admin::{self, Admin},
    changes::Changes,
    checker::{Checker, checker},
    cli::{ProbeArgs, RunArgs, Shared, WriteArgs},
    exit::{self, Exit},
    keeper::{Keeper, keeper},
    listen,
    metrics::Metrics,
    opening::{self, Opening},
    ready::Ready,
    reload::{self, InForce, Source},
    stages::{Ends, Stages},
    stop::{self, Stop},
    watch::Watch,
    writer::{Writer, writer},
};
use anyhow::Context;
use bus::{
    Log,
    append::{self, Entrance},
    queue::{Most, Queue},
};
use config::{Config, Listen, StoreSetting};
use model::Target;
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};
use store::Store;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often a terminal gets a summary.
const SUMMARY: Duration = Duration::from_secs(10);

/// Which half of the pipeline a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Whole,
    Probe,
    Write,
}

pub fn run(shared: &Shared, args: &RunArgs) -> Result<ExitCode, Exit> {
    Given::load(shared, Role::Whole, args.listen.as_deref(), !args.no_migrate)?.run()
}

pub fn probe(shared: &Shared, args: &ProbeArgs) -> Result<ExitCode, Exit> {
    Given::load(shared, Role::Probe, args.listen.as_deref(), false)?.run()
}

pub fn write(shared: &Shared, args: &WriteArgs) -> Result<ExitCode, Exit> {
    Given::load(shared, Role::Write, args.listen.as_deref(), !args.no_migrate)?.run()
}

impl Role {
    fn makes(self) -> bool {
        matches!(self, Self::Whole | Self::Probe)
    }

    fn stores(self) -> bool {
        matches!(self, Self::Whole | Self::Write)
    }

    /// Where it listens if the command line does not say.
    fn listen(self, config: &Config) -> (&'static str, Listen) {
        match self {
            Self::Whole => ("web.listen", config.web.listen.clone()),
            Self::Probe => ("metrics.listen", config.metrics.of_probe()),
            Self::Write => ("metrics.listen", config.metrics.of_write()),
        }
    }
}

/// What the pipeline is given.
struct Given {
    role: Role,
    source: Source,
    config: Arc<Config>,
    /// The moment before it was read.
    read_at: SystemTime,
    listen: Listen,
    /// What `listen` is called in the configuration.
    listen_key: &'static str,
    migrate: bool,
}

impl Given {
    fn load(shared: &Shared, role: Role, listen: Option<&str>, migrate: bool) -> Result<Self, Exit> {
        let source = Source::of(shared);
        let read_at = SystemTime::now();
        let config = if role.makes() { source.load_to_run() } else { source.load() };
        let config = Arc::new(config.map_err(Exit::usage)?);
        if config.kafka.is_none() && role != Role::Whole {
            let path = source.path.display();
            return Err(Exit::usage(format!(
                "{path}: kafka: missing: results pass through Kafka here; name its brokers (`kafka: {{brokers: [host:9092]}}`), \
                 or take `lapwing run`, which needs none"
            )));
        }
        if config.kafka.is_some() && cfg!(not(feature = "kafka")) {
            return Err(Exit::usage("kafka: this lapwing was built without Kafka (cargo feature `kafka`)"));
        }
        let (listen_key, configured) = role.listen(&config);
        let listen = match listen {
            Some(text) => text.parse().map_err(|e| Exit::usage(format!("--listen: {text:?} {e}")))?,
            None => configured,
        };
        Ok(Self { role, source, config, read_at, listen, listen_key, migrate })
    }

    fn run(self) -> Result<ExitCode, Exit> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers(self.role, &self.config))
            .enable_all()
            .build()
            .context("start the runtime")?;
        // On a worker, beside the checks that it starts: from this thread each of them would be woken across threads.
        let ended = runtime.spawn(pipeline(self));
        runtime.block_on(ended).context("run the pipeline")??;
        runtime.shutdown_background();
        Ok(ExitCode::SUCCESS)
    }
}

/// How many threads the checks get: few busy ones rather than many idle ones, which wake one another for every check and
/// find nothing (docs/performance.md has the figures). A quarter of a core's time for each, by what a check costs.
fn workers(role: Role, config: &Config) -> usize {
    const CHECK_US: f64 = 130.0;
    const HTTPS_CHECK_US: f64 = 400.0;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if !role.makes() {
        return cores.min(2); // one writes, the other talks to the server
    }
    let cost = |t: &Target| {
        let us = if t.url.scheme() == "https" { HTTPS_CHECK_US } else { CHECK_US };
        us * 1000.0 / f64::from(t.interval_ms)
    };
    let us_per_second: f64 =
        config.targets.iter().filter(|t| t.is_watched_from(&config.location)).map(|t| cost(t)).sum();
    ((us_per_second / 250_000.0).ceil() as usize).clamp(1, cores)
}

async fn pipeline(given: Given) -> Result<(), Exit> {
    let Given { role, source, config, read_at, listen, listen_key, migrate } = given;
    let stop = stop::on_signal()?;
    let changes = Changes::of(&config, read_at).context("listen to SIGHUP")?;
    let listener = listen::bind(&listen, listen_key).await?;
    let admin = Admin { ready: Ready::default(), metrics: Arc::new(Metrics::new()) };
    let closing = CancellationToken::new();
    let served = tokio::spawn(admin::serve(listener, admin.clone(), closing.clone()));
    let (reloads, in_force) = watch::channel(Arc::clone(&config));
    let building = Building { config: &config, admin: &admin, in_force: &in_force, stop: &stop };
    let mut stages = Stages::default();
    let Some(queue) = building.queue(role, &mut stages).await? else { return Ok(()) };
    if role.stores() {
        building.writer(queue.log, migrate, &mut stages).await?;
    }
    let reloading = tokio::spawn(reload::reload(source, changes, reloads, Arc::clone(&admin.metrics)));
    let grace = || in_force.borrow().shutdown_grace;
    tracing::info!("{}; health and metrics on {listen}", what_it_does(role, &config));
    let work = work(building, queue.entrance);
    tokio::select! {
        () = work => {}
        () = stages.an_end() => stop.ask(),
    }
    reloading.abort();
    let ended = stages.drain(grace(), &stop).await;
    closing.cancel();
    // A scraper that keeps its connection open does not hold the end.
    let _ = timeout(Duration::from_secs(1), served).await;
    ended
}

fn what_it_does(role: Role, config: &Config) -> String {
    let targets = || format!("{} targets from {}", config.targets.len(), config.location);
    let topic = || config.kafka.as_ref().map(|kafka| kafka.topic.as_str()).unwrap_or_default();
    match (role, &config.kafka) {
        (Role::Whole, None) => targets(),
        (Role::Whole, Some(_)) => format!("{}, by way of topic {}", targets(), topic()),
        (Role::Probe, _) => format!("{}, to topic {}", targets(), topic()),
        (Role::Write, _) => format!("topic {} to {}", topic(), opening::shown(&config.store)),
    }
}

/// Makes results until the stop; a role that makes none waits for it.
async fn work(building: Building<'_>, entrance: Option<Entrance>) {
    let Building { config, admin, in_force, stop } = building;
    let Some(queue) = entrance else { return stop.asked.cancelled().await };
    let watch = Arc::new(Watch::default());
    let metrics = Arc::clone(&admin.metrics);
    let _summing = Summing(tokio::spawn(summaries(Arc::clone(&watch), Arc::clone(&metrics))));
    let checks = Checker { config: Arc::clone(config), in_force: in_force.clone(), queue, watch, metrics };
    checker(checks, stop.clone()).await;
}

/// What stages are built with.
#[derive(Clone, Copy)]
struct Building<'a> {
    config: &'a Arc<Config>,
    admin: &'a Admin,
    in_force: &'a InForce,
    stop: &'a Stop,
}

/// The ends of the queue that are not a stage's.
#[derive(Default)]
struct Ended {
    /// For the checker.
    entrance: Option<Entrance>,
    /// For the writer; `None`: it reads Kafka.
    log: Option<Log>,
}

impl Building<'_> {
    /// The queue with the stages around it, if results are made here. `None`: the stop came first.
    async fn queue(&self, role: Role, stages: &mut Stages) -> Result<Option<Ended>, Exit> {
        if !role.makes() {
            return Ok(Some(Ended::default()));
        }
        let Admin { ready, metrics } = self.admin;
        let Some(queue) = opening::queue(self.config, ready, self.stop).await? else { return Ok(None) };
        let Queue { tail, reader, gauge } = queue;
        metrics.watch_queue(gauge.clone());
        let asked = gauge.clone();
        ready.ask("queue", move || asked.stats().trouble);
        let (entrance, appender) = append::appender(tail, append::Limits::default());
        stages.add("appender", async move |ends| {
            appender.run(ends.give_up).await;
            Ok(())
        });
        let log = match &self.config.kafka {
            None => Some(Log::queue(reader, gauge, Most::default())),
            #[cfg(feature = "kafka")]
            Some(kafka) => {
                let relay = opening::relay(reader, kafka, ready);
                metrics.watch_relay(relay.gauge());
                stages.add("relay", async move |Ends { no_more, give_up }| {
                    relay.run(no_more, give_up).await.map_err(Exit::failed)
                });
                None
            }
            #[cfg(not(feature = "kafka"))]
            Some(_) => None, // refused before
        };
        Ok(Some(Ended { entrance: Some(entrance), log }))
    }

    /// The writer. It begins when its store is open, and with Kafka, when that answers.
    async fn writer(&self, log: Option<Log>, migrate: bool, stages: &mut Stages) -> Result<(), Exit> {
        if let (StoreSetting::Sqlite(path), false, Some(_)) =
            (&self.config.store, self.config.store_is_named, &self.config.kafka)
        {
            tracing::info!(path = %path.display(), "no `store` is named: results go to a file of SQLite");
        }
        let store = opening::store(self.config, &self.admin.ready, migrate, self.stop).await?;
        let (config, admin, in_force) = (Arc::clone(self.config), self.admin.clone(), self.in_force.clone());
        let (stop, open, buried) = (self.stop.clone(), CancellationToken::new(), Arc::new(Notify::new()));
        let keeping = Keeper::new(&config, in_force.clone(), Arc::clone(&buried));
        let opened = open.clone();
        stages.add("writer", async move |ends| {
            let Some((log, store)) = both(log, store, &config, &admin.ready, &stop).await? else {
                // The stop came first. To end before everybody else would look like a fault.
                ends.no_more.cancelled().await;
                return Ok(());
            };
            admin.metrics.watch_lag(log.lag());
            open.cancel();
            writer(Writer::new(log, store, admin, in_force, buried), ends).await
        });
        stages.add("keeper", async move |ends| {
            keeper(keeping, opened, ends).await;
            Ok(())
        });
        Ok(())
    }
}

/// The store, and then the log: who has joined the group has partitions, and must be able to store what is in them. `None`: the
/// stop came first.
async fn both(
    log: Option<Log>,
    store: Opening,
    config: &Config,
    ready: &Ready,
    stop: &Stop,
) -> Result<Option<(Log, Store)>, Exit> {
    let Some(store) = store.await? else {
        if let Some(log) = log {
            log.close().await;
        }
        return Ok(None);
    };
    let log = match log {
        Some(log) => Some(log),
        None => opening::kafka(config, ready, stop).await?,
    };
    match log {
        Some(log) => Ok(Some((log, store))),
        None => {
            store.close().await;
            Ok(None)
        }
    }
}

async fn summaries(watch: Arc<Watch>, metrics: Arc<Metrics>) {
    if !io::stderr().is_terminal() {
        return;
    }
    let mut ticks = interval(SUMMARY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Some(line) = watch.summary(SUMMARY, metrics.waiting()) {
            exit::tell(&line);
        }
    }
}

/// Ends with the checks.
struct Summing(JoinHandle<()>);

impl Drop for Summing {
    fn drop(&mut self) {
        self.0.abort();
    }
}
