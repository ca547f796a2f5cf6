//! How a stop is asked for: SIGTERM or SIGINT; the second one is impatient.

use anyhow::Context;
use std::time::Duration;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take no new work.
    pub asked: CancellationToken,
    /// Asked for again: wait for nothing.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Ends when what is in flight is to be given up: the grace after the stop was asked for, or at once.
    pub async fn given_up(&self, grace: Duration) {
        self.asked.cancelled().await;
        tokio::select! {
            () = sleep(grace) => {}
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
        for token in [told.asked, told.at_once] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(stop)
}
