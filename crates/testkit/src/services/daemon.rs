//! A server as a child process that can't outlive this one.
//!
//! Dropped, it is ended. When this process is killed, the kernel ends it: `setpriv --pdeathsig` asks for that. The kernel means the
//! *thread* that started the child, and a test's thread ends with its test, a runtime's when it idles; so one thread that lives as
//! long as the process starts them all.

use super::folder::User;
use super::trouble::ServiceError;
use crate::process::send;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// How to start a server.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) name: &'static str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) user: Option<&'a User>,
    /// What ends it when this process is gone.
    pub(crate) at_our_death: &'static str,
    /// Both outputs are appended.
    pub(crate) log: PathBuf,
}

impl Launch<'_> {
    pub(crate) fn start(self) -> Result<Daemon, ServiceError> {
        let deed = format!("start {} ({}) with setpriv", self.name, self.program.display());
        let opened = || -> io::Result<_> {
            let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
            let seen = log.metadata()?.len();
            Ok((log.try_clone()?, log, seen))
        };
        let (out, err, log_start) = opened().map_err(ServiceError::io(format!("open {:?}", self.log)))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", self.at_our_death]);
        command
            .args(self.user.iter().flat_map(|u| u.setpriv()))
            .arg("--")
            .arg(self.program)
            .args(self.arguments.iter());
        // A Ctrl-C at the terminal is for the test run, which then ends its servers in order.
        command.process_group(0).stdin(Stdio::null()).stdout(out).stderr(err);
        command.current_dir(self.log.parent().expect("a file is in a folder"));
        let child = spawn(command).map_err(ServiceError::io(deed))?;
        Ok(Daemon { name: self.name, child, log: self.log, log_start })
    }
}

/// Starts a program from the thread that never ends.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, incoming) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in incoming {
                // Whoever asked is waiting for it.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = channel();
    starter.send((command, answer)).expect("the starter lives as long as the process");
    answered.recv().expect("the starter answers every order")
}

/// A server that was started; `kill -9` when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where in the log this start begins.
    log_start: u64,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        // Looking first keeps the signal from whoever may have the number by now.
        if self.lives() {
            // It may end in between, and then its number is still reserved for it.
            send(self.child.id(), signal);
        }
    }

    /// Asks it to end; after the limit it is killed.
    pub(crate) async fn stop(&mut self, signal: Signal, limit: Duration) {
        self.ask(signal);
        let started = Instant::now();
        while self.lives() && started.elapsed() < limit {
            tokio::time::sleep(PAUSE).await;
        }
        self.kill9();
    }

    /// The same without a runtime.
    pub(crate) fn end(&mut self, signal: Signal, limit: Duration) {
        self.ask(signal);
        let started = Instant::now();
        while self.lives() && started.elapsed() < limit {
            std::thread::sleep(PAUSE);
        }
        self.kill9();
    }

    fn ask(&mut self, signal: Signal) {
        self.signal(signal);
        // One that is paused hears nothing.
        self.signal(Signal::CONT);
    }

    pub(crate) fn kill9(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it serves; an error when it ends instead, or takes longer.
    pub(crate) async fn ready(
        &mut self,
        limit: Duration,
        mut serves: impl AsyncFnMut(&Self) -> bool,
    ) -> Result<(), ServiceError> {
        let started = Instant::now();
        loop {
            if !self.lives() {
                let (name, log, said) = (self.name, self.log.clone(), self.said());
                let port_taken = said.contains("Address already in use");
                return Err(ServiceError::Ended { name, log, said: last_lines(&said, 20), port_taken });
            }
            if serves(self).await {
                return Ok(());
            }
            if started.elapsed() > limit {
                let (name, log) = (self.name, self.log.clone());
                return Err(ServiceError::Late { name, limit, log, said: last_lines(&self.said(), 20) });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What it has said since this start.
    pub(crate) fn said(&self) -> String {
        let mut bytes = Vec::new();
        let mut read = || -> io::Result<usize> {
            let mut log = File::open(&self.log)?;
            log.seek(SeekFrom::Start(self.log_start))?;
            log.read_to_end(&mut bytes)
        };
        match read() {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(cause) => format!("({:?} can't be read: {cause})", self.log),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The end of a text, indented.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let lines = &lines[lines.len().saturating_sub(count)..];
    lines.iter().map(|line| format!("  {line}\n")).collect()
}
