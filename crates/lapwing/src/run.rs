//! `lapwing run`: the whole pipeline in one process. Probe -> queue -> write, each a stage with its ends and its stop.

use crate::{
    admin::{self, Admin},
    checker::{Checker, checker},
    cli::{RunArgs, Shared},
    exit::{self, Exit},
    metrics::Metrics,
    ready::Ready,
    reload::{Changes, Source},
    stop::{self, Stop},
    watch::Watch,
    writer::{Writer, writer},
};
use anyhow::Context;
use bus::{append, queue::Queue};
use config::{Config, Listen, StoreSetting};
use model::Target;
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use store::Store;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::interval};
use tokio_util::sync::CancellationToken;

/// How often a terminal gets a summary.
const SUMMARY: Duration = Duration::from_secs(10);

pub fn run(shared: &Shared, args: &RunArgs) -> Result<ExitCode, Exit> {
    let source = Source::of(shared);
    let config = Arc::new(source.load().map_err(Exit::usage)?);
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
    let ended = runtime.spawn(pipeline(source, config, listen, !args.no_migrate));
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
    let us_per_second: f64 = config.targets.iter().filter(|t| t.is_watched_from(&config.location)).map(|t| cost(t)).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ((us_per_second / 250_000.0).ceil() as usize).clamp(1, cores)
}

async fn pipeline(source: Source, config: Arc<Config>, listen: Listen, migrate: bool) -> Result<(), Exit> {
    let stop = stop::on_signal()?;
    let listener = bind(&listen).await?;
    let admin = Admin { ready: Ready::default(), metrics: Arc::new(Metrics::new()) };
    let closing = CancellationToken::new();
    let served = tokio::spawn(admin::serve(listener, admin.clone(), closing.clone()));
    let Some((queue, store)) = open(&config, &admin.ready, migrate, &stop).await? else { return Ok(()) };
    admin.metrics.watch_queue(queue.gauge.clone());

    let (entrance, appender) = append::appender(queue.tail, append::Limits::default());
    let give_up = CancellationToken::new();
    let appending = tokio::spawn(appender.run(give_up.clone()));
    let no_more = CancellationToken::new();
    let writes = Writer {
        queue: queue.reader,
        store,
        ready: admin.ready.clone(),
        metrics: Arc::clone(&admin.metrics),
        keep_checks: config.retention.checks,
    };
    let mut writing = tokio::spawn(writer(writes, no_more.clone(), give_up.clone()));

    let (reloads, reloaded) = mpsc::channel(1);
    let reloading = tokio::spawn(reload(source, Arc::clone(&config), reloads, Arc::clone(&admin.metrics)));
    let watch = Arc::new(Watch::default());
    let summing = tokio::spawn(summaries(Arc::clone(&watch), Arc::clone(&admin.metrics)));
    let metrics = Arc::clone(&admin.metrics);
    let checks = Checker { config: Arc::clone(&config), reloads: reloaded, queue: entrance, watch, metrics };
    tracing::info!("{} targets from {}; health and metrics on {listen}", config.targets.len(), config.location);
    let ended = tokio::select! {
        () = checker(checks, stop.clone()) => Ok(()),
        ended = &mut writing => Err(too_early("writer", ended)),
    };
    reloading.abort();
    summing.abort();
    drain(&config, &stop, appending, &no_more, writing, &give_up).await;
    closing.cancel();
    // A scraper that keeps its connection open does not hold the end.
    let _ = tokio::time::timeout(Duration::from_secs(1), served).await;
    ended
}

/// No check will follow: what is in memory goes to the queue, what is in the queue to the store. What does not get there in
/// time waits in the queue for the next start.
async fn drain(
    config: &Config,
    stop: &Stop,
    appending: JoinHandle<usize>,
    no_more: &CancellationToken,
    writing: JoinHandle<()>,
    give_up: &CancellationToken,
) {
    let stages = async {
        let appended = appending.await;
        no_more.cancel();
        (appended, writing.await)
    };
    tokio::pin!(stages);
    let done = tokio::select! {
        done = &mut stages => done,
        () = stop.given_up(config.shutdown_grace) => {
            give_up.cancel();
            stages.await
        }
    };
    if let (Err(e), _) | (_, Err(e)) = done
        && e.is_panic()
    {
        tracing::error!(error = %e, "a stage crashed while it ended; this is a mistake in lapwing");
    }
}

fn too_early(stage: &str, ended: Result<(), tokio::task::JoinError>) -> Exit {
    let why = ended.err().map(|e| format!(": {e}")).unwrap_or_default();
    Exit::failure(format!("lapwing: the {stage} ended before it was asked to{why}; this is a mistake in lapwing"))
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

/// Opens the queue and the store; waits for what may pass. `None`: the stop came first.
async fn open(config: &Config, ready: &Ready, migrate: bool, stop: &Stop) -> Result<Option<(Queue, Store)>, Exit> {
    let StoreSetting::Sqlite(path) = &config.store else {
        return Err(Exit::usage("store: only sqlite: is supported yet by this version of Lapwing"));
    };
    let folder = &config.data_dir;
    std::fs::create_dir_all(folder)
        .map_err(|e| Exit::failure(format!("lapwing: data_dir {} can't be made: {e}", folder.display())))?;
    ready.lacks("queue", "it is being opened".into());
    ready.lacks("store", "it is being opened".into());
    let options = bus::queue::Options::new(config.queue.max_size);
    let Some(queue) = opened(Queue::open(&config.queue.path, options, &stop.asked).await)? else { return Ok(None) };
    ready.has("queue");
    let settings = store::Settings { migrate, ..store::Settings::default() };
    let Some(store) = opened(Store::open_sqlite(path, settings, &stop.asked).await)? else { return Ok(None) };
    ready.has("store");
    Ok(Some((queue, store)))
}

fn opened<T>(result: Result<T, bus::OpenError>) -> Result<Option<T>, Exit> {
    match result {
        Ok(t) => Ok(Some(t)),
        Err(bus::OpenError::Stopped { .. }) => Ok(None),
        Err(e) => Err(Exit::failure(format!("lapwing: {e}"))),
    }
}

/// Reads the configuration again when it changes. One that is broken leaves the old one in force.
async fn reload(source: Source, mut current: Arc<Config>, to: mpsc::Sender<Arc<Config>>, metrics: Arc<Metrics>) {
    let mut changes = match Changes::of(&current) {
        Ok(changes) => changes,
        Err(e) => return tracing::error!(error = %e, "can't listen to SIGHUP; the configuration is not read again"),
    };
    loop {
        changes.next().await;
        let from = source.clone();
        let loaded = tokio::task::spawn_blocking(move || from.load()).await;
        let mut new = match loaded {
            Ok(Ok(new)) => new,
            Ok(Err(mistakes)) => {
                metrics.reloaded(false);
                tracing::error!("the configuration has mistakes; the old one stays in force\n{mistakes}");
                continue;
            }
            Err(e) => {
                metrics.reloaded(false);
                tracing::error!(error = %e, "reading the configuration crashed; the old one stays in force");
                continue;
            }
        };
        metrics.reloaded(true);
        changes.watch(&new);
        let difference = config::difference(&current, &new);
        if difference.is_empty() {
            tracing::info!("the configuration was read again; nothing has changed");
            continue;
        }
        if !difference.restart.is_empty() {
            tracing::warn!(keys = difference.restart.join(" "), "these keys have changed and need a restart");
        }
        tracing::info!(
            added = difference.added.len(),
            changed = difference.changed.len(),
            removed = difference.removed.len(),
            settings = difference.settings.join(" "),
            "the configuration was read again and is in force"
        );
        new.targets = difference.targets;
        current = Arc::new(new);
        if to.send(Arc::clone(&current)).await.is_err() {
            return;
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
