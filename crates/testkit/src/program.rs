//! A built program in a folder of its own: run it to its end, or start it and look at it while it works (see `running.rs`).

use crate::running::Running;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Long enough for a slow machine under load; a test that waits for it has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// The program and its folder, which is its working directory and its home, and is removed when nothing needs it any more.
///
/// Of the environment it gets `PATH` and what [`Program::env`] adds: what a developer has set must not decide a test.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    folder: Arc<TempDir>,
    environment: Vec<(OsString, OsString)>,
    open_files: Option<u32>,
}

impl Program {
    /// `Program::new(env!("CARGO_BIN_EXE_lapwing"))` in the tests of its crate.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let folder = TempDir::with_prefix("lapwing-test-").expect("a temporary folder can be made");
        Self { path: path.into(), folder: Arc::new(folder), environment: Vec::new(), open_files: None }
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Limits the descriptors that it may have open (`ulimit -n`).
    pub fn open_files(self, most: u32) -> Self {
        Self { open_files: Some(most), ..self }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder, with the folders that its name needs.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        let parent = path.parent().expect("it lies in the folder");
        std::fs::create_dir_all(parent).expect("the test's folder can be written");
        std::fs::write(&path, content).expect("the test's folder can be written");
        path
    }

    /// The text of a file in the folder.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        match std::fs::read_to_string(self.folder().join(name)) {
            Ok(text) => text,
            Err(error) => crate::fail::fail(&format!("{name} can't be read: {error}")),
        }
    }

    /// Runs to the end; fails the test, with both outputs, when that takes more than 30 s.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.spawn(arguments).wait(LIMIT)
    }

    /// Starts it and collects its outputs. Killed when dropped.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        let mut command = match self.open_files {
            None => Command::new(&self.path),
            Some(most) => {
                // A limit of its own needs a step between fork and exec; a shell is that step without unsafe code.
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$@\""), "sh"]).arg(&self.path);
                shell
            }
        };
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            .env("HOME", self.folder())
            .envs(self.environment.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null());
        Running::start(command, Arc::clone(&self.folder))
    }
}

/// What a program left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; of a program that a signal ended, the signal's number below zero.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Each line of stdout as JSON; fails the test where one is not.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => crate::fail::fail(&format!("{error} in the line {line:?} of\n{self}")),
        };
        self.stdout.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
