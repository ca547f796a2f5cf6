//! Where the configuration comes from, at the start and again when it changes.

use crate::{changes::Changes, cli::Shared, descriptors, metrics::Metrics};
use config::{Config, Environment, Mistakes};
use http::HeaderValue;
use model::target::TlsSettings;
use probe::Prober;
use std::{
    collections::HashSet,
    fmt::{self, Display},
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::watch;

/// The file that was named, or the one that is looked for.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    was_named: bool,
}

impl Source {
    pub fn of(shared: &Shared) -> Self {
        let path = shared.config.clone().unwrap_or_else(|| "lapwing.yaml".into());
        Self { path, was_named: shared.config.is_some() }
    }

    /// Whether there is something to read: a file that was named must be.
    pub fn is_there(&self) -> bool {
        self.was_named || self.path.exists()
    }

    /// Reads and checks it, TLS settings included.
    ///
    /// # Errors
    /// Every mistake, a line each.
    pub fn load(&self) -> Result<Config, Broken> {
        let config = config::load(&self.path, &Environment::of_process())?;
        match prepare(&config) {
            Ok(()) => Ok(config),
            Err(e) => Err(self.broken(&e, config)),
        }
    }

    /// As [`Source::load`], with no more checks in flight than this process has descriptors for.
    ///
    /// # Errors
    /// Also that somebody wrote more.
    pub fn load_to_run(&self) -> Result<Config, Broken> {
        let mut config = self.load()?;
        match descriptors::fit(&mut config) {
            Ok(()) => Ok(config),
            Err(e) => Err(self.broken(&e, config)),
        }
    }

    fn broken(&self, why: &str, config: Config) -> Broken {
        Broken { mistakes: format!("{}: {why}", self.path.display()), files: config.files }
    }
}

/// Why a configuration can't be in force.
#[derive(Debug)]
pub struct Broken {
    mistakes: String,
    /// A change of one may mend it.
    files: Vec<PathBuf>,
}

impl Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistakes)
    }
}

impl From<Mistakes> for Broken {
    fn from(mistakes: Mistakes) -> Self {
        Self { mistakes: mistakes.to_string(), files: mistakes.files }
    }
}

/// Builds every TLS setting once, so that a key that does not fit its certificate is a mistake now and not at night.
fn prepare(config: &Config) -> Result<(), String> {
    let prober = prober_of(config);
    let mut seen: HashSet<*const TlsSettings> = HashSet::new();
    for target in &config.targets {
        if seen.insert(Arc::as_ptr(&target.request.tls)) {
            prober.prepare(target).map_err(|e| format!("target {}: {e}", target.id))?;
        }
    }
    Ok(())
}

pub fn prober_of(config: &Config) -> Arc<Prober> {
    let agent = config.probe.user_agent.parse().expect("a user agent is a header value: the configuration was checked");
    Arc::new(Prober::new(probe::Settings {
        guard: config.guard.clone(),
        user_agent: agent,
        resolvers: config.probe.resolvers.clone(),
        online_check: config.probe.online_check.clone(),
    }))
}

pub fn default_user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("lapwing/", env!("CARGO_PKG_VERSION")))
}

/// The configuration that is in force, and word of a new one.
pub type InForce = watch::Receiver<Arc<Config>>;

/// Reads the configuration again when it changes, for as long as somebody wants to know. One that is broken leaves the old one
/// in force.
pub async fn reload(source: Source, mut changes: Changes, in_force: watch::Sender<Arc<Config>>, metrics: Arc<Metrics>) {
    loop {
        tokio::select! {
            () = changes.next() => {}
            () = in_force.closed() => return,
        }
        let from = source.clone();
        let loaded = tokio::task::spawn_blocking(move || from.load_to_run()).await;
        metrics.reloaded(matches!(loaded, Ok(Ok(_))));
        match loaded {
            Ok(Ok(new)) => {
                changes.watch(&new);
                take_over(new, &in_force);
            }
            Ok(Err(broken)) => {
                tracing::error!("the configuration has mistakes; the old one stays in force\n{broken}");
                changes.watch_also(broken.files);
            }
            Err(e) => tracing::error!(error = %e, "reading the configuration crashed; the old one stays in force"),
        }
    }
}

fn take_over(mut new: Config, in_force: &watch::Sender<Arc<Config>>) {
    let difference = config::difference(&in_force.borrow(), &new);
    if difference.is_empty() {
        tracing::info!("the configuration was read again; nothing has changed");
        return;
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
    in_force.send_replace(Arc::new(new));
}
