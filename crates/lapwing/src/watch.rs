//! What people on a terminal are told: one line per change of a target's state, and now and then a summary.

use model::{CheckResult, TargetId, Verdict, text::duration};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// With more targets than this a start does not name each one that is up.
const FEW: usize = 50;

#[derive(Debug, Default)]
pub struct Watch {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    targets: usize,
    last: HashMap<TargetId, Verdict>,
    checks: u64,
    shown: u64,
}

impl Watch {
    /// Which targets there are from now on; what was known of others is forgotten.
    pub fn set<'t>(&self, ids: impl Iterator<Item = &'t TargetId>) {
        let ids: std::collections::HashSet<_> = ids.collect();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.targets = ids.len();
        inner.last.retain(|id, _| ids.contains(id));
    }

    /// Takes note of a result, and tells it if it is a change.
    pub fn note(&self, result: &CheckResult) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.checks += 1;
        let before = match inner.last.get_mut(&result.target) {
            Some(known) => Some(std::mem::replace(known, result.verdict)),
            None => {
                inner.last.insert(result.target.clone(), result.verdict);
                None
            }
        };
        let quiet = before.is_none() && result.verdict == Verdict::Up && inner.targets > FEW;
        drop(inner);
        if before != Some(result.verdict) && !quiet {
            tell(result, before);
        }
    }

    /// One line for the last stretch of time; `None` when there is nothing to watch.
    pub fn summary(&self, over: Duration, waiting: u64) -> Option<String> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.targets == 0 {
            return None;
        }
        let mut by_verdict: BTreeMap<Verdict, usize> = BTreeMap::new();
        for verdict in inner.last.values() {
            *by_verdict.entry(*verdict).or_default() += 1;
        }
        let states: Vec<_> = by_verdict.iter().map(|(v, n)| format!("{n} {v}")).collect();
        let rate = (inner.checks - inner.shown) as f64 / over.as_secs_f64();
        inner.shown = inner.checks;
        let states = if states.is_empty() { "no result yet".into() } else { states.join(", ") };
        Some(format!("{} targets: {states}; {rate:.1} checks/s; {waiting} results wait to be stored", inner.targets))
    }
}

fn tell(result: &CheckResult, before: Option<Verdict>) {
    let was = before.map(|b| format!(" (was {b})")).unwrap_or_default();
    let took = result.look.as_ref().and_then(|l| Some((l.status?, l.total?)));
    let line = match (&result.finding, took) {
        (Some(f), _) => format!("{} is {}{was}: {}: {}", result.target, result.verdict, f.reason, f.message),
        (None, Some((status, total))) => {
            format!("{} is {}{was}: {status} in {}", result.target, result.verdict, duration(total))
        }
        (None, None) => format!("{} is {}{was}", result.target, result.verdict),
    };
    match result.verdict {
        Verdict::Up => tracing::info!("{line}"),
        Verdict::Degraded | Verdict::Down | Verdict::Unknown => tracing::warn!("{line}"),
    }
}
