//! The queue as others see it: what the metrics and `/readyz` tell. Looking costs a lock that nobody holds for long.

use super::index::Index;
use model::UnixMs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What both ends of the queue know. Never locked across an await.
#[derive(Debug)]
pub(super) struct Shared {
    index: Mutex<Index>,
    appending: Mutex<Appending>,
    /// Rows were added.
    pub appended: Notify,
}

/// How appending fares.
#[derive(Clone, Debug, Default)]
struct Appending {
    in_memory: u64,
    committed_at: Option<UnixMs>,
    trouble: Option<Arc<str>>,
}

impl Shared {
    pub fn new(index: Index) -> Self {
        Self { index: Mutex::new(index), appending: Mutex::default(), appended: Notify::new() }
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing that holds it panics half-way through a change.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn appending(&self) -> MutexGuard<'_, Appending> {
        self.appending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn committed(&self, now: UnixMs) {
        self.appending().committed_at = Some(now);
    }
}

/// Looks at the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Shared>);

/// The queue at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Results that wait, in the file.
    pub results: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// When the oldest of them was appended.
    pub oldest_at: Option<UnixMs>,
    /// Results that were given up since the queue was made: beyond its size or that of the memory, or in a damaged row.
    pub dropped_total: u64,
    /// Results that wait in memory, for the file to be writable.
    pub in_memory: u64,
    /// When results were last made durable, by this process.
    pub committed_at: Option<UnixMs>,
    /// Why results can't be kept as they should, for `/readyz`; `None` when all is well.
    pub trouble: Option<Arc<str>>,
}

impl Gauge {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub fn stats(&self) -> Stats {
        let ((results, bytes, oldest_at), dropped_total) = {
            let index = self.0.index();
            (index.waiting(), index.dropped())
        };
        let Appending { in_memory, committed_at, trouble } = self.0.appending().clone();
        Stats { results, bytes, oldest_at, dropped_total, in_memory, committed_at, trouble }
    }

    pub(crate) fn set_in_memory(&self, results: usize) {
        self.0.appending().in_memory = results as u64;
    }

    pub(crate) fn set_trouble(&self, trouble: Option<Arc<str>>) {
        self.0.appending().trouble = trouble;
    }

    /// Counts results that were given up in memory. The file learns of them with the next commit.
    pub(crate) fn lost(&self, results: u64) {
        self.0.index().lost(results);
    }
}
