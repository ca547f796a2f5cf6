//! Dead letters whose time has come: the writer tries them again, between its batches.

use bus::record;
use model::{
    UnixMs,
    batch::{Content, DeadReason},
};
use std::time::{Duration, Instant};
use store::{Keep, Retried, Select, Store, StoreError};

/// How often they are looked for, and how many are taken at once.
const LOOK: Duration = Duration::from_secs(5);
const MOST: u32 = 100;

#[derive(Debug, Default)]
pub struct Letters {
    /// `None`: never yet.
    looked: Option<Instant>,
    /// There were as many as are taken at once.
    may_be_more: bool,
}

impl Letters {
    pub fn are_due(&self) -> bool {
        self.may_be_more || self.looked.is_none_or(|at| at.elapsed() >= LOOK)
    }

    /// Tries those that are due, one by one: what ails one may ail the next.
    ///
    /// # Errors
    /// The store's; the others are tried later.
    pub async fn retry_due(&mut self, store: &mut Store, keep: &Keep) -> Result<(), StoreError> {
        if self.looked.is_none() {
            wake_newer(store, keep.now).await?;
        }
        (self.looked, self.may_be_more) = (Some(Instant::now()), false);
        let due = Select { due: Some(keep.now), ..Select::default() };
        let letters = store.letters(&due, i64::MIN, MOST).await?;
        for letter in &letters {
            let content = record::decode(&letter.value, keep.now);
            match store.retry(letter, &content, keep).await? {
                Retried::Resolved => tracing::info!(id = letter.id, "a dead letter was stored"),
                Retried::Failed(why) => tracing::debug!(id = letter.id, why, "a dead letter still can't be stored"),
                Retried::Elsewhere => {}
            }
        }
        self.may_be_more = letters.len() >= MOST as usize;
        Ok(())
    }
}

/// A newer program may know what an older one did not: once after a start its letters are due.
async fn wake_newer(store: &mut Store, now: UnixMs) -> Result<(), StoreError> {
    let reason = Some(DeadReason::NewerVersion.word().to_owned());
    let newer = Select { reason, resolved: Some(false), ..Select::default() };
    let mut after = i64::MIN;
    loop {
        let letters = store.letters(&newer, after, MOST).await?;
        let Some(last) = letters.last() else { return Ok(()) };
        after = last.id;
        let known = letters.iter().filter(|letter| !is_newer(&letter.value, now)).map(|letter| letter.id);
        let known = Select { ids: Some(known.collect()), ..Select::default() };
        store.make_due(&known, now).await?;
    }
}

fn is_newer(value: &[u8], now: UnixMs) -> bool {
    matches!(record::decode(value, now), Content::Dead(letter) if letter.reason == DeadReason::NewerVersion)
}
