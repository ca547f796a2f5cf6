//! Dead letters as people look after them, and as the writer tries them again. What makes a letter is in `dead.rs`.

use crate::{Keep, StoreError};
use bytes::Bytes;
use model::{
    UnixMs,
    batch::{Content, DeadReason, Entry, Envelope},
    mark::Marked,
};
use std::time::Duration;

/// A letter, as it stands in table `dead_letters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub id: i64,
    pub reason: String,
    pub message: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    /// The record as it came.
    pub value: Vec<u8>,
    /// In their order, repeats included.
    pub headers: Vec<(String, Vec<u8>)>,
    pub failed_at: UnixMs,
    /// How often it was tried to store it, the first time included.
    pub attempts: i32,
    /// `None`: not by itself.
    pub next_retry_at: Option<UnixMs>,
    pub resolved_at: Option<UnixMs>,
}

/// Which letters: those that meet all that is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// `None`: any.
    pub ids: Option<Vec<i64>>,
    pub reason: Option<String>,
    /// The target's id, which is the key that the record came with.
    pub target: Option<String>,
    /// Failed before this moment.
    pub before: Option<UnixMs>,
    /// `Some(false)`: those that wait; `None`: both.
    pub resolved: Option<bool>,
}

/// What became of a letter that was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// A row of its identity exists.
    Resolved,
    /// Still not, and why.
    Failed(String),
    /// It is gone, resolved, or in the hands of another writer.
    Elsewhere,
}

/// Between two tries at least and at most; it doubles from one to the other.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// When a letter is tried again that was tried so often. What a newer program or a person must mend is not, by itself.
pub(crate) fn next_retry(reason: &str, attempts: i32, now: UnixMs) -> Option<UnixMs> {
    (reason == DeadReason::Refused.word()).then(|| {
        let doublings = u32::try_from(attempts.max(1) - 1).unwrap_or(0).min(16);
        now + (FIRST * (1 << doublings)).min(LONGEST)
    })
}

/// How long who copies letters has for it.
pub(crate) const COPYING: Duration = Duration::from_secs(60);

/// The columns of a letter, in the order of [`Letter`]'s fields.
pub(crate) const COLUMNS: &str = r#"id, reason, message, topic, partition, "offset", key, value, headers, failed_at, attempts,
    next_retry_at, resolved_at"#;

/// Why a letter waits on, and under which reason.
#[derive(Debug)]
pub(crate) struct StillDead {
    pub reason: String,
    pub why: String,
}

impl StillDead {
    /// The database does not take it.
    pub fn refused(why: String) -> Self {
        Self { reason: DeadReason::Refused.word().to_owned(), why }
    }
}

/// The result that a letter holds, if it is one that is kept.
pub(crate) fn revived<'c>(letter: &Letter, content: &'c Content, keep: &Keep) -> Result<&'c Marked, StillDead> {
    let still = |why: &str| Err(StillDead { reason: letter.reason.clone(), why: why.to_owned() });
    match content {
        Content::Result(record) if record.due_at < keep.since() => {
            still("it is older than retention.checks keeps results")
        }
        Content::Result(record) => Ok(record),
        Content::UnknownKind => still("it is of a kind that is not known"),
        Content::Dead(dead) => Err(StillDead { reason: dead.reason.word().to_owned(), why: dead.message.clone() }),
    }
}

/// A letter as the entry of a batch, by which its row is told from those of others.
pub(crate) fn entry(letter: &Letter) -> Entry {
    Entry {
        offset: letter.id,
        value: Bytes::new(),
        envelope: Envelope::default(),
        content: Content::UnknownKind, // the row has the record
    }
}

/// Of the letters that are due, ids that are read at once: so many at most, and about so many bytes.
pub(crate) fn due_ids(now: &str, most: &str) -> String {
    format!(
        "select id from (
             select id, length(value) as bytes, sum(length(value)) over (order by next_retry_at, id) as sum from (
                 select id, next_retry_at, value from dead_letters
                 where resolved_at is null and next_retry_at <= {now} order by next_retry_at, id limit {most}) as due
         ) as page where sum - bytes < {DUE_BYTES}"
    )
}

const DUE_BYTES: u32 = 8 << 20;

impl crate::Store {
    /// The letters, by their ids and from behind `after` on; so many at most.
    pub async fn letters(&mut self, select: &Select, after: i64, most: u32) -> Result<Vec<Letter>, StoreError> {
        match self {
            Self::Sqlite(store) => store.letters(select, after, most).await,
            Self::Postgres(store) => store.letters(select, after, most).await,
        }
    }

    /// Those that are to be tried again at this moment or before, the longest due first; so many at most, and about 8 MiB.
    pub async fn due_letters(&mut self, now: UnixMs, most: u32) -> Result<Vec<Letter>, StoreError> {
        match self {
            Self::Sqlite(store) => store.due_letters(now, most).await,
            Self::Postgres(store) => store.due_letters(now, most).await,
        }
    }

    /// Makes those that wait due at this moment: the writer tries them again. Returns how many there are.
    pub async fn make_due(&mut self, select: &Select, now: UnixMs) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.make_due(select, now).await,
            Self::Postgres(store) => store.make_due(select, now).await,
        }
    }

    /// Deletes them for good. Returns how many there were.
    pub async fn purge(&mut self, select: &Select) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.purge(select).await,
            Self::Postgres(store) => store.purge(select).await,
        }
    }

    /// The ids of letters from this topic that have still to be copied to the dead topic, so many at most. For a minute they are nobody
    /// else's; who has not said [`Self::copied`] by then has died, and another one does it.
    pub async fn take_to_copy(&mut self, topic: &str, now: UnixMs, most: u32) -> Result<Vec<i64>, StoreError> {
        match self {
            Self::Sqlite(store) => store.take_to_copy(topic, now, most).await,
            Self::Postgres(store) => store.take_to_copy(topic, now, most).await,
        }
    }

    /// They are in the dead topic.
    pub async fn copied(&mut self, ids: &[i64]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.copied(ids).await,
            Self::Postgres(store) => store.copied(ids).await,
        }
    }

    /// Tries to store what is in letters, each of which was decoded anew; of one identity the first record stands. All of it, or
    /// nothing. What became of each, in their order.
    pub async fn retry(&mut self, letters: &[(Letter, Content)], keep: &Keep) -> Result<Vec<Retried>, StoreError> {
        match self {
            Self::Sqlite(store) => store.retry(letters, keep).await,
            Self::Postgres(store) => store.retry(letters, keep).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_letters_are_tried_again_at_growing_intervals_and_others_are_not() {
        let after = |attempts| next_retry("refused", attempts, UnixMs(0)).expect("a time").0 / 60_000;
        assert_eq!([0, 1, 2, 3, 9, 10, 100, i32::MAX].map(after), [1, 1, 2, 4, 256, 360, 360, 360]);
        for reason in ["newer_version", "not_json", "not_a_result"] {
            assert_eq!(next_retry(reason, 1, UnixMs(0)), None, "{reason}");
        }
    }
}
