//! Retention by partitions, and an index by target for days that are over. Nothing here takes a lock that a writer or a reader of
//! `checks` waits for.
//!
//! A partition goes in three steps, each of which may be the last one of a process: it is marked as going; it is detached
//! concurrently, or what an earlier try has left is finalised; and it is dropped. Only a table with the mark is dropped: what an
//! operator has detached to keep stays.

use super::{
    PostgresStore,
    days::{DAY_MS, Days, day, day_of},
    error::Fault,
    migrate::{DAYS_LOCK, UPKEEP_LOCK},
    session::Session,
};
use crate::{
    Keep, StoreError,
    upkeep::{Expired, Step},
};
use model::UnixMs;
use std::time::Duration;
use tokio_postgres::{Client, Row, types::Type};

/// The comment on a partition that is to be dropped.
const GOING: &str = "lapwing: goes by retention";
/// After its day is over results may still come late for so long before the index is made.
const SETTLED_MS: i64 = 3_600_000;
/// An index over a day of the largest installations, on a slow disk.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Days before and behind today for which an owner makes partitions, where those who write may not: so many nights may be missed.
const AROUND: i64 = 7;

/// A table of a day.
#[derive(Debug)]
pub(super) struct Partition {
    pub name: String,
    pub day: i64,
    pub is_attached: bool,
    pub is_half_detached: bool,
    pub is_going: bool,
    pub has_index: bool,
    pub bytes: i64,
    pub rows: i64,
}

impl Partition {
    fn is_expired(&self, keep: &Keep) -> bool {
        (self.day + 1) * DAY_MS <= keep.since().0
    }

    fn is_settled(&self, now: UnixMs) -> bool {
        (self.day + 1) * DAY_MS + SETTLED_MS <= now.0
    }
}

impl PostgresStore {
    pub(crate) async fn upkeep(&mut self, keep: &Keep) -> Result<Step, StoreError> {
        self.with_session_for(PATIENCE, "keep house in", async |session, _| {
            let client = &session.client;
            if !owns(client).await? {
                return Ok(Step::NotAllowed);
            }
            if !says_yes(client, &format!("select pg_try_advisory_lock({UPKEEP_LOCK})")).await? {
                return Ok(Step::Elsewhere);
            }
            let done = step(session, keep).await;
            // Where a step fails inside a transaction, nothing is done before that is undone.
            let undo = if done.is_err() { "rollback; " } else { "" };
            // If this fails the connection is gone, and the lock with it.
            session.client.batch_execute(&format!("{undo}select pg_advisory_unlock({UPKEEP_LOCK})")).await.ok();
            done
        })
        .await
    }

    pub(crate) async fn make_days(&mut self, keep: &Keep) -> Result<Option<[UnixMs; 2]>, StoreError> {
        self.with_session("make partitions in", async |session, _| {
            if !owns(&session.client).await? {
                return Ok(None);
            }
            let today = day_of(keep.now);
            let (first, last) = (day_of(keep.since()).max(today - AROUND), today + AROUND);
            session.days.ensure_all(&session.client, first..=last).await?;
            Ok(Some([first, last].map(|day| UnixMs(day * DAY_MS))))
        })
        .await
    }

    pub(crate) async fn expired(&mut self, keep: &Keep) -> Result<Expired, StoreError> {
        self.with_session("look for what has expired in", async |session, _| {
            let mut expired = Expired { partitions: Vec::new(), rows: 0, bytes: Some(0), before: keep.since() };
            for partition in partitions(&session.client).await? {
                if goes(&partition, keep) {
                    expired.rows += partition.rows.unsigned_abs();
                    expired.bytes = expired.bytes.map(|bytes| bytes + partition.bytes.unsigned_abs());
                    expired.partitions.push(partition.name);
                }
            }
            Ok(expired)
        })
        .await
    }
}

async fn owns(client: &Client) -> Result<bool, Fault> {
    says_yes(client, "select pg_has_role(relowner, 'usage') from pg_class where oid = 'checks'::regclass").await
}

/// Whether retention drops it: a table that somebody else has detached is theirs.
fn goes(partition: &Partition, keep: &Keep) -> bool {
    partition.is_expired(keep) && (partition.is_attached || partition.is_half_detached || partition.is_going)
}

async fn step(session: &mut Session, keep: &Keep) -> Result<Step, Fault> {
    let all = partitions(&session.client).await?;
    // A half detached one first: there can be no second one beside it.
    if let Some(half) = all.iter().find(|p| p.is_half_detached && !goes(p, keep)) {
        finalize(&session.client, &half.name).await?;
        return restore(session, half, keep).await;
    }
    let going = all.iter().filter(|p| goes(p, keep));
    if let Some(next) = going.min_by_key(|p| (!p.is_half_detached, p.day)) {
        return drop_partition(&session.client, next).await;
    }
    if let Some(wanted) = all.iter().find(|p| p.is_going && !p.is_attached) {
        return restore(session, wanted, keep).await;
    }
    let slow = all.iter().filter(|p| p.is_attached && !p.has_index && p.is_settled(keep.now));
    match slow.max_by_key(|p| p.day) {
        Some(partition) => index(&session.client, partition).await,
        None => ahead(session, keep).await,
    }
}

/// The partitions of the next days, also while nothing is written.
async fn ahead(session: &mut Session, keep: &Keep) -> Result<Step, Fault> {
    session.days.ensure(&session.client, std::iter::empty(), keep.now).await?;
    Ok(Step::Nothing)
}

async fn drop_partition(
    client: &Client,
    Partition { name, is_attached, is_half_detached, is_going, bytes, .. }: &Partition,
) -> Result<Step, Fault> {
    if !is_going {
        client.batch_execute(&format!("comment on table {name} is '{GOING}'")).await?;
    }
    if *is_half_detached {
        finalize(client, name).await?;
    } else if *is_attached {
        client.batch_execute(&format!("alter table checks detach partition {name} concurrently")).await?;
    }
    // Who needs the day after all has attached it again, or will find no table.
    client.batch_execute(&format!("begin; select pg_advisory_xact_lock({DAYS_LOCK})")).await?;
    let is_free = format!("select not exists (select from pg_inherits where inhrelid = '{name}'::regclass)");
    let is_free = says_yes(client, &is_free).await?;
    if is_free {
        client.batch_execute(&format!("drop table {name}")).await?;
    }
    client.batch_execute("commit").await?;
    Ok(match is_free {
        true => Step::Dropped { partition: name.clone(), bytes: bytes.unsigned_abs() },
        false => Step::Restored { partition: name.clone() },
    })
}

/// An interrupted `detach … concurrently` is half done: new transactions do not see the partition, old ones do.
async fn finalize(client: &Client, name: &str) -> Result<(), Fault> {
    Ok(client.batch_execute(&format!("alter table checks detach partition {name} finalize")).await?)
}

/// Retention is longer than it was.
async fn restore(session: &mut Session, partition: &Partition, keep: &Keep) -> Result<Step, Fault> {
    session.days = Days::default();
    session.days.ensure(&session.client, [partition.day].into_iter(), keep.now).await?;
    session.client.batch_execute(&format!("comment on table {} is null", partition.name)).await?;
    Ok(Step::Restored { partition: partition.name.clone() })
}

/// By-target reads of a day that is over. (A result that comes later still finds its place, only slower.)
async fn index(client: &Client, Partition { name, .. }: &Partition) -> Result<Step, Fault> {
    // What an interrupted try has left is no index. It waits for transactions that are older, and holds nobody up meanwhile.
    client.batch_execute(&format!("drop index concurrently if exists {name}_by_target")).await?;
    client.batch_execute("set lock_timeout = '20min'").await?;
    let made = format!("create index concurrently {name}_by_target on {name} (target, due_at)");
    let made = client.batch_execute(&made).await;
    client.batch_execute("set lock_timeout = '5s'").await?;
    made?;
    Ok(Step::Indexed { partition: name.clone() })
}

pub(super) async fn partitions(client: &Client) -> Result<Vec<Partition>, Fault> {
    let query = "select tables.relname::text,
            parts.inhparent is not null and not parts.inhdetachpending, coalesce(parts.inhdetachpending, false),
            coalesce(obj_description(tables.oid, 'pg_class') = $1, false),
            exists (select from pg_index join pg_class names on names.oid = indexrelid
                    where indrelid = tables.oid and indisvalid and names.relname = tables.relname || '_by_target'),
            pg_total_relation_size(tables.oid),
            greatest(tables.reltuples::bigint, pg_stat_get_live_tuples(tables.oid), 0)
        from pg_class tables
        left join pg_inherits parts on parts.inhrelid = tables.oid and parts.inhparent = 'checks'::regclass
        where tables.relkind = 'r' and tables.relname like 'checks\\_%'
            and tables.relnamespace = (select relnamespace from pg_class where oid = 'checks'::regclass)
        order by 1";
    let rows = client.query_typed(query, &[(&GOING, Type::TEXT)]).await?;
    Ok(rows.iter().map(partition).collect::<Result<Vec<_>, Fault>>()?.into_iter().flatten().collect())
}

/// `None`: a table that is named alike.
fn partition(row: &Row) -> Result<Option<Partition>, Fault> {
    let name: String = row.try_get(0)?;
    let Some(day) = day(&name) else { return Ok(None) };
    Ok(Some(Partition {
        name,
        day,
        is_attached: row.try_get(1)?,
        is_half_detached: row.try_get(2)?,
        is_going: row.try_get(3)?,
        has_index: row.try_get(4)?,
        bytes: row.try_get(5)?,
        rows: row.try_get(6)?,
    }))
}

async fn says_yes(client: &Client, query: &str) -> Result<bool, Fault> {
    let rows = client.query_typed(query, &[]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}
