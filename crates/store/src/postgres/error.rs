//! What can be wrong with a PostgreSQL server, sorted by what has to be done about it: by SQLSTATE, never by text, which
//! speaks the server's language. No message holds a password.

use crate::{Cause, Class};
use std::{error::Error as _, io, sync::Arc};
use tokio_postgres::error::{DbError, SqlState};

/// Why a database can't be used at all: a person must act. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store URL can't be used: {why}")]
    Url { why: String },
    #[error(
        "{at} refuses the login: {why}; check user and password of the store URL, sslcert and sslkey if the server wants a \
         certificate, and pg_hba.conf of the server"
    )]
    Authentication { at: Arc<str>, why: String },
    #[error("{at} does not exist: {why}; create the database, or name another one in the store URL")]
    NoDatabase { at: Arc<str>, why: String },
    #[error("no TLS with {at}: {why}")]
    Tls { at: Arc<str>, why: String },
    #[error("{at} does not answer like PostgreSQL ({why}): check host and port of the store URL")]
    NotPostgres { at: Arc<str>, why: String },
    #[error("{at} is PostgreSQL {found}: Lapwing needs 14 or later")]
    TooOld { at: Arc<str>, found: String },
    #[error("{at} stores texts as {found}: create a database with encoding UTF8")]
    Encoding { at: Arc<str>, found: String },
    #[error(
        "{at} was written by a newer Lapwing (its version is {found}, this program knows up to {known}): install the newer one"
    )]
    Newer { at: Arc<str>, found: i32, known: i32 },
    #[error("{at} needs migrating (its version is {found}, this program's {known}): start without --no-migrate")]
    NeedsMigration { at: Arc<str>, found: i32, known: i32 },
    /// `why` says what to do, too.
    #[error("{at}: {why}")]
    Rights { at: Arc<str>, why: String },
    #[error("{at} can't be used: {why}")]
    Unusable { at: Arc<str>, why: String },
    /// The stop came while the server was waited for.
    #[error("stopped while waiting for {at}")]
    Stopped { at: Arc<str> },
}

impl OpenError {
    /// The user may not do what everybody does who opens it.
    pub(super) fn rights(at: Arc<str>, why: &str) -> Self {
        let why = format!(
            "{why}; grant it what is missing (docs/managed-services.md has the roles), or let it own the tables"
        );
        Self::Rights { at, why }
    }
}

/// What was tried that failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("can't {deed} {at}: {fault}{}", advice(.fault))]
pub struct Error {
    deed: &'static str,
    at: Arc<str>,
    fault: Fault,
}

impl Error {
    /// `deed` is what was tried, in the imperative and up to the server's name: `store results in`.
    pub(super) fn new(deed: &'static str, at: &Arc<str>, fault: Fault) -> Self {
        Self { deed, at: Arc::clone(at), fault }
    }

    pub fn cause(&self) -> Cause {
        self.fault.cause()
    }

    pub fn class(&self) -> Class {
        self.fault.class()
    }
}

/// What to do where the server names a right that is missing, which is all that it says.
fn advice(fault: &Fault) -> &'static str {
    match fault.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            "; grant it to the user of the store URL, or do this as the owner of the tables (docs/managed-services.md)"
        }
        _ => "",
    }
}

/// How something with a server can fail.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{}", said(.0))]
    Sql(#[from] tokio_postgres::Error),
    /// It can't be reached, or the connection to it broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It may pass, and the server has no SQLSTATE for it.
    #[error("{0}")]
    Passing(String),
    /// A day that is needed has no partition, and it is for the owner of the tables to make one.
    #[error(
        "there is no partition for {day}, and this user may not make one: run `lapwing db prune` as the owner of the tables, every \
         day (docs/managed-services.md)"
    )]
    NoDay { day: String },
    /// It will not pass by itself.
    #[error("{0}")]
    Lasting(#[from] OpenError),
}

impl Fault {
    pub fn db(&self) -> Option<&DbError> {
        match self {
            Self::Sql(e) => e.as_db_error(),
            Self::Io(_) | Self::Passing(_) | Self::NoDay { .. } | Self::Lasting(_) => None,
        }
    }

    pub fn code(&self) -> Option<&SqlState> {
        self.db().map(DbError::code)
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Io(_) | Self::Passing(_) => Class::Transient,
            Self::NoDay { .. } | Self::Lasting(_) => Class::Systemic,
            Self::Sql(e) => match e.as_db_error() {
                Some(db) => class_of(db),
                // The connection broke. What else the client finds wrong (a value that is not of its column's type) is a mistake of ours.
                None if is_broken(e) => Class::Transient,
                None => Class::Systemic,
            },
        }
    }

    pub fn cause(&self) -> Cause {
        let Some(db) = self.db() else {
            return match self.class() {
                Class::Systemic if matches!(self, Self::NoDay { .. }) => Cause::Denied,
                Class::Transient => Cause::Io,
                Class::Record | Class::Systemic => Cause::Other,
            };
        };
        match (db.code().code(), class_of(db)) {
            ("53100", _) => Cause::Full,
            ("55P03" | "40P01" | "40001", _) => Cause::Locked,
            ("42501", _) => Cause::Denied,
            ("XX001" | "XX002", _) => Cause::Damaged,
            (code, _) if code.starts_with("28") => Cause::Denied,
            (_, Class::Record) => Cause::Record,
            (_, Class::Transient) => Cause::Io,
            (_, Class::Systemic) => Cause::Other,
        }
    }

    /// The row was there already.
    pub fn is_double(&self) -> bool {
        self.code() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// A row has no partition to go to: not the row's fault, although the server uses the code of a broken constraint. Of those
    /// it names the constraint.
    pub fn is_without_partition(&self) -> bool {
        self.db().is_some_and(|db| *db.code() == SqlState::CHECK_VIOLATION && db.constraint().is_none())
    }

    /// What stands in the way of opening; as text when it may pass.
    pub fn when_opening(self, at: &Arc<str>) -> Result<String, OpenError> {
        let (class, why, at) = (self.class(), self.to_string(), Arc::clone(at));
        let code = self.code().map(|code| code.code().to_owned()).unwrap_or_default();
        match self {
            Self::Lasting(e) => Err(e),
            _ if class == Class::Transient => Ok(why),
            _ if code == "3D000" => Err(OpenError::NoDatabase { at, why }),
            _ if code == "42501" => Err(OpenError::rights(at, &why)),
            _ if code.starts_with("28") => Err(OpenError::Authentication { at, why }),
            Self::Sql(_) | Self::Io(_) | Self::Passing(_) | Self::NoDay { .. } => Err(OpenError::Unusable { at, why }),
        }
    }
}

/// By SQLSTATE. (<https://www.postgresql.org/docs/current/errcodes-appendix.html>)
fn class_of(db: &DbError) -> Class {
    match db.code().code() {
        // A sequence has come to its end: no row is to blame.
        "2200H" => Class::Systemic,
        "23502" | "23503" => Class::Record,
        "23514" if db.constraint().is_some() => Class::Record,
        // Serialization, deadlock, unknown completion; a lock that is held; a statement that somebody cancelled; a standby that
        // may become the primary; a session that was idle for too long.
        "40001" | "40003" | "40P01" | "55P03" | "55006" | "57014" | "25006" | "25P03" | "23514" => Class::Transient,
        code => match &code[..code.floor_char_boundary(2)] {
            "22" => Class::Record,
            // Connection, resources, shutdown (with 57P03, which is also the start), the system below.
            "08" | "53" | "58" => Class::Transient,
            "57" if code.starts_with("57P") && code != "57P04" => Class::Transient,
            _ => Class::Systemic,
        },
    }
}

fn is_broken(e: &tokio_postgres::Error) -> bool {
    e.is_closed() || e.source().is_some_and(<dyn std::error::Error>::is::<io::Error>)
}

/// What the server said, or what broke.
pub(super) fn said(e: &tokio_postgres::Error) -> String {
    let text = match (e.as_db_error(), e.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{e}: {source}"),
        (None, None) => e.to_string(),
    };
    text.replace('\n', " ")
}
