//! Waiting for a condition instead of for a time: a test that sleeps and hopes fails on the slower machine.

use crate::fail::fail;
use std::time::{Duration, Instant};

/// Between two looks. Short, because a test waits half of it for nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// Returns as soon as the condition holds; fails the test, naming `what`, when it does not within the limit.
pub async fn eventually(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        give_up(what, limit, started);
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for tests without a runtime.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        give_up(what, limit, started);
        std::thread::sleep(PAUSE);
    }
}

#[track_caller]
fn give_up(what: &str, limit: Duration, started: Instant) {
    if started.elapsed() > limit {
        fail(&format!("not within {limit:?}: {what}"));
    }
}
