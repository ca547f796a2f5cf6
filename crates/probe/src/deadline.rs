//! The one timeout of an attempt.

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

/// When an attempt ends at the latest. One timer for all of its steps; work of ours does not count against the site.
#[derive(Debug)]
pub struct Deadline {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    pub fn after(timeout: Duration) -> Self {
        let at = Instant::now() + timeout;
        Self { at, sleep: Box::pin(tokio::time::sleep_until(at.into())) }
    }

    pub fn extend(&mut self, by: Duration) {
        self.at += by;
    }

    pub fn has_passed(&self) -> bool {
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

    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.has_passed() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at.into());
        }
        Poll::Pending
    }
}
