//! What a store holds, for people.

use crate::StoreError;
use model::UnixMs;

/// What a store holds at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// PostgreSQL's, or SQLite's.
    pub server_version: String,
    pub schema_version: i64,
    /// All of the database.
    pub bytes: u64,
    pub rows: Rows,
    /// The first and the last check, by when they were due.
    pub oldest: Option<UnixMs>,
    pub newest: Option<UnixMs>,
    /// Days, in PostgreSQL.
    pub partitions: Vec<Partition>,
    pub targets: u64,
    pub locations: u64,
    pub facts: u64,
    /// By their reasons.
    pub dead: Vec<Dead>,
    /// Letters that are not yet in the dead topic.
    pub copies: u64,
    /// Gaps that were noted.
    pub gaps: u64,
}

/// How many checks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    Counted(u64),
    /// Counting would read all of them: this is what the database believes.
    About(u64),
}

/// Dead letters of a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    pub reason: String,
    pub waiting: u64,
    pub resolved: u64,
}

/// A day of checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    /// An estimate.
    pub rows: u64,
    pub bytes: u64,
    /// Whether it has its index by target.
    pub is_indexed: bool,
    /// False: it was detached, and is not part of `checks`.
    pub is_attached: bool,
}

impl crate::Store {
    pub async fn status(&mut self) -> Result<Status, StoreError> {
        match self {
            Self::Sqlite(store) => store.status().await,
            Self::Postgres(store) => store.status().await,
        }
    }
}
