//! When so many of a partition's records become dead letters that it is no longer the records' fault: a wrong topic, a migration that
//! went wrong. Then the partition stops instead of being drained into dead letters. (The contract, section 7.)

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Over how long records are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// More letters than this, and more than this share of the records, are a flood.
const MOST: u64 = 1000;
const SHARE: u64 = 20; // one in

/// What was read of a partition lately, and how much of it became dead letters.
#[derive(Clone, Debug, Default)]
pub struct Flood {
    /// Oldest first.
    batches: VecDeque<(Instant, Count)>,
    sum: Count,
    is_on: bool,
}

/// Records, and the dead letters among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub read: u64,
    pub dead: u64,
}

impl Count {
    /// Whether more of them are dead than can be by chance.
    pub fn is_bad(self) -> bool {
        self.dead * SHARE > self.read
    }

    fn and(self, other: Self) -> Self {
        Self { read: self.read + other.read, dead: self.dead + other.dead }
    }
}

impl Flood {
    /// Whether it would be a flood if these came as well.
    pub fn would_be(&self, now: Instant, more: Count) -> bool {
        let gone = self.batches.iter().filter(|(at, _)| is_over(*at, now));
        let gone = gone.fold(Count::default(), |sum, (_, count)| sum.and(*count));
        let sum = self.sum.and(more);
        let sum = Count { read: sum.read - gone.read, dead: sum.dead - gone.dead };
        sum.dead > MOST && sum.is_bad()
    }

    /// These came. True: it is a flood, until [`Self::is_over`] says otherwise.
    pub fn note(&mut self, now: Instant, count: Count) -> bool {
        self.is_on |= self.would_be(now, count);
        while let Some((_, gone)) = self.batches.pop_front_if(|(at, _)| is_over(*at, now)) {
            self.sum = Count { read: self.sum.read - gone.read, dead: self.sum.dead - gone.dead };
        }
        self.batches.push_back((now, count));
        self.sum = self.sum.and(count);
        self.is_on
    }

    /// It would be one; nothing was read.
    pub fn begins(&mut self) {
        self.is_on = true;
    }

    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The cause is gone, and counting begins anew.
    pub fn ends(&mut self) {
        *self = Self::default();
    }
}

fn is_over(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) >= WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(read: u64, dead: u64) -> Count {
        Count { read, dead }
    }

    /// Whether these batches, so many seconds apart each, end in a flood.
    fn flooded(seconds: u64, batches: &[Count]) -> bool {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let last = |(n, count): (usize, &Count)| flood.note(start + Duration::from_secs(seconds * n as u64), *count);
        batches.iter().enumerate().map(last).last().unwrap_or(false)
    }

    #[test]
    fn it_takes_more_than_a_thousand_letters_and_more_than_one_in_twenty() {
        assert!(!flooded(1, &[count(1000, 1000)]));
        assert!(flooded(1, &[count(1001, 1001)]));
        assert!(!flooded(1, &[count(20_020, 1001)]));
        assert!(flooded(1, &[count(20_019, 1001)]));
        assert!(flooded(1, &[count(500, 500), count(502, 502)]));
    }

    #[test]
    fn what_was_read_a_minute_ago_does_not_count() {
        assert!(flooded(59, &[count(600, 600), count(600, 600)]));
        assert!(!flooded(60, &[count(600, 600), count(600, 600)]));
        assert!(!flooded(59, &[count(100_000, 0), count(1100, 1100)]));
        assert!(flooded(60, &[count(100_000, 0), count(1100, 1100)]));
    }

    #[test]
    fn it_lasts_until_its_cause_is_gone() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        assert!(flood.note(now, count(2000, 2000)));
        assert!(flood.note(now + 2 * WINDOW, count(1, 0)) && flood.is_on());
        flood.ends();
        assert!(!flood.is_on() && !flood.note(now + 2 * WINDOW, count(1000, 1000)));
        assert!(flood.would_be(now + 2 * WINDOW, count(1, 1)) && !flood.is_on());
    }
}
