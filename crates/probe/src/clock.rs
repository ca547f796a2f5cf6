//! The stopwatch of one attempt. It runs in exactly one phase at a time, so the phases add up to the total, always. A phase that
//! ends by what came ends when it came, however late we are.

use crate::arrival::Arrivals;
use model::{Phase, result::Phases};
use std::time::{Duration, Instant};

/// The phases that take time. (`expect` takes none: it is work of ours.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    Dns,
    Connect,
    Tls,
    Wait,
    Transfer,
}

impl Leg {
    pub fn phase(self) -> Phase {
        match self {
            Self::Dns => Phase::Dns,
            Self::Connect => Phase::Connect,
            Self::Tls => Phase::Tls,
            Self::Wait => Phase::Wait,
            Self::Transfer => Phase::Body,
        }
    }
}

#[derive(Debug)]
pub struct Clock {
    arrivals: Arrivals,
    phases: Phases,
    leg: Option<Leg>,
    /// What the running leg had before it was entered last; `None`: it had not been entered.
    before: Option<Duration>,
    /// `None` while it stands still.
    since: Option<Instant>,
}

impl Clock {
    pub fn new() -> Self {
        Self { arrivals: Arrivals::new(), phases: Phases::default(), leg: None, before: None, since: None }
    }

    /// The time from now on belongs to this leg. The others begin with something that we do; a body begins to come with its head,
    /// and may have come while that was not yet read. Says how long what ended the leg before had lain there.
    pub fn enter(&mut self, leg: Leg) -> Duration {
        let now = Instant::now();
        let ended = self.settle(now);
        self.leg = Some(leg);
        self.before = *self.slot(leg);
        self.slot(leg).get_or_insert_default();
        if leg == Leg::Transfer {
            self.since = Some(ended);
        } else {
            self.since = Some(now);
            self.arrivals.forget();
        }
        now.duration_since(ended)
    }

    /// What comes now is work of ours, not the site's time.
    pub fn pause(&mut self) -> Paused {
        let now = Instant::now();
        self.settle(now);
        self.since = None;
        Paused(now)
    }

    /// The site's time goes on. Says how long ours took.
    pub fn resume(&mut self, paused: &Paused) -> Duration {
        let now = Instant::now();
        self.since = Some(now);
        now.duration_since(paused.0)
    }

    pub fn stop(&mut self) {
        self.settle(Instant::now());
        self.since = None;
    }

    /// Stops at the end of the site's time, whatever came before it.
    pub fn run_out(&mut self) {
        self.arrivals.forget();
        self.stop();
    }

    /// What the running leg took since it was entered last was another one's after all.
    pub fn belongs_to(&mut self, other: Leg) {
        self.settle(Instant::now());
        let Some(leg) = self.leg else { return };
        let before = self.before;
        let taken = self.slot(leg).unwrap_or_default().saturating_sub(before.unwrap_or_default());
        *self.slot(leg) = before;
        *self.slot(other).get_or_insert_default() += taken;
        self.leg = Some(other);
    }

    /// What the attempt's sockets tell it.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// The leg that runs, or ran last.
    pub fn leg(&self) -> Leg {
        self.leg.unwrap_or(Leg::Connect)
    }

    pub fn phases(&self) -> Phases {
        self.phases
    }

    /// The leg has what it took until now, without the time for which what was read last had lain there. Says when that was.
    fn settle(&mut self, now: Instant) -> Instant {
        let (Some(leg), Some(since)) = (self.leg, self.since.replace(now)) else { return now };
        let took = now.duration_since(since).saturating_sub(self.arrivals.lain());
        *self.slot(leg).get_or_insert_default() += took;
        since + took
    }

    fn slot(&mut self, leg: Leg) -> &mut Option<Duration> {
        match leg {
            Leg::Dns => &mut self.phases.dns,
            Leg::Connect => &mut self.phases.connect,
            Leg::Tls => &mut self.phases.tls,
            Leg::Wait => &mut self.phases.wait,
            Leg::Transfer => &mut self.phases.transfer,
        }
    }
}

/// Given back to [`Clock::resume`].
#[derive(Debug)]
pub struct Paused(Instant);

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn time_belongs_to_the_leg_that_runs_and_a_pause_to_none() {
        let mut clock = Clock::new();
        clock.enter(Leg::Connect);
        sleep(5 * MS);
        clock.enter(Leg::Wait);
        let paused = clock.pause();
        sleep(20 * MS);
        assert!(clock.resume(&paused) >= 20 * MS);
        clock.stop();
        let phases = clock.phases();
        assert!(phases.connect >= Some(5 * MS) && phases.wait < Some(20 * MS), "{phases:?}");
        assert_eq!((phases.dns, phases.tls, phases.transfer), (None, None, None));
    }

    #[test]
    fn time_given_to_another_leg_leaves_no_trace() {
        let mut clock = Clock::new();
        clock.enter(Leg::Tls);
        clock.enter(Leg::Wait);
        sleep(5 * MS);
        clock.belongs_to(Leg::Tls);
        clock.stop();
        let phases = clock.phases();
        assert!(phases.tls >= Some(5 * MS) && phases.wait.is_none(), "{phases:?}");
        assert_eq!(clock.leg(), Leg::Tls);
    }

    #[test]
    fn of_two_hops_only_the_last_wait_is_given_away() {
        let mut clock = Clock::new();
        clock.enter(Leg::Wait);
        sleep(5 * MS);
        clock.enter(Leg::Tls);
        clock.enter(Leg::Wait);
        clock.belongs_to(Leg::Tls);
        assert!(clock.phases().wait >= Some(5 * MS));
    }
}
