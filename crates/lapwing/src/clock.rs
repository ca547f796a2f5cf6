//! The clock of the slots: the wall clock, except that it never goes back.

use model::UnixMs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// After a backward step of the wall clock it runs on by monotonic time until the wall clock has caught up.
#[derive(Debug)]
pub struct SlotClock {
    /// The last reading of the wall clock that was followed, since 1970, and its moment: what monotonic time is added to.
    anchor: (Duration, Instant),
    /// What was shown last, since 1970.
    last: Duration,
    /// Runs by monotonic time.
    alone: bool,
}

impl SlotClock {
    pub fn start() -> Self {
        Self::at(wall(), Instant::now())
    }

    fn at(wall: Duration, at: Instant) -> Self {
        Self { anchor: (wall, at), last: wall, alone: false }
    }

    /// Whole milliseconds, rounded down, as slots have them.
    pub fn now(&mut self) -> UnixMs {
        self.advance(wall(), Instant::now());
        UnixMs(i64::try_from(self.last.as_millis()).unwrap_or(i64::MAX))
    }

    /// How long ago a slot was.
    pub fn since(&mut self, slot: UnixMs) -> Duration {
        self.advance(wall(), Instant::now());
        self.last.saturating_sub(Duration::from_millis(u64::try_from(slot.0).unwrap_or(0)))
    }

    /// What the slot clock shows when the wall clock shows `wall`.
    fn advance(&mut self, wall: Duration, at: Instant) {
        let by_monotonic = self.anchor.0 + at.duration_since(self.anchor.1);
        if !self.alone && wall < self.last {
            let behind = by_monotonic.saturating_sub(wall);
            tracing::warn!(?behind, "the wall clock went back; slots run on by monotonic time");
            self.alone = true;
        } else if self.alone && wall >= by_monotonic {
            tracing::info!("the wall clock has caught up; slots follow it again");
            self.alone = false;
        }
        if !self.alone {
            self.anchor = (wall, at);
        }
        self.last = if self.alone { by_monotonic } else { wall };
    }
}

/// Since 1970; a clock that shows a time before that shows 1970.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::BareFlags;
    use model::{
        Location,
        schedule::{Limits, Next, Schedule},
    };

    /// Readings of the wall clock, one a second; what the slot clock shows, both in seconds from the start.
    fn check(wall: &[i64], want: &[i64]) {
        let (t0, i0) = (1_800_000_000i64, Instant::now());
        let secs = |s: i64| Duration::from_secs(s.unsigned_abs());
        let mut clock = SlotClock::at(secs(t0), i0);
        let show = |(i, w): (usize, &i64)| {
            clock.advance(secs(t0 + w), i0 + Duration::from_secs(i as u64 + 1));
            clock.last.as_secs() as i64 - t0
        };
        let got: Vec<_> = wall.iter().enumerate().map(show).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn follows_the_wall_clock_forward() {
        check(&[1, 2, 3602, 3603], &[1, 2, 3602, 3603]);
    }

    #[test]
    fn never_goes_back_and_follows_again_when_the_wall_clock_has_caught_up() {
        check(&[1, 2, -3597, -3596, -3595], &[1, 2, 3, 4, 5]);
        check(&[1, 2, -1, 0, 20, 21], &[1, 2, 3, 4, 20, 21]);
    }

    /// The slots of a target that is due every minute, while a wall clock goes so many seconds wrong at each second of an hour.
    fn due(wrong: impl Fn(i64) -> i64) -> Vec<UnixMs> {
        let (t0, i0) = (1_800_000_000i64, Instant::now());
        let wall = |s: i64| Duration::from_secs((t0 + s + wrong(s)).unsigned_abs());
        let mut clock = SlotClock::at(wall(0), i0);
        let mut now = |s: i64| {
            clock.advance(wall(s), i0 + Duration::from_secs(s.unsigned_abs()));
            UnixMs(i64::try_from(clock.last.as_millis()).expect("in this century"))
        };
        let here = Location::new("here").expect("a location");
        let (limits, flags) = (Limits { concurrency: 10, per_host: 10 }, BareFlags::default());
        let targets = config::bare_targets(&["http://a.example/".into()], &flags, None).expect("a URL");
        let mut schedule = Schedule::new(here.clone(), limits);
        schedule.set(&here, limits, &targets, now(0));
        let mut due = Vec::new();
        for s in 1..3600 {
            while let Next::Start(job) = schedule.next(now(s)) {
                due.push(job.slot.due_at);
                schedule.done(&job, false);
            }
        }
        due
    }

    #[test]
    fn a_wall_clock_that_goes_back_an_hour_and_forth_again_changes_no_slot() {
        let right = due(|_| 0);
        assert!((60..=61).contains(&right.len()), "the current slot, and one each minute: {}", right.len());
        assert_eq!(due(|s| if (200..1400).contains(&s) { -3600 } else { 0 }), right);
        assert_eq!(due(|s| if s % 700 < 300 { -3600 } else { 0 }), due(|s| if s < 300 { -3600 } else { 0 }));
    }

    #[test]
    fn a_wall_clock_that_jumps_an_hour_ahead_and_back_leaves_out_that_hour_and_no_slot_is_there_twice() {
        let ahead = due(|s| if (200..1400).contains(&s) { 3600 } else { 0 });
        let steps: Vec<_> = ahead.windows(2).map(|w| w[1].since(w[0])).collect();
        let minute = Duration::from_secs(60);
        assert!(steps.iter().all(|s| *s == minute || *s > 59 * minute), "{steps:?}");
        assert_eq!(steps.iter().filter(|s| **s > minute).count(), 1, "{steps:?}");
        assert!((60..=61).contains(&ahead.len()), "{}", ahead.len());
    }
}
