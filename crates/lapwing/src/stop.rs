//! How a stop is asked for: SIGTERM or SIGINT; the second one is impatient.

use anyhow::Context;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take no new work.
    pub asked: CancellationToken,
    /// Asked for again: wait for nothing.
    pub at_once: CancellationToken,
    asked_at: Arc<OnceLock<Instant>>,
}

impl Stop {
    /// Asks for the stop.
    pub fn ask(&self) {
        self.asked_at.get_or_init(Instant::now);
        self.asked.cancel();
    }

    /// Ends when what is in flight is to be given up: the grace after the stop was asked for, whoever waits since when, or at
    /// once.
    pub async fn given_up(&self, grace: Duration) {
        self.asked.cancelled().await;
        let asked_at = *self.asked_at.get_or_init(Instant::now);
        tokio::select! {
            () = sleep_until(asked_at + grace) => {}
            () = self.at_once.cancelled() => {}
        }
    }
}

/// A stop that SIGTERM and SIGINT ask for.
///
/// # Errors
/// When the process may not listen to signals.
pub fn on_signal() -> anyhow::Result<Stop> {
    let mut term = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
    let stop = Stop::default();
    let told = stop.clone();
    tokio::spawn(async move {
        for heed in [Stop::ask, |stop: &Stop| stop.at_once.cancel()] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            heed(&told);
        }
    });
    Ok(stop)
}
