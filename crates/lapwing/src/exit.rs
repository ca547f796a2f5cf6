//! How a run ends, for people and for scripts: 0 fine, 1 a check saw trouble, 2 wrong usage or configuration, 3 a failure.

use std::{
    fmt::{self, Display},
    io::{self, Write},
    process::ExitCode,
};

/// An end that is not a good one.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    message: String,
}

pub const SAW_TROUBLE: u8 = 1;
const USAGE: u8 = 2;
const FAILURE: u8 = 3;

impl Exit {
    /// Wrong usage or configuration: nothing was started.
    pub fn usage(message: impl Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    /// Something went wrong at run time.
    pub fn failure(message: impl Display) -> Self {
        Self { code: FAILURE, message: message.to_string() }
    }

    /// What failed says itself what it is.
    pub fn failed(error: impl Display) -> Self {
        Self::failure(format!("lapwing: {error}"))
    }

    /// Tells it on stderr, and is the code to end with.
    pub fn tell(self) -> ExitCode {
        tell(&without_secrets_of_arguments(&self.message));
        ExitCode::from(self.code)
    }
}

/// What `clap` has to say instead of a command line: help, a version, or what is wrong with the arguments.
pub fn instead(e: &clap::Error) -> ExitCode {
    let plain = e.to_string();
    let hidden = without_secrets_of_arguments(&plain);
    if hidden == plain {
        e.exit(); // in colour, where that is wanted
    }
    tell(hidden.trim_end());
    ExitCode::from(USAGE)
}

/// A URL that stands where another word should be is told without user info and query.
fn without_secrets_of_arguments(text: &str) -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    arguments.fold(text.to_owned(), |text, argument| without_secrets_of(&argument, text))
}

fn without_secrets_of(argument: &str, text: String) -> String {
    let masked = model::text::masked(argument);
    let behind_scheme = |url: &str| url.split_once("://").map(|(_, rest)| rest.to_owned());
    match (behind_scheme(argument), behind_scheme(&masked)) {
        // Some messages have it in quotes, and what needs it escaped.
        (Some(open), Some(hidden)) if open != hidden => {
            text.replace(&open, &hidden).replace(format!("{open:?}").trim_matches('"'), &hidden)
        }
        _ => text,
    }
}

impl Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Exit {
    fn from(e: anyhow::Error) -> Self {
        Self::failure(format!("lapwing: {e:#}"))
    }
}

/// A line for people. When stderr is gone there is nobody to tell.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Text for stdout. A reader that has gone away (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Exit::failure(format!("lapwing: can't write to stdout: {e}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
