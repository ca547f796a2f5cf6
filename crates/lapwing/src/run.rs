//! `lapwing run`: the whole pipeline in one process. Probe -> queue -> write, each a stage with its ends and its stop.

use crate::{
    admin::{self, Admin},
    changes::Changes,
    checker::{Checker, checker},
    cli::{RunArgs, Shared},
    exit::{self, Exit},
    metrics::Metrics,
    opening::{self, Opening},
    ready::Ready,
    reload::{self, InForce, Source},
    stop::{self, Stop},
    watch::Watch,
    writer::{Writer, writer},
};
use anyhow::Context;
use bus::{append, queue::Reader};
use config::{Config, Listen};
use model::Target;
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

/// What was checked gets at least so long to reach the queue and the store, also when checks took all of the grace.
const FLUSH: Duration = Duration::from_secs(2);
/// How often a terminal gets a summary.
const SUMMARY: Duration = Duration::from_secs(10);

pub fn run(shared: &Shared, args: &RunArgs) -> Result<ExitCode, Exit> {
    let source = Source::of(shared);
    let read_at = SystemTime::now();
    let config = Arc::new(source.load().map_err(Exit::usage)?);
    if config.kafka.is_some() {
        return Err(Exit::usage(
            "kafka: `run` does not send its results over Kafka yet in this version; take the section out",
        ));
    }
    let listen = match &args.listen {
        Some(text) => text.parse().map_err(|e| Exit::usage(format!("--listen: {text:?} {e}")))?,
        None => config.web.listen.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(&config))
        .enable_all()
        .build()
        .context("start the runtime")?;
    // On a worker, beside the checks that it starts: from this thread each of them would be woken across threads.
    let given = Given { source, config, read_at, listen, migrate: !args.no_migrate };
    let ended = runtime.spawn(pipeline(given));
    runtime.block_on(ended).context("run the pipeline")??;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// How many threads the checks get: few busy ones rather than many idle ones, which wake one another for every check and
/// find nothing (docs/performance.md has the figures). A quarter of a core's time for each, by what a check costs.
fn workers(config: &Config) -> usize {
    const CHECK_US: f64 = 130.0;
    const HTTPS_CHECK_US: f64 = 400.0;
    let cost = |t: &Target| {
        let us = if t.url.scheme() == "https" { HTTPS_CHECK_US } else { CHECK_US };
        us * 1000.0 / f64::from(t.interval_ms)
    };
    let us_per_second: f64 =
        config.targets.iter().filter(|t| t.is_watched_from(&config.location)).map(|t| cost(t)).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ((us_per_second / 250_000.0).ceil() as usize).clamp(1, cores)
}

/// What the pipeline is given.
struct Given {
    source: Source,
    config: Arc<Config>,
    /// The moment before it was read.
    read_at: SystemTime,
    listen: Listen,
    migrate: bool,
}

async fn pipeline(given: Given) -> Result<(), Exit> {
    let Given { source, config, read_at, listen, migrate } = given;
    let stop = stop::on_signal()?;
    let changes = Changes::of(&config, read_at).context("listen to SIGHUP")?;
    let listener = bind(&listen).await?;
    let admin = Admin { ready: Ready::default(), metrics: Arc::new(Metrics::new()) };
    let closing = CancellationToken::new();
    let served = tokio::spawn(admin::serve(listener, admin.clone(), closing.clone()));
    let Some(queue) = opening::queue(&config, &admin.ready, &stop).await? else { return Ok(()) };
    admin.metrics.watch_queue(queue.gauge.clone());
    let store = opening::store(&config, &admin.ready, migrate, &stop).await?;

    let (reloads, in_force) = watch::channel(Arc::clone(&config));
    let reloading = tokio::spawn(reload::reload(source, changes, reloads, Arc::clone(&admin.metrics)));
    let (entrance, appender) = append::appender(queue.tail, append::Limits::default());
    let ends = Ends::default();
    let appending = tokio::spawn(appender.run(ends.give_up.clone()));
    let mut writing = tokio::spawn(write(store, queue.reader, admin.clone(), in_force.clone(), ends.clone()));

    let watch = Arc::new(Watch::default());
    let summing = tokio::spawn(summaries(Arc::clone(&watch), Arc::clone(&admin.metrics)));
    let metrics = Arc::clone(&admin.metrics);
    tracing::info!("{} targets from {}; health and metrics on {listen}", config.targets.len(), config.location);
    let checks = Checker { config, in_force: in_force.clone(), queue: entrance, watch, metrics };
    let ended = tokio::select! {
        () = checker(checks, stop.clone()) => Ok(writing),
        ended = &mut writing => Err(too_early(ended)),
    };
    reloading.abort();
    summing.abort();
    let grace = in_force.borrow().shutdown_grace;
    let ended = match ended {
        Ok(writing) => drain(grace, &stop, &ends, appending, writing).await,
        Err(exit) => {
            stop.ask();
            drain(grace, &stop, &ends, appending, tokio::spawn(async { Ok(()) })).await.and(Err(exit))
        }
    };
    closing.cancel();
    // A scraper that keeps its connection open does not hold the end.
    let _ = tokio::time::timeout(Duration::from_secs(1), served).await;
    ended
}

/// How the last stages are told to end.
#[derive(Clone, Debug, Default)]
struct Ends {
    /// Everything that there will be is in the queue.
    no_more: CancellationToken,
    /// What is not done by now waits for the next start.
    give_up: CancellationToken,
}

/// The writer, as soon as there is a store for it.
async fn write(store: Opening, queue: Reader, admin: Admin, in_force: InForce, ends: Ends) -> Result<(), Exit> {
    let Some(store) = store.await? else {
        // The stop came first. To end before everybody else would look like a fault.
        ends.no_more.cancelled().await;
        queue.close().await;
        return Ok(());
    };
    let Admin { ready, metrics } = admin;
    writer(Writer { queue, store, ready, metrics, in_force }, ends.no_more, ends.give_up).await;
    Ok(())
}

/// No check will follow: what is in memory goes to the queue, what is in the queue to the store. What does not get there in
/// time waits in the queue for the next start.
async fn drain(
    grace: Duration,
    stop: &Stop,
    ends: &Ends,
    appending: JoinHandle<usize>,
    writing: JoinHandle<Result<(), Exit>>,
) -> Result<(), Exit> {
    let stages = async {
        let appended = appending.await;
        ends.no_more.cancel();
        (appended, writing.await)
    };
    tokio::pin!(stages);
    let too_late = async {
        tokio::select! {
            _ = async { tokio::join!(stop.given_up(grace), sleep(FLUSH)) } => {}
            () = stop.at_once.cancelled() => {}
        }
    };
    let (appended, written) = tokio::select! {
        done = &mut stages => done,
        () = too_late => {
            ends.give_up.cancel();
            stages.await
        }
    };
    appended.map_err(|e| crashed(&e))?;
    written.map_err(|e| crashed(&e))?
}

/// The writer ended while checks went on: the store can't be opened, or the stage has a mistake.
fn too_early(ended: Result<Result<(), Exit>, JoinError>) -> Exit {
    match ended {
        Ok(Err(exit)) => exit,
        Ok(Ok(())) => Exit::failure("lapwing: the writer ended before it was asked to; this is a mistake in lapwing"),
        Err(e) => crashed(&e),
    }
}

fn crashed(error: &JoinError) -> Exit {
    Exit::failure(format!("lapwing: a stage crashed: {error}; this is a mistake in lapwing"))
}

/// Where machines ask for health and metrics; bound before the first check, so that a port that is taken is known at once.
async fn bind(listen: &Listen) -> Result<TcpListener, Exit> {
    let addresses: Vec<(String, u16)> = match listen.host.as_deref() {
        Some(host) => vec![(host.to_owned(), listen.port)],
        None => ["::", "0.0.0.0"].map(|h| (h.to_owned(), listen.port)).into(),
    };
    let mut last = None;
    for address in addresses {
        match TcpListener::bind(&address).await {
            Ok(listener) => return Ok(listener),
            Err(e) => last = Some(e),
        }
    }
    let why = last.map_or_else(String::new, |e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            "another program, or another Lapwing, listens there; choose another address with --listen or web.listen"
                .into()
        }
        _ => e.to_string(),
    });
    Err(Exit::failure(format!("lapwing: can't listen on {listen}: {why}")))
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
