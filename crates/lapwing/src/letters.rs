//! Dead letters whose time has come: the writer tries them again, between its batches.

use bus::record;
use model::{
    UnixMs,
    batch::{Content, DeadReason},
};
use std::time::{Duration, Instant};
use store::{Keep, Letter, Retried, Select, Store, StoreError};

/// How often they are looked for, and how many are taken at once.
const LOOK: Duration = Duration::from_secs(5);
const MOST: u32 = 500;
/// Where their size is not looked at.
const FEW: u32 = 20;

#[derive(Debug, Default)]
pub struct Letters {
    /// `None`: never yet.
    looked: Option<Instant>,
    /// There were some.
    may_be_more: bool,
}

impl Letters {
    pub fn are_due(&self) -> bool {
        self.may_be_more || self.looked.is_none_or(|at| at.elapsed() >= LOOK)
    }

    /// Tries those that are due, a page of them at a time.
    ///
    /// # Errors
    /// The store's; the others are tried later.
    pub async fn retry_due(&mut self, store: &mut Store, keep: &Keep) -> Result<(), StoreError> {
        if self.looked.is_none() {
            wake_newer(store, keep.now).await?;
        }
        (self.looked, self.may_be_more) = (Some(Instant::now()), false);
        let letters = store.due_letters(keep.now, MOST).await?;
        if letters.is_empty() {
            return Ok(());
        }
        let decoded = |letter: Letter| {
            let content = record::decode(&letter.value, keep.now);
            (letter, content)
        };
        let letters: Vec<_> = letters.into_iter().map(decoded).collect();
        let became = store.retry(&letters, keep).await?;
        let stored = became.iter().filter(|became| **became == Retried::Resolved).count();
        if stored > 0 {
            tracing::info!(letters = stored, "dead letters were stored");
        }
        for ((letter, _), became) in letters.iter().zip(became) {
            match became {
                Retried::Resolved => tracing::debug!(id = letter.id, "a dead letter was stored"),
                Retried::Failed(why) => tracing::debug!(id = letter.id, why, "a dead letter still can't be stored"),
                Retried::Elsewhere => {}
            }
        }
        self.may_be_more = true;
        Ok(())
    }
}

/// A newer program may know what an older one did not: once after a start its letters are due.
async fn wake_newer(store: &mut Store, now: UnixMs) -> Result<(), StoreError> {
    let reason = Some(DeadReason::NewerVersion.word().to_owned());
    let newer = Select { reason, resolved: Some(false), ..Select::default() };
    let mut after = i64::MIN;
    loop {
        let letters = store.letters(&newer, after, FEW).await?;
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
