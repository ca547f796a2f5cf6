//! Where the configuration comes from, at the start and again when it changes.

use crate::cli::Shared;
use config::{Config, Environment};
use http::HeaderValue;
use model::target::TlsSettings;
use probe::Prober;
use std::{
    collections::HashSet,
    fmt::Display,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

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
    pub fn load(&self) -> Result<Config, String> {
        let config = config::load(&self.path, &Environment::of_process()).map_err(|e| e.to_string())?;
        prepare(&config).map_err(|e| format!("{}: {e}", self.path.display()))?;
        Ok(config)
    }
}

/// Builds every TLS setting once, so that a key that does not fit its certificate is a mistake now and not at night.
fn prepare(config: &Config) -> Result<(), impl Display> {
    let prober = prober_of(config);
    let mut seen: HashSet<*const TlsSettings> = HashSet::new();
    for target in &config.targets {
        if seen.insert(Arc::as_ptr(&target.request.tls)) {
            prober.prepare(target).map_err(|e| format!("target {}: {e}", target.id))?;
        }
    }
    Ok::<(), String>(())
}

pub fn prober_of(config: &Config) -> Arc<Prober> {
    let agent = config.probe.user_agent.parse().expect("a user agent is a header value: the configuration was checked");
    Arc::new(Prober::new(config.guard.clone(), agent))
}

pub fn default_user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("lapwing/", env!("CARGO_PKG_VERSION")))
}

/// How often the files are looked at, and how long they must stand still before they are read: whoever writes one may not be
/// done with it.
const LOOK: Duration = Duration::from_millis(250);
const STILL: Duration = Duration::from_millis(500);

/// Tells when the configuration is to be read again: at SIGHUP, or when a file that it was made of has changed.
#[derive(Debug)]
pub struct Changes {
    hangup: Signal,
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
}

/// Size and time of a file, through symbolic links; `None`: it is not there.
type Stamp = Option<(u64, SystemTime)>;

impl Changes {
    /// # Errors
    /// When the process may not listen to SIGHUP.
    pub fn of(config: &Config) -> std::io::Result<Self> {
        let files = config.files.clone();
        Ok(Self { hangup: signal(SignalKind::hangup())?, seen: stamps(&files), files })
    }

    /// What is to be watched from now on. What changed since it was read is a change still.
    pub fn watch(&mut self, config: &Config) {
        for file in &config.files {
            if !self.files.contains(file) {
                self.seen.push(stamp(file));
                self.files.push(file.clone());
            }
        }
        let kept: Vec<bool> = self.files.iter().map(|f| config.files.contains(f)).collect();
        let mut keep = kept.iter();
        self.files.retain(|_| *keep.next().unwrap_or(&false));
        let mut keep = kept.iter();
        self.seen.retain(|_| *keep.next().unwrap_or(&false));
    }

    /// Ends when there is something to read again.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    self.seen = stamps(&self.files);
                    return;
                }
                () = sleep(LOOK) => {}
            }
            if stamps(&self.files) != self.seen {
                self.wait_until_still().await;
                return;
            }
        }
    }

    async fn wait_until_still(&mut self) {
        loop {
            let now = stamps(&self.files);
            sleep(STILL).await;
            if stamps(&self.files) == now {
                self.seen = now;
                return;
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(stamp).collect()
}

fn stamp(file: &PathBuf) -> Stamp {
    std::fs::metadata(file).ok().and_then(|m| Some((m.len(), m.modified().ok()?)))
}
