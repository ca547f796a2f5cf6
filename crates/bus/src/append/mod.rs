//! The stage between the checks and the queue: gathers records and makes them durable, some twenty times a second.
//!
//! Checks never wait for it. When the queue can't be written, records wait in memory; when that is full, the oldest go, and it
//! is said loudly.

mod dropping;
mod room;

pub use room::Entrance;

use crate::{
    Class, QueueError,
    queue::{Appended, Gauge, Tail},
};
use dropping::Dropping;
use model::trouble::{Lasting, Say};
use room::Room;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How much is gathered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of records that wait in memory; beyond, the oldest go.
    pub memory: usize,
    /// Between the beginnings of two commits: what comes meanwhile shares the next one. The first record after a pause is
    /// committed at once.
    pub pace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 64 << 20, pace: Duration::from_millis(50) }
    }
}

/// Records of one commit at most: a long backlog is written in pieces, so that each success counts.
const MOST_BYTES: usize = 4 << 20;
/// How often an idle queue deletes what is stored.
const SWEEP: Duration = Duration::from_secs(1);
/// How often it is looked whether the file has become too large for what is in it.
const SHRINK: Duration = Duration::from_secs(60);
/// Before another try, when the trouble may pass by itself, and when it will not.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SYSTEMIC: Duration = Duration::from_secs(30);

/// The stage, and the way in. The stage ends when every clone of the entrance is gone and all is durable.
pub fn appender(tail: Tail, limits: Limits) -> (Entrance, Appender) {
    let room = Arc::new(Room::new(limits.memory));
    let gauge = tail.gauge();
    let appender = Appender {
        room: room.clone(),
        tail,
        gauge,
        pace: limits.pace,
        last_begun: None,
        shrunk: Instant::now(),
        in_hand: Vec::new(),
        unwritable: Lasting::default(),
        queue_full: Dropping::new("the queue is full: its oldest results are dropped (see queue.max_size)"),
        memory_full: Dropping::new(
            "the queue can't be written and the memory for results is full: the oldest are dropped",
        ),
    };
    (Entrance::new(room), appender)
}

#[derive(Debug)]
pub struct Appender {
    room: Arc<Room>,
    tail: Tail,
    gauge: Gauge,
    pace: Duration,
    last_begun: Option<Instant>,
    shrunk: Instant,
    /// Kept here, so that they are counted when a commit is given up.
    in_hand: Vec<Vec<u8>>,
    unwritable: Lasting,
    queue_full: Dropping,
    memory_full: Dropping,
}

impl Appender {
    /// Runs until all is durable and no more can come, or until `give_up`; returns how many records were not made durable
    /// (at most: a commit that was under way may have succeeded).
    pub async fn run(mut self, give_up: CancellationToken) -> usize {
        loop {
            let goes_on = tokio::select! {
                goes_on = self.round() => goes_on,
                () = give_up.cancelled() => false,
            };
            if !goes_on {
                break;
            }
        }
        let lost = self.room.len() + self.in_hand.len();
        if lost > 0 {
            tracing::error!(lost, "stopped before all results were in the queue");
        }
        self.tail.close().await;
        lost
    }

    /// One commit, or one sweep. False when no more can come.
    async fn round(&mut self) -> bool {
        match tokio::time::timeout(SWEEP, self.room.has_records()).await {
            Ok(false) => return false,
            Ok(true) => {
                self.keep_pace().await;
                self.commit().await;
            }
            Err(_idle) => {
                match self.tail.sweep().await {
                    // What could not be deleted before was deleted now.
                    Ok(()) => self.say_writable(),
                    Err(e) => self.say_unwritable(&e),
                }
                self.say_calm();
            }
        }
        self.shrink().await;
        true
    }

    async fn shrink(&mut self) {
        if self.shrunk.elapsed() >= SHRINK {
            self.shrunk = Instant::now();
            if let Err(error) = self.tail.shrink().await {
                tracing::debug!(%error, "the queue's file stays as large as it is");
            }
        }
    }

    async fn keep_pace(&mut self) {
        if let Some(begun) = self.last_begun.filter(|_| !self.room.is_closed()) {
            tokio::time::sleep(self.pace.saturating_sub(begun.elapsed())).await;
        }
        self.last_begun = Some(Instant::now());
    }

    async fn commit(&mut self) {
        self.in_hand = self.room.take(MOST_BYTES);
        match self.tail.append(&self.in_hand).await {
            Ok(appended) => {
                self.in_hand.clear();
                self.room.done();
                // The acknowledgement: from here on nothing that ends the process can lose them.
                tracing::debug!(first = appended.first, next = appended.next, "results are durable");
                self.say_lost_in_memory();
                self.say_written(&appended);
            }
            Err(e) => {
                self.room.put_back(std::mem::take(&mut self.in_hand));
                self.say_lost_in_memory();
                self.say_unwritable(&e);
                let pause = if e.class() == Class::Systemic { RETRY_SYSTEMIC } else { RETRY };
                tokio::time::sleep(pause).await;
            }
        }
        self.gauge.set_in_memory(self.room.len());
    }

    fn say_written(&mut self, appended: &Appended) {
        self.say_writable();
        if appended.dropped > 0 {
            self.queue_full.dropped(appended.dropped);
        }
        self.say_calm();
    }

    fn say_writable(&mut self) {
        if let Some(Say::Over(lasted)) = self.unwritable.gone(Instant::now()) {
            tracing::info!(?lasted, "the queue can be written again");
        }
    }

    fn say_calm(&mut self) {
        self.queue_full.calm();
        self.memory_full.calm();
        if !self.unwritable.is_there() {
            self.gauge.set_trouble(self.queue_full.trouble().or(self.memory_full.trouble()));
        }
    }

    fn say_unwritable(&mut self, error: &QueueError) {
        let in_memory = self.room.len();
        self.gauge.set_trouble(Some(error.to_string().into()));
        match self.unwritable.met(Instant::now()) {
            Some(Say::Begins) => tracing::warn!(%error, in_memory, "results wait in memory"),
            Some(Say::Lasts(lasted) | Say::Over(lasted)) => {
                tracing::warn!(%error, in_memory, ?lasted, "results still wait in memory");
            }
            None => {}
        }
    }

    fn say_lost_in_memory(&mut self) {
        let lost = self.room.take_dropped();
        if lost > 0 {
            self.gauge.lost(lost);
            self.memory_full.dropped(lost);
        }
    }
}
