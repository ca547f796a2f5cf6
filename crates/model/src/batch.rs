//! What a log hands to the writer, and the writer to the store: the border between `bus` and `store`.

use crate::record::Record;
use bytes::Bytes;
use std::sync::Arc;

/// Where records come from: one partition of one log. Offsets are kept under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The identity of the log, not its name: the queue's own id, or the topic's id. A log that was made anew is another one.
    pub log: Arc<str>,
    /// For people and for dead letters: `queue`, or the topic's name.
    pub name: Arc<str>,
    pub partition: i32,
}

/// Records that were read in one go, in the order of their offsets.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub source: Source,
    /// Where reading stood before this batch: what the store must hold as the next offset for the batch to be written.
    pub from: i64,
    /// Where reading goes on: what the store holds once the batch is written.
    pub next: i64,
    pub entries: Vec<Entry>,
}

/// One record of a log, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub offset: i64,
    /// The record as it came: what a dead letter holds when it is the store that refuses it.
    pub value: Bytes,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Result(Box<Record>),
    /// Not a result of ours to judge: skipped and counted.
    UnknownKind,
    /// Becomes a dead letter.
    Dead(Box<DeadLetter>),
}

/// A record that can't be stored, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub reason: DeadReason,
    /// For people, one line.
    pub message: String,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Why a record became a dead letter. (The contract, section 7.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    NotJson,
    NotAResult,
    NewerVersion,
    /// The database refuses it for its content.
    Refused,
}

impl DeadReason {
    pub fn word(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotAResult => "not_a_result",
            Self::NewerVersion => "newer_version",
            Self::Refused => "refused",
        }
    }
}
