//! Where results stay, and the only crate that knows SQL of results. The writer hands it what a log delivered.
//!
//! One transaction holds everything that a batch changes: the log's next offset, the rows, the dead letters. The offset moves
//! by compare-and-set, so that of two writers, or of one that repeats itself, exactly one is heard; rows have a natural key, so that
//! a record that comes twice is stored once.

mod dead;
mod facts;
mod letters;
pub mod postgres;
mod sqlite;
mod status;
mod upkeep;

pub use ::sqlite::{Cause, Class, OpenError, Settings, Waits};

pub use letters::{Letter, Retried, Select};
pub use status::{Dead, Partition, Rows, Status};
pub use upkeep::{Expired, Step};

use crate::{postgres::PostgresStore, sqlite::SqliteStore};
use model::{
    UnixMs,
    batch::{Batch, DeadReason, Source},
};
use std::{path::Path, time::Duration};
use tokio_util::sync::CancellationToken;
use url::Url;

/// An open store.
#[derive(Debug)]
pub enum Store {
    Sqlite(Box<SqliteStore>),
    Postgres(Box<PostgresStore>),
}

/// Where a store stands in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// It has nothing of that source.
    New,
    /// It wants to read on there.
    At(i64),
    /// It has nothing of that source, but of another one with the same name and partition: the log was made anew, and it is for
    /// a person to say where to go on.
    Remade { log: String, next: i64 },
}

impl Position {
    /// Among the stored offsets of a source's identity and of its name, each with its identity.
    fn among(stored: Vec<(String, i64)>, source: &Source) -> Self {
        match stored.iter().find(|(log, _)| **log == *source.log) {
            Some((_, next)) => Self::At(*next),
            None => stored.into_iter().next().map_or(Self::New, |(log, next)| Self::Remade { log, next }),
        }
    }
}

/// How far a source is stored, as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOffset {
    pub source: Source,
    /// The first record that is not stored.
    pub next: i64,
}

/// Records that had expired before they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub source: Source,
    /// The first one missing: where the store stands.
    pub from: i64,
    /// The first one that is there.
    pub to: i64,
    pub at: UnixMs,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Committed(Counts),
    /// The store does not stand where the batch begins: somebody was faster, or the reader was elsewhere. Nothing was written;
    /// reading goes on at `next`.
    Behind {
        next: i64,
    },
}

/// What became of the records of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub stored: u64,
    /// There already: the first record of an identity stands.
    pub duplicate: u64,
    /// Older than what is kept.
    pub too_old: u64,
    pub unknown_kind: u64,
    pub dead: DeadCounts,
}

/// Records that became dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadCounts {
    pub not_json: u64,
    pub not_a_result: u64,
    pub newer_version: u64,
    pub refused: u64,
}

impl DeadCounts {
    pub fn by_reason(&self) -> [(DeadReason, u64); 4] {
        [
            (DeadReason::NotJson, self.not_json),
            (DeadReason::NotAResult, self.not_a_result),
            (DeadReason::NewerVersion, self.newer_version),
            (DeadReason::Refused, self.refused),
        ]
    }

    fn count(&mut self, reason: DeadReason) {
        *match reason {
            DeadReason::NotJson => &mut self.not_json,
            DeadReason::NotAResult => &mut self.not_a_result,
            DeadReason::NewerVersion => &mut self.newer_version,
            DeadReason::Refused => &mut self.refused,
        } += 1;
    }
}

/// Which results are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    pub now: UnixMs,
    /// `retention.checks`
    pub checks: Duration,
}

impl Keep {
    /// Results that were due before this are too old.
    pub fn since(&self) -> UnixMs {
        UnixMs(self.now.0.saturating_sub(i64::try_from(self.checks.as_millis()).unwrap_or(i64::MAX)))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Sqlite(#[from] ::sqlite::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
}

impl StoreError {
    /// Transient: wait and write the same batch again, for ever. Systemic: a person must act. Never the fault of a record: those
    /// are dead letters of a batch that was written.
    pub fn class(&self) -> Class {
        let class = match self {
            Self::Sqlite(e) => e.class(),
            Self::Postgres(e) => e.class(),
        };
        match class {
            Class::Record => Class::Systemic,
            Class::Transient | Class::Systemic => class,
        }
    }

    pub fn cause(&self) -> Cause {
        match self {
            Self::Sqlite(e) => e.cause(),
            Self::Postgres(e) => e.cause(),
        }
    }
}

impl Store {
    /// Opens the embedded store, makes it when it is missing, and waits for a program that has it locked, until `stop`.
    pub async fn open_sqlite(path: &Path, settings: Settings, stop: &CancellationToken) -> Result<Self, OpenError> {
        SqliteStore::open(path, settings, stop).await.map(|store| Self::Sqlite(Box::new(store)))
    }

    /// Opens a database of PostgreSQL, makes the tables that are missing, and waits for a server that can't be reached yet, until
    /// `stop`. What waiting does not mend is the error. `settings.max_pages` has no meaning here.
    pub async fn open_postgres(
        url: &Url,
        settings: Settings,
        stop: &CancellationToken,
    ) -> Result<Self, postgres::OpenError> {
        PostgresStore::open(url, &settings, stop).await.map(|store| Self::Postgres(Box::new(store)))
    }

    /// The offset at which the store wants to read on; `None` when it has nothing of that source.
    pub async fn next_offset(&mut self, source: &Source) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(store) => store.next_offset(source).await,
            Self::Postgres(store) => store.next_offset(source).await,
        }
    }

    /// The same for a log whose name stays while its identity changes when it is made anew: a Kafka topic.
    pub async fn position(&mut self, source: &Source) -> Result<Position, StoreError> {
        match self {
            Self::Sqlite(store) => store.position(source).await,
            Self::Postgres(store) => store.position(source).await,
        }
    }

    /// Writes all of the batch, or nothing. When this returns, what was written survives a power cut.
    ///
    /// A source without a stored offset starts at the batch's `from`.
    pub async fn write(&mut self, batch: &Batch, keep: &Keep) -> Result<Written, StoreError> {
        match self {
            Self::Sqlite(store) => store.write(batch, keep).await,
            Self::Postgres(store) => store.write(batch, keep).await,
        }
    }

    /// Notes that records of a source are lost, and moves its offset over them: one or the other writer does, once.
    pub async fn record_gap(&mut self, gap: &Gap) -> Result<Written, StoreError> {
        match self {
            Self::Sqlite(store) => store.record_gap(gap).await,
            Self::Postgres(store) => store.record_gap(gap).await,
        }
    }

    /// Of every source that was ever stored, by name and partition.
    pub async fn offsets(&mut self) -> Result<Vec<StoredOffset>, StoreError> {
        match self {
            Self::Sqlite(store) => store.offsets().await,
            Self::Postgres(store) => store.offsets().await,
        }
    }

    /// Says where reading goes on, whatever was read before: for a person who knows. A writer at work notices with its next batch,
    /// or when it tries a stopped source again.
    pub async fn set_offset(&mut self, source: &Source, next: i64) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.set_offset(source, next).await,
            Self::Postgres(store) => store.set_offset(source, next).await,
        }
    }

    /// Whether it could be written to now: for a writer that has nothing to write, so that a trouble is known before results come.
    pub async fn look(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.look().await,
            Self::Postgres(store) => store.look().await,
        }
    }

    /// Waits until everything is closed.
    pub async fn close(self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}
