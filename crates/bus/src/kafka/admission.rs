//! Whether the group has let us in. Kafka may answer all else and yet give us nothing to read for minutes: the coordinator of the
//! group is not there, or a member that hangs is waited for.

use super::reach::Reach;
use model::trouble::{Lasting, Say};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A group that changes takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Admission {
    group: String,
    reach: Reach,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when Kafka answers and we are no member that reads.
    out: Option<Instant>,
    lasting: Lasting,
}

impl Admission {
    pub fn new(group: &str, reach: &Reach) -> Self {
        Self { group: group.to_owned(), reach: reach.clone(), state: Mutex::default() }
    }

    /// The states of the group's coordinator and of our joining, as librdkafka's statistics name them.
    pub fn see(&self, coordinator: &str, joining: &str, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let group = &*self.group;
        if coordinator == "up" && joining == "steady" {
            state.out = None;
            self.reach.set_stalled(None);
            if let Some(Say::Over(lasted)) = state.lasting.gone(now) {
                tracing::info!(group, ?lasted, "the group has let us in");
            }
            return;
        }
        if self.reach.is_away() {
            state.out = None; // which is said already
            return;
        }
        let lasted = now.saturating_duration_since(*state.out.get_or_insert(now));
        if lasted < PATIENCE {
            return;
        }
        let why = if coordinator == "up" {
            "another member hangs: it is waited for until its session.timeout.ms or max.poll.interval.ms is over"
        } else {
            "its coordinator can't be reached"
        };
        let s = lasted.as_secs();
        let stalled =
            format!("group {group} has not let us in for {s} s: {why} (librdkafka: {coordinator}, {joining})");
        self.reach.set_stalled(Some(stalled.into()));
        if let Some(Say::Begins | Say::Lasts(_)) = state.lasting.met(now) {
            tracing::warn!(
                group,
                coordinator,
                joining,
                ?lasted,
                why,
                "the group does not let us in; results wait in Kafka"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told after these seconds in these states.
    fn told(seen: &[(u64, &str, &str)]) -> Option<String> {
        let (reach, start) = (Reach::default(), Instant::now());
        let admission = Admission::new("g", &reach);
        for (s, coordinator, joining) in seen {
            admission.see(coordinator, joining, start + Duration::from_secs(*s));
        }
        reach.trouble().map(|trouble| trouble.to_string())
    }

    #[test]
    fn a_group_that_does_not_let_us_in_is_told_when_it_lasts_until_it_does() {
        assert_eq!(told(&[(0, "up", "wait-join"), (29, "up", "wait-sync")]), None);
        let waits = told(&[(0, "up", "wait-join"), (31, "up", "wait-join")]).expect("a trouble");
        assert!(waits.contains("group g") && waits.contains("31 s") && waits.contains("another member"), "{waits}");
        let lost = told(&[(5, "up", "steady"), (7, "wait-coord", "steady"), (38, "query-coord", "init")]);
        assert!(lost.expect("a trouble").contains("coordinator can't be reached"));
        assert_eq!(told(&[(0, "up", "init"), (31, "up", "init"), (33, "up", "steady")]), None);
        assert_eq!(told(&[(0, "up", "init"), (20, "up", "steady"), (40, "up", "wait-join")]), None);
    }

    #[test]
    fn while_kafka_is_away_that_alone_is_told() {
        let (reach, start) = (Reach::new(), Instant::now());
        let admission = Admission::new("g", &reach);
        let see = |s| admission.see("query-coord", "init", start + Duration::from_secs(s));
        see(0);
        see(40);
        reach.is_fine();
        see(41);
        see(70);
        assert_eq!(reach.trouble(), None);
        see(72);
        assert!(reach.trouble().is_some());
    }
}
