//! Where results stay, and the only crate that knows SQL of results. The writer hands it what a log delivered.
//!
//! One transaction holds everything that a batch changes: the log's next offset, the rows, the dead letters. The offset moves
//! by compare-and-set, so that of two writers, or of one that repeats itself, exactly one is heard; rows have a natural key, so that
//! a record that comes twice is stored once.

mod dead;
mod sqlite;

pub use ::sqlite::{Cause, Class, OpenError, Settings, Waits};

use crate::sqlite::SqliteStore;
use model::{
    UnixMs,
    batch::{Batch, DeadReason, Source},
};
use std::{path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

/// An open store.
#[derive(Debug)]
pub enum Store {
    Sqlite(Box<SqliteStore>),
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
    fn since(&self) -> UnixMs {
        UnixMs(self.now.0.saturating_sub(i64::try_from(self.checks.as_millis()).unwrap_or(i64::MAX)))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Sqlite(#[from] ::sqlite::Error),
}

impl StoreError {
    /// Transient: wait and write the same batch again, for ever. Systemic: a person must act. Never the fault of a record: those
    /// are dead letters of a batch that was written.
    pub fn class(&self) -> Class {
        match self {
            Self::Sqlite(e) => match e.class() {
                Class::Record => Class::Systemic,
                class @ (Class::Transient | Class::Systemic) => class,
            },
        }
    }

    pub fn cause(&self) -> Cause {
        match self {
            Self::Sqlite(e) => e.cause(),
        }
    }
}

impl Store {
    /// Opens the embedded store, makes it when it is missing, and waits for a program that has it locked, until `stop`.
    pub async fn open_sqlite(path: &Path, settings: Settings, stop: &CancellationToken) -> Result<Self, OpenError> {
        SqliteStore::open(path, settings, stop).await.map(|store| Self::Sqlite(Box::new(store)))
    }

    /// The offset at which the store wants to read on; `None` when it has nothing of that source.
    pub async fn next_offset(&mut self, source: &Source) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(store) => store.next_offset(source).await,
        }
    }

    /// Writes all of the batch, or nothing. When this returns, what was written survives a power cut.
    ///
    /// A source without a stored offset starts at the batch's `from`.
    pub async fn write(&mut self, batch: &Batch, keep: &Keep) -> Result<Written, StoreError> {
        match self {
            Self::Sqlite(store) => store.write(batch, keep).await,
        }
    }

    /// Waits until everything is closed.
    pub async fn close(self) {
        match self {
            Self::Sqlite(store) => store.close().await,
        }
    }
}
