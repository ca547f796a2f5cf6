//! When the configuration is to be read again: at SIGHUP, or when a file that it was made of has changed.

use config::Config;
use std::{
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

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

/// Which file it is, its size and its time in nanoseconds, through symbolic links; `None`: it is not there.
type Stamp = Option<((u64, u64), u64, i128)>;

impl Changes {
    /// What was changed after `read_at`, the moment before the configuration was read, is a change still.
    ///
    /// # Errors
    /// When the process may not listen to SIGHUP.
    pub fn of(config: &Config, read_at: SystemTime) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let read_at = read_at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128); // until the year 5 * 10^21
        let files = config.files.clone();
        let seen = stamps(&files).into_iter().map(|s| s.filter(|(.., time)| *time <= read_at)).collect();
        Ok(Self { hangup, seen, files })
    }

    /// What is to be watched from now on. What changed since it was read is a change still.
    pub fn watch(&mut self, config: &Config) {
        self.watch_also(config.files.iter().cloned());
        let known = self.files.drain(..).zip(self.seen.drain(..));
        (self.files, self.seen) = known.filter(|(file, _)| config.files.contains(file)).unzip();
    }

    /// These as well, until the next configuration.
    pub fn watch_also(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        for file in files {
            if !self.files.contains(&file) {
                self.seen.push(stamp(&file));
                self.files.push(file);
            }
        }
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
    let m = std::fs::metadata(file).ok()?;
    let time = i128::from(m.mtime()) * 1_000_000_000 + i128::from(m.mtime_nsec());
    Some(((m.dev(), m.ino()), m.len(), time))
}
