//! What keeps a store small and quick over the years, beside those who write and read: retention, and what makes old days quick to
//! read. It goes in steps, each of which holds nobody up.

use crate::{Keep, StoreError};
use model::UnixMs;

/// What a step of upkeep has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is nothing to do.
    Nothing,
    /// A partition that retention no longer wants is gone, with so many bytes.
    Dropped { partition: String, bytes: u64 },
    /// A partition of a day that is over got its index by target.
    Indexed { partition: String },
    /// A partition that was on its way out is wanted after all, and can be read again.
    Restored { partition: String },
    /// So many rows that retention no longer wants are gone.
    Deleted { rows: u64 },
    /// So many bytes were given back to the disk.
    Shrunk { bytes: u64 },
    /// Another process is at it.
    Elsewhere,
    /// The user does not own the tables: the owner's `lapwing db prune` has to do it.
    NotAllowed,
}

impl Step {
    /// Whether there may be more to do at once.
    pub fn is_one_of_more(&self) -> bool {
        matches!(self, Self::Dropped { .. } | Self::Indexed { .. } | Self::Deleted { .. } | Self::Shrunk { .. })
    }
}

/// What upkeep would drop or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Days in PostgreSQL; none in SQLite, which has no partitions.
    pub partitions: Vec<String>,
    /// In PostgreSQL an estimate.
    pub rows: u64,
    pub bytes: Option<u64>,
    /// Results that were due before this go.
    pub before: UnixMs,
}

impl crate::Store {
    /// Does one step of what is to be done. Everybody may go on reading and writing meanwhile.
    pub async fn upkeep(&mut self, keep: &Keep) -> Result<Step, StoreError> {
        match self {
            Self::Sqlite(store) => store.upkeep(keep).await,
            Self::Postgres(store) => store.upkeep(keep).await,
        }
    }

    /// Makes the partitions of the last and of the next week, as far as retention wants them, for writers that may not make them by
    /// themselves. The first and the last of these days; `None`: the user does not own the tables, or there are no partitions.
    pub async fn make_days(&mut self, keep: &Keep) -> Result<Option<[UnixMs; 2]>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(store) => store.make_days(keep).await,
        }
    }

    /// What retention no longer wants.
    pub async fn expired(&mut self, keep: &Keep) -> Result<Expired, StoreError> {
        match self {
            Self::Sqlite(store) => store.expired(keep).await,
            Self::Postgres(store) => store.expired(keep).await,
        }
    }
}
