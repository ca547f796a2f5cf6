//! The one timeout of an attempt.

use crate::delay::Delays;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::Sleep;

/// The attempt's time is up. Whoever sees it asks the clock in which phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

/// When an attempt ends at the latest. One timer for all of its steps; work of ours and delays of ours do not count against the
/// site.
#[derive(Debug)]
pub struct Deadline<'p> {
    begun: Instant,
    timeout: Duration,
    at: Instant,
    sleep: Pin<Box<Sleep>>,
    delays: &'p Delays,
    /// How much of our own delay was given back to the site; of what is not known exactly at most the timeout once more.
    given_back: Duration,
}

impl<'p> Deadline<'p> {
    pub fn after(timeout: Duration, delays: &'p Delays) -> Self {
        let begun = Instant::now();
        let at = begun + timeout;
        let sleep = Box::pin(tokio::time::sleep_until(at.into()));
        Self { begun, timeout, at, sleep, delays, given_back: Duration::ZERO }
    }

    /// For work of ours.
    pub fn extend(&mut self, by: Duration) {
        self.at += by;
    }

    /// For a delay of ours.
    pub fn give_back(&mut self, delay: Duration) {
        self.at += delay;
        self.given_back += delay;
    }

    pub fn has_passed(&mut self) -> bool {
        if Instant::now() < self.at {
            return false;
        }
        let ours = self.delays.since(self.begun).min(self.timeout);
        let more = ours.saturating_sub(self.given_back);
        self.give_back(more);
        Instant::now() >= self.at
    }

    /// The future's output, if it comes in time. An output that is there is taken, however late it is.
    pub async fn limit<F: Future>(&mut self, future: F) -> Result<F::Output, TimedOut> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(out) => Poll::Ready(Ok(out)),
            Poll::Pending => self.poll_passed(cx).map(|()| Err(TimedOut)),
        })
        .await
    }

    /// The clock is asked before the timer: a future that is never without work has spent the task's budget, and a timer that
    /// is asked without one never fires.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_passed() {
            return Poll::Ready(());
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.has_passed() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at.into());
        }
        Poll::Pending
    }
}
