//! Our own delay: how long this process could not do its work, so that it is never taken for the site's.
//!
//! A task beats every few milliseconds. A beat that comes late tells that timers fire late, that readiness is handled late, or
//! that the whole process stood still (stopped, suspended, out of CPU): whatever it was, the checks in flight had it too.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

const BEAT: Duration = Duration::from_millis(10);
/// Timers are whole milliseconds, and a busy machine is a little late all the time.
const TOLERATED: Duration = Duration::from_millis(10);
/// How many delays are remembered: a minute of nothing else.
const REMEMBERED: usize = 4096;

/// Starts to beat with the first check, and ends with the prober.
#[derive(Debug, Default)]
pub struct Delays {
    inner: Arc<Mutex<Inner>>,
    beating: OnceLock<()>,
}

#[derive(Debug, Default)]
struct Inner {
    last_beat: Option<Instant>,
    /// From when to when, in order.
    past: VecDeque<(Instant, Instant)>,
}

impl Delays {
    /// Must be called within a runtime; the first call starts the beat.
    pub fn watch(&self) {
        self.beating.get_or_init(|| {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).last_beat = Some(Instant::now());
            tokio::spawn(beat(Arc::downgrade(&self.inner)));
        });
    }

    /// How much of the time since `from` was our own delay, the one that may be under way included.
    pub fn since(&self, from: Instant) -> Duration {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).within(from, Instant::now())
    }
}

async fn beat(inner: Weak<Mutex<Inner>>) {
    loop {
        tokio::time::sleep(BEAT).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.lock().unwrap_or_else(PoisonError::into_inner).beat(Instant::now());
    }
}

impl Inner {
    fn beat(&mut self, now: Instant) {
        if let Some(delay) = self.late(now) {
            if self.past.len() == REMEMBERED {
                self.past.pop_front();
            }
            self.past.push_back(delay);
        }
        self.last_beat = Some(now);
    }

    /// The delay that a beat at this moment would tell of.
    fn late(&self, now: Instant) -> Option<(Instant, Instant)> {
        let due = self.last_beat? + BEAT;
        (now.saturating_duration_since(due) > TOLERATED).then_some((due, now))
    }

    fn within(&self, from: Instant, now: Instant) -> Duration {
        let overlap = |(begun, ended): (Instant, Instant)| ended.saturating_duration_since(begun.max(from));
        let past = self.past.iter().rev().take_while(|(_, ended)| *ended > from).copied();
        past.chain(self.late(now)).map(overlap).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats at these milliseconds; how much delay is told at the end, from the given one on.
    fn check(beats: &[u64], from: u64, now: u64, want: u64) {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut inner = Inner::default();
        beats.iter().for_each(|&ms| inner.beat(at(ms)));
        assert_eq!(inner.within(at(from), at(now)), Duration::from_millis(want), "{beats:?} from {from} at {now}");
    }

    #[test]
    fn a_steady_beat_tells_of_no_delay() {
        check(&[0, 10, 20, 31, 42, 55], 0, 60, 0);
    }

    #[test]
    fn a_late_beat_is_a_delay_from_when_it_was_due() {
        check(&[0, 10, 500, 510], 0, 515, 480);
        check(&[0, 10, 500, 510], 300, 515, 200);
        check(&[0, 10, 500, 510], 505, 515, 0);
    }

    #[test]
    fn a_delay_that_goes_on_counts_before_the_beat_that_ends_it() {
        check(&[0, 10], 0, 2020, 2000);
        check(&[0, 100, 110], 0, 1120, 1090);
    }
}
