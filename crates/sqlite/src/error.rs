//! What can be wrong with an SQLite file, sorted by what has to be done about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a file can't be used at all: a person must act. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{} is held by another Lapwing{}: stop that one, or give this one a file of its own",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Held { path: PathBuf, pid: Option<u32> },
    #[error(
        "{} is damaged ({detail}): nothing in it was changed; move it away to begin with an empty one, or restore a copy",
        path.display()
    )]
    Damaged { path: PathBuf, detail: String },
    #[error(
        "{} was written by a newer Lapwing (its version is {found}, this program knows up to {known}): install the newer one",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{} is a database, but not a {kind} of Lapwing's: choose another path", path.display())]
    NotOurs { path: PathBuf, kind: &'static str },
    #[error(
        "{} needs migrating (its version is {found}, this program's {known}): start without --no-migrate",
        path.display()
    )]
    NeedsMigration { path: PathBuf, found: i64, known: i64 },
    #[error("{} can't be used: {why}; check that its folder exists and that the file and the folder may be written", path.display())]
    Unusable { path: PathBuf, why: String },
    /// The stop came while the file was waited for.
    #[error("stopped while waiting for {}", path.display())]
    Stopped { path: PathBuf },
}

impl OpenError {
    /// What a statement that failed says about the file.
    pub fn of(path: &Path, error: &sqlx::Error) -> Self {
        let (path, said) = (path.to_owned(), one_line(error));
        match Cause::of(error) {
            Cause::Damaged => Self::Damaged { path, detail: said },
            Cause::Locked | Cause::Full | Cause::Io | Cause::Denied | Cause::Record | Cause::Other => {
                Self::Unusable { path, why: said }
            }
        }
    }
}

/// A statement that failed, and in which file.
#[derive(Debug, thiserror::Error)]
#[error("can't {deed} {}: {}{}", path.display(), one_line(source), advice(Cause::of(source)))]
pub struct Error {
    deed: &'static str,
    path: PathBuf,
    source: sqlx::Error,
}

impl Error {
    /// `deed` is what was tried, in the imperative and up to the file's name: `append results to`.
    pub fn new(deed: &'static str, path: &Path, source: sqlx::Error) -> Self {
        Self { deed, path: path.to_owned(), source }
    }

    pub fn cause(&self) -> Cause {
        Cause::of(&self.source)
    }

    pub fn class(&self) -> Class {
        self.cause().class()
    }
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass: wait and try the same again, for ever.
    Transient,
    /// The database refuses these values, and would refuse them again: the record's fault.
    Record,
    /// It will not pass by itself: stop, and tell a person.
    Systemic,
}

/// What is behind an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another connection, of ours or of another program, holds a lock.
    Locked,
    Full,
    /// Reading or writing failed below SQLite.
    Io,
    /// Missing permission, a read-only file or file system.
    Denied,
    Damaged,
    /// A constraint, a value that is too large.
    Record,
    Other,
}

impl Cause {
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(e) => e.code().and_then(|code| code.parse().ok()).map_or(Self::Other, Self::of_code),
            sqlx::Error::Io(e) => match e.kind() {
                io::ErrorKind::PermissionDenied => Self::Denied,
                io::ErrorKind::StorageFull => Self::Full,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Other, // the path itself
                _ => Self::Io,
            },
            _ => Self::Other, // the variants are sqlx's, and more may come
        }
    }

    /// The primary result code is the lowest byte. (<https://www.sqlite.org/rescode.html>)
    fn of_code(code: i32) -> Self {
        match code & 0xff {
            5 | 6 | 15 => Self::Locked,        // BUSY, LOCKED, PROTOCOL (the locks of the WAL)
            13 => Self::Full,                  // FULL
            7 | 10 => Self::Io,                // NOMEM, IOERR
            3 | 8 | 14 | 23 => Self::Denied,   // PERM, READONLY, CANTOPEN, AUTH
            11 | 26 => Self::Damaged,          // CORRUPT, NOTADB
            18 | 19 | 20 | 25 => Self::Record, // TOOBIG, CONSTRAINT, MISMATCH, RANGE
            _ => Self::Other,
        }
    }

    pub fn class(self) -> Class {
        match self {
            Self::Locked | Self::Full | Self::Io | Self::Denied => Class::Transient,
            Self::Record => Class::Record,
            Self::Damaged | Self::Other => Class::Systemic,
        }
    }
}

/// What SQLite says, without sqlx's words around it.
pub(crate) fn one_line(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(e) => e.message().replace('\n', " "),
        other => other.to_string().replace('\n', " "),
    }
}

fn advice(cause: Cause) -> &'static str {
    match cause {
        Cause::Locked => " (another program holds it; it is tried again)",
        Cause::Full => " (make room on that disk; it is tried again)",
        Cause::Denied => " (allow writing to the file and its folder; it is tried again)",
        Cause::Damaged => " (the file is damaged: stop, move it away, and start again or restore a copy)",
        Cause::Io | Cause::Record | Cause::Other => "",
    }
}
