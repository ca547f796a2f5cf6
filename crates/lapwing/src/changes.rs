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

/// The times of files are those of a clock that may tick no more than a hundred times a second.
const TICK: Duration = Duration::from_millis(10);

/// Tells when the configuration is to be read again: at SIGHUP, or when a file that it was made of has changed.
#[derive(Debug)]
pub struct Changes {
    hangup: Signal,
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    /// The moment before the files were read.
    read_at: SystemTime,
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
        let mut changes = Self { hangup, files: Vec::new(), seen: Vec::new(), read_at };
        changes.watch(config);
        Ok(changes)
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
                self.seen.push(self.as_read(&file));
                self.files.push(file);
            }
        }
    }

    /// What a file was when it was read; of one that has changed since, nobody knows.
    fn as_read(&self, file: &PathBuf) -> Stamp {
        let until = self.read_at.checked_sub(TICK).and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let until = until.map_or(0, |d| d.as_nanos() as i128); // until the year 5 * 10^21
        stamp(file).filter(|(.., time)| *time <= until)
    }

    /// Ends when there is something to read again.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => break,
                () = sleep(LOOK) => {}
            }
            if stamps(&self.files) != self.seen {
                self.wait_until_still().await;
                break;
            }
        }
        self.read_at = SystemTime::now();
        self.seen = stamps(&self.files);
    }

    async fn wait_until_still(&self) {
        let mut before = stamps(&self.files);
        loop {
            sleep(STILL).await;
            let now = stamps(&self.files);
            if now == before {
                return;
            }
            before = now;
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
