//! The stage beside the writer that keeps the store in order, over a connection of its own: letters are copied to the dead topic, and
//! retention is kept. Whatever it can't do waits; nothing waits for it.

use crate::{copies::Copies, opening, reload::InForce, stages::Ends};
use config::{Config, StoreSetting};
use model::{
    UnixMs,
    trouble::{Lasting, Say},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use store::{Keep, Step, Store, StoreError};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often it looks without being told to, and tries again what it could not do.
const LOOK: Duration = Duration::from_secs(60);
/// The same for letters.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two steps of upkeep, for those who wait to write.
const PAUSE: Duration = Duration::from_millis(50);
/// At the end, for what the writer has buried last.
const LAST: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Keeper {
    setting: StoreSetting,
    /// Its `retention.checks` says which results are kept.
    in_force: InForce,
    /// The writer has buried something.
    buried: Arc<Notify>,
    copies: Copies,
    store: Option<Store>,
    failing: Lasting,
    said_not_allowed: bool,
}

/// Works until nothing more can come. `open`: the writer has opened the store, and brought it to this version.
pub async fn keeper(mut keeper: Keeper, open: CancellationToken, ends: Ends) {
    tokio::select! {
        () = open.cancelled() => {}
        () = ends.no_more.cancelled() => return,
    }
    let working = async {
        tokio::select! {
            () = keeper.work() => {}
            () = ends.no_more.cancelled() => {}
        }
        // What does not get there waits for the next start, or for another writer.
        let _ = timeout(LAST, keeper.copy()).await;
    };
    tokio::select! {
        () = working => {}
        () = ends.give_up.cancelled() => {}
    }
    if let Some(store) = keeper.store {
        store.close().await;
    }
}

impl Keeper {
    /// `config` is that of the start: where results go does not change with a reload.
    pub fn new(config: &Config, in_force: InForce, buried: Arc<Notify>) -> Self {
        Self {
            setting: config.store.clone(),
            in_force,
            buried,
            copies: Copies::new(config.kafka.clone()),
            store: None,
            failing: Lasting::default(),
            said_not_allowed: false,
        }
    }

    async fn work(&mut self) {
        loop {
            let (done, again) = match self.copy().await {
                Ok(()) => (self.keep_house().await, LOOK),
                failed => (failed, AGAIN),
            };
            let next = match done {
                Ok(()) => {
                    if let Some(Say::Over(lasted)) = self.failing.gone(Instant::now()) {
                        tracing::info!(?lasted, "the store is kept in order again");
                    }
                    LOOK
                }
                Err(why) => {
                    self.failed(&why);
                    again
                }
            };
            tokio::select! {
                () = self.buried.notified() => {}
                Ok(()) = self.in_force.changed() => {}
                () = sleep(next) => {}
            }
        }
    }

    fn failed(&mut self, why: &str) {
        match self.failing.met(Instant::now()) {
            Some(Say::Begins | Say::Over(_)) => {
                tracing::warn!(error = why, "the store can't be kept in order now; it is tried again");
            }
            Some(Say::Lasts(lasted)) => tracing::warn!(error = why, ?lasted, "the store still can't be kept in order"),
            None => {}
        }
    }

    async fn copy(&mut self) -> Result<(), String> {
        if !self.copies.are_wanted() {
            return Ok(());
        }
        let mut store = self.open().await?;
        let copied = self.copies.copy_all(&mut store).await;
        self.store = Some(store);
        copied
    }

    /// Step by step, until there is nothing more to do. Letters go first.
    async fn keep_house(&mut self) -> Result<(), String> {
        loop {
            let mut store = self.open().await?;
            let checks = self.in_force.borrow().retention.checks;
            let keep = Keep { now: UnixMs::from_system(SystemTime::now()), checks };
            let step = store.upkeep(&keep).await;
            self.store = Some(store);
            let step = step.map_err(|e: StoreError| e.to_string())?;
            match &step {
                Step::Dropped { partition, bytes } => tracing::info!(partition, bytes, "a day has expired"),
                Step::Restored { partition } => tracing::info!(partition, "a day is kept after all"),
                Step::Indexed { partition } => tracing::debug!(partition, "a day that is over has its index by target"),
                Step::Deleted { rows } => tracing::debug!(rows, "results have expired"),
                Step::Shrunk { bytes } => tracing::debug!(bytes, "the file is smaller"),
                Step::NotAllowed if !self.said_not_allowed => {
                    self.said_not_allowed = true;
                    tracing::info!(
                        "this user does not own the tables: retention needs the owner's `lapwing db prune`, every day"
                    );
                }
                Step::Nothing | Step::Elsewhere | Step::NotAllowed => {}
            }
            if !step.is_one_of_more() {
                return Ok(());
            }
            sleep(PAUSE).await;
            self.copy().await?;
        }
    }

    async fn open(&mut self) -> Result<Store, String> {
        if let Some(store) = self.store.take() {
            return Ok(store);
        }
        let opened = opening::open_store(&self.setting, opening::beside(), &CancellationToken::new()).await;
        match opened {
            Ok(Some(store)) => Ok(store),
            Ok(None) => Err("it is not open".to_owned()),
            Err(exit) => Err(exit.to_string()),
        }
    }
}
