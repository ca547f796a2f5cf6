//! The stage that stores what the queue delivers.

use crate::{metrics::Metrics, ready::Ready, reload::InForce};
use bus::{
    Class,
    queue::{Most, Reader},
};
use model::{
    UnixMs,
    batch::Batch,
    trouble::{Lasting, Say},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use store::{Keep, Store, Written};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Before the same is tried again: when the trouble may pass by itself, and when a person must act.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SYSTEMIC: Duration = Duration::from_secs(30);
/// When no more can come, a read that brings nothing for so long has brought all.
const LAST_READ: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Writer {
    pub queue: Reader,
    pub store: Store,
    pub ready: Ready,
    pub metrics: Arc<Metrics>,
    /// Its `retention.checks` says which results are too old to be stored.
    pub in_force: InForce,
}

/// read -> store -> release, until nothing more can come and all is stored, or until it is to give up.
///
/// The batch knows its source and its next offset, and the store commits both with the rows: a crash repeats work, loses none
/// and doubles none. Releasing lets the queue delete; nothing depends on it.
pub async fn writer(mut writer: Writer, no_more: CancellationToken, give_up: CancellationToken) {
    tokio::select! {
        () = writer.run(&no_more) => {}
        () = give_up.cancelled() => tracing::warn!("results wait in the queue for the next start"),
    }
    writer.queue.close().await;
    writer.store.close().await;
}

impl Writer {
    async fn run(&mut self, no_more: &CancellationToken) {
        let mut next = self.resume().await;
        while let Some(batch) = self.read(next, no_more).await {
            next = self.store(&batch).await;
            self.queue.release(next);
        }
    }

    /// Where the store stands.
    async fn resume(&mut self) -> i64 {
        let mut trouble = Lasting::default();
        loop {
            let stored = match self.store.next_offset(self.queue.source()).await {
                Ok(stored) => stored,
                Err(e) => {
                    self.wait(&mut trouble, e.class(), &e).await;
                    continue;
                }
            };
            match self.queue.resume(stored).await {
                Ok(next) => {
                    self.over(&mut trouble);
                    return next;
                }
                Err(e) => self.wait(&mut trouble, e.class(), &e).await,
            }
        }
    }

    /// The next batch. `None`: nothing more can come.
    async fn read(&mut self, from: i64, no_more: &CancellationToken) -> Option<Batch> {
        let mut trouble = Lasting::default();
        loop {
            let read = match self.queue.read(from, &Most::default(), no_more).await {
                Ok(None) => {
                    let at_once = Most { pace: Duration::ZERO, ..Most::default() };
                    let nobody = CancellationToken::new();
                    match timeout(LAST_READ, self.queue.read(from, &at_once, &nobody)).await {
                        Ok(read) => read,
                        Err(_nothing) => return None,
                    }
                }
                read => read,
            };
            match read {
                Ok(batch) => {
                    self.over(&mut trouble);
                    return batch;
                }
                Err(e) => self.wait(&mut trouble, e.class(), &e).await,
            }
        }
    }

    /// Writes the batch, however long it takes. Returns where reading goes on.
    async fn store(&mut self, batch: &Batch) -> i64 {
        let mut trouble = Lasting::default();
        loop {
            let checks = self.in_force.borrow().retention.checks;
            let keep = Keep { now: UnixMs::from_system(SystemTime::now()), checks };
            let begun = Instant::now();
            match self.store.write(batch, &keep).await {
                Ok(Written::Committed(counts)) => {
                    self.over(&mut trouble);
                    self.metrics.stored(&counts, begun.elapsed());
                    return batch.next;
                }
                Ok(Written::Behind { next }) => {
                    tracing::warn!(from = batch.from, next, "the store stands elsewhere; reading goes on there");
                    return next;
                }
                Err(e) => self.wait(&mut trouble, e.class(), &e).await,
            }
        }
    }

    async fn wait(&self, trouble: &mut Lasting, class: Class, error: &impl std::fmt::Display) {
        self.ready.lacks("store", error.to_string());
        match trouble.met(Instant::now()) {
            Some(Say::Lasts(lasted)) => {
                tracing::error!(%error, ?lasted, "results still can't be stored; they wait in the queue");
            }
            Some(Say::Begins | Say::Over(_)) => {
                tracing::error!(%error, "results can't be stored; they wait in the queue");
            }
            None => {}
        }
        sleep(match class {
            Class::Transient => RETRY,
            Class::Systemic | Class::Record => RETRY_SYSTEMIC,
        })
        .await;
    }

    fn over(&self, trouble: &mut Lasting) {
        if let Some(Say::Over(lasted)) = trouble.gone(Instant::now()) {
            tracing::info!(?lasted, "results can be stored again");
        }
        self.ready.has("store");
    }
}
