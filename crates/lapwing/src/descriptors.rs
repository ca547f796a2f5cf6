//! File descriptors: as many as this machine lets us have, and no more checks in flight than they are enough for.

use config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A check has one connection; while it looks a name up, or tries a second address, it has two sockets.
const EACH: u64 = 2;
/// For all the rest: the runtime, the queue and the store, connections to a database and to brokers, those of the pages.
const RESERVE: u64 = 64;

/// Raises the limit of open files to the most that we may have.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(error = %e, "the limit of open files can't be raised");
    }
}

/// Makes of the usual number of checks in flight one that fits; one that somebody wrote must fit.
///
/// # Errors
/// That it does not, with the numbers.
pub fn fit(config: &mut Config) -> Result<(), String> {
    let checks = config.probe.concurrency;
    let Some(limit) = too_few_for(checks) else { return Ok(()) };
    if config.concurrency_is_written {
        return Err(format!(
            "probe.concurrency: {checks} checks in flight need {} open files, and this process may have {limit} (ulimit -n); \
             raise that limit, or lower probe.concurrency to at most {}",
            needed_for(checks),
            enough_for(limit)
        ));
    }
    config.probe.concurrency = clamp(checks);
    Ok(())
}

/// As many checks in flight as fit, for who would not rather have an error.
pub fn clamp(checks: usize) -> usize {
    let Some(limit) = too_few_for(checks) else { return checks };
    let (needed, fit) = (needed_for(checks), enough_for(limit));
    tracing::warn!(limit, "{checks} checks in flight need {needed} open files; at most {fit} are in flight at once");
    fit
}

/// The limit, if it is too low for so many checks.
fn too_few_for(checks: usize) -> Option<u64> {
    getrlimit(Resource::Nofile).current.filter(|limit| *limit < needed_for(checks) && checks > enough_for(*limit))
}

fn needed_for(checks: usize) -> u64 {
    (checks as u64).saturating_mul(EACH).saturating_add(RESERVE)
}

/// At least one, however low the limit is: then it is tried, and says itself what it lacks.
fn enough_for(limit: u64) -> usize {
    usize::try_from(limit.saturating_sub(RESERVE) / EACH).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_enough_for_some_checks_is_what_they_need() {
        assert_eq!((needed_for(1000), enough_for(2064), enough_for(2063)), (2064, 1000, 999));
        assert_eq!((enough_for(128), enough_for(65), enough_for(0)), (32, 1, 1));
        assert_eq!(needed_for(usize::MAX), u64::MAX);
    }
}
