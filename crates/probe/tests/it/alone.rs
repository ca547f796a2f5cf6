//! Tests that need a process of their own: memory, descriptors and the environment are one for all tests of a process.

use std::process::Command;

/// An ignored test of this program, to be run alone.
#[derive(Debug)]
pub struct Alone {
    command: Command,
}

impl Alone {
    /// With at most so many open files.
    pub fn new(test: &str, files: u32) -> Self {
        let script = format!(r#"ulimit -n {files} && exec "$0" --exact {test} --ignored --test-threads=1"#);
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(std::env::current_exe().unwrap());
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        Self { command }
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    #[track_caller]
    pub fn passes(mut self) {
        let output = self.command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
