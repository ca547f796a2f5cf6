//! Partitions of `checks`, a day each: made ahead while there is time, and behind for late results. No writer waits for it.

use super::{error::Fault, migrate::DAYS_LOCK};
use model::UnixMs;
use std::{
    collections::{BTreeSet, HashSet},
    ops::RangeInclusive,
    time::Duration,
};
use tokio_postgres::{Client, error::SqlState};

pub(super) const DAY_MS: i64 = 86_400_000;
/// Today and two more: results are due up to a day ahead, and a night without anybody at work passes unharmed.
const AHEAD: i64 = 2;

/// Before what can't be made ahead is tried again: when it may pass, and when it is for the owner of the tables to do.
const AHEAD_AGAIN: Duration = Duration::from_secs(300);
const AHEAD_AGAIN_NOT_OURS: Duration = Duration::from_secs(3600);

/// What is known of the partitions.
#[derive(Debug, Default)]
pub(super) struct Days {
    /// Days since 1970 that have one.
    known: HashSet<i64>,
    ahead_after: Option<UnixMs>,
}

/// The day (UTC) of a moment.
pub(super) fn day_of(time: UnixMs) -> i64 {
    time.0.div_euclid(DAY_MS)
}

impl Days {
    /// Sees to it that each of these days has its partition. Those ahead are wished for: without them this goes well too.
    pub async fn ensure(&mut self, client: &Client, days: impl Iterator<Item = i64>, now: UnixMs) -> Result<(), Fault> {
        let needed: BTreeSet<_> = days.filter(|day| !self.known.contains(day)).collect();
        if !needed.is_empty() {
            self.known = attached(client).await?;
            self.make(client, needed).await?;
        }
        if self.ahead_after.is_none_or(|after| after <= now) {
            let today = day_of(now);
            if let Err(error) = self.make(client, (today..=today + AHEAD).collect()).await {
                let is_ours = !matches!(error, Fault::NoDay { .. });
                self.ahead_after = Some(now + if is_ours { AHEAD_AGAIN } else { AHEAD_AGAIN_NOT_OURS });
                // Where the owner makes them, there is time until the last one that is there has come.
                if is_ours || !self.known.contains(&(today + 1)) {
                    tracing::warn!(%error, "partitions of the next days can't be made yet");
                }
            }
        }
        Ok(())
    }

    /// Sees to it that each of these days has its partition, of those that are not expected to be needed soon as well.
    pub async fn ensure_all(&mut self, client: &Client, days: RangeInclusive<i64>) -> Result<(), Fault> {
        self.make(client, days.collect()).await
    }

    /// Another process may have dropped some.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// In one transaction, one process at a time: two that create one table at once both fail.
    async fn make(&mut self, client: &Client, mut days: BTreeSet<i64>) -> Result<(), Fault> {
        days.retain(|day| !self.known.contains(day));
        if days.is_empty() {
            return Ok(());
        }
        client.batch_execute(&format!("begin; select pg_advisory_xact_lock({DAYS_LOCK})")).await?;
        let made = async {
            self.known = attached(client).await?;
            days.retain(|day| !self.known.contains(day));
            for day in &days {
                client.batch_execute(&statements(*day)).await?;
            }
            Ok(client.batch_execute("commit").await?)
        };
        let made: Result<(), Fault> = made.await;
        let Err(e) = made else {
            self.known.extend(days);
            return Ok(());
        };
        // The first error is the one to tell.
        client.batch_execute("rollback").await.ok();
        Err(match days.first() {
            Some(day) if e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Fault::NoDay { day: date(*day, "-") },
            _ => e,
        })
    }
}

/// Making the table apart and attaching it then takes no lock that a writer or a reader waits for, unlike `partition of`. A table
/// that is there already was detached, and comes back with its rows.
fn statements(day: i64) -> String {
    let midnight = |day: i64| UnixMs(day * DAY_MS).to_string();
    let (name, from, to) = (name(day), midnight(day), midnight(day + 1));
    format!(
        "create table if not exists {name} (like checks including all);
         alter table checks attach partition {name} for values from ('{from}') to ('{to}')"
    )
}

/// `checks_20261123`
fn name(day: i64) -> String {
    format!("checks_{}", date(day, ""))
}

fn date(day: i64, between: &str) -> String {
    UnixMs(day * DAY_MS).to_string().chars().take(10).collect::<String>().replace('-', between)
}

/// The day of a partition's name.
pub(super) fn day(name: &str) -> Option<i64> {
    let date = name.strip_prefix("checks_").filter(|date| date.len() == 8 && date.is_ascii())?;
    let midnight = format!("{}-{}-{}T00:00:00.000Z", &date[..4], &date[4..6], &date[6..]);
    midnight.parse().ok().map(day_of)
}

async fn attached(client: &Client) -> Result<HashSet<i64>, Fault> {
    let query = "select relname::text from pg_inherits join pg_class on pg_class.oid = inhrelid
                 where inhparent = 'checks'::regclass and not inhdetachpending";
    let rows = client.query_typed(query, &[]).await?;
    let names = rows.iter().map(|row| row.try_get::<_, &str>(0)).collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().filter_map(day).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_its_day() {
        let noon: UnixMs = "2026-11-23T12:00:00.000Z".parse().expect("a time");
        assert_eq!(name(day_of(noon)), "checks_20261123");
        assert_eq!(day("checks_20261123"), Some(day_of(noon)));
        assert_eq!(["checks", "checks_2026", "checks_20261399", "other_20261123"].map(day), [None; 4]);
        assert_eq!(day_of(UnixMs(-1)), -1);
    }
}
