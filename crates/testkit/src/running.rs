//! A program at work: its outputs as they come, signals to it, its end.

use crate::fail::fail;
use crate::process::send;
use crate::program::Output;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub use rustix::process::Signal;

/// A program that was started. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    seen: Arc<Seen>,
    readers: Vec<JoinHandle<()>>,
    /// Keeps the folder for as long as the program works in it.
    _folder: Arc<TempDir>,
}

/// What the readers have read so far.
#[derive(Debug, Default)]
struct Seen {
    outputs: Mutex<Outputs>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Outputs {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ended: usize,
}

impl Running {
    pub(crate) fn start(mut command: Command, folder: Arc<TempDir>) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn();
        let mut child = started.unwrap_or_else(|error| fail(&format!("{command:?} can't be started: {error}")));
        let seen = Arc::new(Seen::default());
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let readers = vec![
            collect(stdout, Arc::clone(&seen), |outputs| &mut outputs.stdout),
            collect(stderr, Arc::clone(&seen), |outputs| &mut outputs.stderr),
        ];
        Self { child, seen, readers, _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a whole line, of either output, that satisfies the condition. Lines that are already there count.
    #[track_caller]
    pub fn wait_for_line(&self, limit: Duration, condition: impl Fn(&str) -> bool) -> String {
        self.wait_for_lines(1, limit, condition).remove(0)
    }

    /// Waits for so many of them; those of stdout come first.
    #[track_caller]
    pub fn wait_for_lines(&self, count: usize, limit: Duration, condition: impl Fn(&str) -> bool) -> Vec<String> {
        let started = Instant::now();
        let mut outputs = self.seen.lock();
        loop {
            let lines: Vec<_> = outputs.lines().filter(|l| condition(l)).collect();
            if lines.len() >= count {
                return lines;
            }
            let left = limit.saturating_sub(started.elapsed());
            if outputs.ended == 2 || left.is_zero() {
                let why = if left.is_zero() { format!("not within {limit:?}") } else { "the program ended".to_owned() };
                let text = format!("waited for {count} lines, saw {}: {why}\n{outputs}", lines.len());
                drop(outputs);
                fail(&text);
            }
            outputs = self.seen.changed.wait_timeout(outputs, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All of stdout so far.
    pub fn stdout(&self) -> String {
        text(&self.seen.lock().stdout)
    }

    /// All of stderr so far.
    pub fn stderr(&self) -> String {
        text(&self.seen.lock().stderr)
    }

    /// Sends a signal; to a program that has ended already, none. After SIGSTOP it stands when this returns.
    pub fn signal(&mut self, signal: Signal) {
        // Looking first keeps the signal from whoever may have the number by now.
        if self.lives() {
            // It may end in between, and then its number is still reserved for it.
            send(self.child.id(), signal);
        }
    }

    /// `kill -9`, and what it had said until then.
    pub fn kill9(mut self) -> Output {
        let status = self.end();
        self.output(status)
    }

    /// Waits for the end; fails the test, with both outputs, when it does not come within the limit.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Output {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                self.join();
                return self.output(status);
            }
            if started.elapsed() > limit {
                let status = self.end();
                let output = self.output(status);
                fail(&format!("the program did not end within {limit:?} and was killed\n{output}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether it has not ended yet.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// The most memory that it held at once so far, in KiB (`VmHWM`); 0 where the system does not tell.
    pub fn peak_memory_kib(&self) -> u64 {
        self.proc("status", "VmHWM:")
    }

    /// Bytes that it caused to be written to disk so far; 0 where the system does not tell.
    pub fn bytes_written(&self) -> u64 {
        self.proc("io", "write_bytes:")
    }

    fn proc(&self, file: &str, key: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap_or_default();
        let value = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
        value.split_whitespace().next().and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    fn end(&mut self) -> ExitStatus {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let status = self.child.wait().expect("a child can be waited for");
        self.join();
        status
    }

    /// After this everything that it said has been read.
    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader only reads");
        }
    }

    fn output(&self, status: ExitStatus) -> Output {
        let code = status.code().or(status.signal().map(|s| -s)).expect("it ended by itself or by a signal");
        Output { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.readers.is_empty() {
            self.end();
        }
    }
}

fn collect(
    mut from: impl Read + Send + 'static,
    seen: Arc<Seen>,
    into: impl Fn(&mut Outputs) -> &mut Vec<u8> + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut room = [0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut room) {
            into(&mut seen.lock()).extend_from_slice(&room[..n]);
            seen.changed.notify_all();
        }
        seen.lock().ended += 1;
        seen.changed.notify_all();
    })
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Outputs> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outputs {
    /// Whole lines only: half of one may yet become another.
    fn lines(&self) -> impl Iterator<Item = String> {
        [&self.stdout, &self.stderr].into_iter().flat_map(|bytes| {
            let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
            text(&bytes[..whole]).lines().map(str::to_owned).collect::<Vec<_>>()
        })
    }
}

impl std::fmt::Display for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- stdout\n{}\n--- stderr\n{}", text(&self.stdout), text(&self.stderr))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
