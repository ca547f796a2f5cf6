//! Tables: a row is a sentence, a site, a check of it and what it must say. The rows of a table run side by side.

use crate::ask::{Ask, PHASES, Seen};
use model::Phase;
use std::{any::Any, time::Duration};
use tokio::task::JoinSet;

/// What a phase may take on a busy machine although nothing happens in it.
const SHORT: Duration = Duration::from_millis(80);
/// A noisy moment may spoil one run, a wrong clock spoils all of them.
const RUNS: usize = 6;
/// How a check says that the moment was noisy.
pub const OVERLOADED: &str = "unknown prober_overloaded";

pub struct Row {
    sentence: &'static str,
    want: &'static str,
    ask: Ask,
    takes: Option<(Phase, Duration)>,
    also: Vec<Also>,
    /// The site, and whatever else must live as long as the check.
    _kept: Box<dyn Any + Send + Sync>,
}

type Also = (&'static str, Box<dyn Fn(&Seen) -> bool + Send + Sync>);

pub fn row(sentence: &'static str, want: &'static str, kept: impl Send + Sync + 'static, ask: Ask) -> Row {
    Row { sentence, want, ask, takes: None, also: Vec::new(), _kept: Box::new(kept) }
}

impl Row {
    /// The phase has this time, and the others none to speak of.
    pub fn takes(self, phase: Phase, ms: u64) -> Self {
        Self { takes: Some((phase, Duration::from_millis(ms))), ..self }
    }

    pub fn also(mut self, what: &'static str, holds: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        self.also.push((what, Box::new(holds)));
        self
    }

    /// What is wrong, if anything.
    async fn run(&self) -> Option<String> {
        let mut wrong = String::new();
        for _ in 0..RUNS {
            let seen = self.ask.check().await;
            if seen.said == OVERLOADED && self.want != OVERLOADED {
                wrong = format!("{}: {}", self.sentence, seen.message);
                continue;
            }
            if let Some(what) = self.misses(&seen) {
                return Some(format!("{}: {what}\n{} {:#?}", self.sentence, seen.message, seen.look));
            }
            match self.takes.filter(|&(phase, time)| !has(&seen, phase, time)) {
                None => return None,
                Some(takes) => wrong = format!("{}: {takes:?} expected, {:#?}", self.sentence, seen.look.phases),
            }
        }
        Some(wrong)
    }

    fn misses(&self, seen: &Seen) -> Option<String> {
        if seen.said != self.want {
            return Some(format!("{:?} expected, got {:?}", self.want, seen.said));
        }
        self.also.iter().find(|(_, holds)| !holds(seen)).map(|(what, _)| format!("not so: {what}"))
    }
}

fn has(seen: &Seen, phase: Phase, time: Duration) -> bool {
    let others = PHASES.into_iter().filter(|&p| p != phase);
    seen.time(phase) >= time && seen.time(phase) < time + 2 * SHORT && others.into_iter().all(|p| seen.time(p) < SHORT)
}

/// Runs all of them and names every one that fails.
pub async fn all(rows: impl IntoIterator<Item = Row>) {
    let mut running = JoinSet::new();
    for row in rows {
        running.spawn(async move { row.run().await });
    }
    let wrong: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} rows fail:\n{}", wrong.len(), wrong.join("\n"));
}
