//! Log lines on stderr: fields first, then a fixed sentence.

use crate::cli::{LogFormat, Shared};
use std::io::{self, IsTerminal};
use tracing_subscriber::{EnvFilter, fmt};

/// Our own crates; of all others only warnings are worth a line.
const OURS: [&str; 7] = ["lapwing", "bus", "config", "model", "probe", "sqlite", "store"];

pub fn start(shared: &Shared) {
    let level = match i16::from(shared.verbose) - i16::from(shared.quiet) {
        ..=-2 => "error",
        -1 => "warn",
        0 => "info",
        1 => "debug",
        2.. => "trace",
    };
    let others = if shared.quiet > 1 { "error" } else { "warn" };
    let default = OURS.map(|c| format!("{c}={level}")).join(",");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{others},{default}")));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    match shared.log_format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
