//! Dead letters that people look after, on PostgreSQL.

use super::{PostgresStore, columns::Time, error::Fault, rows, session::Session};
use crate::{
    Keep, Letter, Retried, Select, StoreError, dead,
    letters::{COLUMNS, StillDead, due_ids, entry, next_retry, revived},
};
use model::{
    UnixMs,
    batch::{Content, Entry},
};
use std::collections::{HashMap, HashSet};
use tokio_postgres::{
    Row as SqlRow,
    types::{ToSql, Type},
};

/// What a [`Select`] means; its parameters are the first five.
const WHERE: &str = "($1 is null or id = any($1)) and ($2 is null or reason = $2) and ($3 is null or key = $3)
    and ($4 is null or failed_at < $4) and ($5 is null or (resolved_at is not null) = $5)";

/// The parameters of [`WHERE`].
struct Values<'s> {
    select: &'s Select,
    key: Option<&'s [u8]>,
    before: Option<Time>,
}

impl<'s> Values<'s> {
    fn of(select: &'s Select) -> Self {
        let key = select.target.as_deref().map(str::as_bytes);
        Self { select, key, before: select.before.map(Time) }
    }

    fn and<'v>(&'v self, more: &[(&'v (dyn ToSql + Sync), Type)]) -> Vec<(&'v (dyn ToSql + Sync), Type)> {
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            (&self.select.ids, Type::INT8_ARRAY),
            (&self.select.reason, Type::TEXT),
            (&self.key, Type::BYTEA),
            (&self.before, Type::TIMESTAMPTZ),
            (&self.select.resolved, Type::BOOL),
        ];
        values.extend(more.iter().cloned());
        values
    }
}

impl PostgresStore {
    pub(crate) async fn letters(&mut self, select: &Select, after: i64, most: u32) -> Result<Vec<Letter>, StoreError> {
        self.with_session("read dead letters in", async |session, _| {
            let query = format!("select {COLUMNS} from dead_letters where {WHERE} and id > $6 order by id limit $7");
            let (values, most) = (Values::of(select), i64::from(most));
            let values = values.and(&[(&after, Type::INT8), (&most, Type::INT8)]);
            let rows = session.client.query_typed(&query, &values).await?;
            rows.iter().map(letter).collect()
        })
        .await
    }

    pub(crate) async fn due_letters(&mut self, now: UnixMs, most: u32) -> Result<Vec<Letter>, StoreError> {
        self.with_session("read dead letters in", async |session, _| {
            let ids = due_ids("$1", "$2");
            let query = format!("select {COLUMNS} from dead_letters where id in ({ids}) order by next_retry_at, id");
            let values: [(&(dyn ToSql + Sync), Type); 2] =
                [(&Time(now), Type::TIMESTAMPTZ), (&i64::from(most), Type::INT8)];
            let rows = session.client.query_typed(&query, &values).await?;
            rows.iter().map(letter).collect()
        })
        .await
    }

    pub(crate) async fn make_due(&mut self, select: &Select, now: UnixMs) -> Result<u64, StoreError> {
        self.with_session("make dead letters due in", async |session, _| {
            let update = format!("update dead_letters set next_retry_at = $6 where {WHERE} and resolved_at is null");
            let (values, now) = (Values::of(select), Time(now));
            Ok(session.client.execute_typed(&update, &values.and(&[(&now, Type::TIMESTAMPTZ)])).await?)
        })
        .await
    }

    pub(crate) async fn purge(&mut self, select: &Select) -> Result<u64, StoreError> {
        self.with_session("delete dead letters in", async |session, _| {
            let delete = format!("delete from dead_letters where {WHERE}");
            Ok(session.client.execute_typed(&delete, &Values::of(select).and(&[])).await?)
        })
        .await
    }

    pub(crate) async fn retry(
        &mut self,
        letters: &[(Letter, Content)],
        keep: &Keep,
    ) -> Result<Vec<Retried>, StoreError> {
        self.with_session("try dead letters again in", async |session, _| {
            let mut retrying =
                Retrying { session, keep, entries: letters.iter().map(|(letter, _)| entry(letter)).collect() };
            retrying.all(letters).await
        })
        .await
    }
}

/// Letters that are tried, in one transaction.
struct Retrying<'s> {
    session: &'s mut Session,
    keep: &'s Keep,
    entries: Vec<Entry>,
}

impl Retrying<'_> {
    /// The rows and what becomes of their letters, or nothing.
    async fn all(&mut self, letters: &[(Letter, Content)]) -> Result<Vec<Retried>, Fault> {
        let mut still: HashMap<i64, StillDead> = HashMap::new();
        let mut results = Vec::with_capacity(letters.len());
        for ((letter, content), entry) in letters.iter().zip(&self.entries) {
            match revived(letter, content, self.keep) {
                Ok(record) => results.push((record, entry)),
                Err(why) => drop(still.insert(letter.id, why)),
            }
        }
        let Self { session, keep, .. } = self;
        let refuse = |entry: &Entry, why| drop(still.insert(entry.offset, StillDead::refused(why)));
        let mut rows = rows::prepare(session, results, keep.now, refuse).await?;
        session.client.batch_execute("begin").await?;
        let ours = ours(session, letters).await?;
        rows.retain(|row| ours.contains(&row.entry.offset));
        for (row, why) in rows::insert(session, rows).await?.refused {
            still.insert(row.entry.offset, StillDead::refused(why));
        }
        let mut became = Vec::with_capacity(letters.len());
        let mut resolved = Vec::new();
        for (letter, _) in letters {
            became.push(match still.remove(&letter.id) {
                _ if !ours.contains(&letter.id) => Retried::Elsewhere,
                Some(why) => failed(session, letter, why, keep).await?,
                None => {
                    resolved.push(letter.id);
                    Retried::Resolved
                }
            });
        }
        let resolve = "update dead_letters set resolved_at = $2, next_retry_at = null, attempts = attempts + 1 where id = any($1)";
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&resolved, Type::INT8_ARRAY), (&Time(keep.now), Type::TIMESTAMPTZ)];
        session.client.execute_typed(resolve, &values).await?;
        session.client.batch_execute("commit").await?;
        Ok(became)
    }
}

/// Takes the letters in hand, but those that another writer has or is done with.
async fn ours(session: &Session, letters: &[(Letter, Content)]) -> Result<HashSet<i64>, Fault> {
    let ids: Vec<_> = letters.iter().map(|(letter, _)| letter.id).collect();
    let query = "select id from dead_letters where id = any($1) and resolved_at is null for update skip locked";
    let rows = session.client.query_typed(query, &[(&ids, Type::INT8_ARRAY)]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

async fn failed(session: &Session, letter: &Letter, still: StillDead, keep: &Keep) -> Result<Retried, Fault> {
    let StillDead { reason, why } = still;
    // A text of PostgreSQL has no NUL.
    let why = why.replace('\0', "\u{fffd}");
    let next = next_retry(&reason, letter.attempts.saturating_add(1), keep.now).map(Time);
    let update = "update dead_letters set attempts = attempts + 1, reason = $2, message = $3, next_retry_at = $4
                  where id = $1 and resolved_at is null";
    let values: [(&(dyn ToSql + Sync), Type); 4] =
        [(&letter.id, Type::INT8), (&reason, Type::TEXT), (&why, Type::TEXT), (&next, Type::TIMESTAMPTZ)];
    session.client.execute_typed(update, &values).await?;
    Ok(Retried::Failed(why))
}

fn letter(row: &SqlRow) -> Result<Letter, Fault> {
    let time = |n| row.try_get::<_, Option<Time>>(n).map(|time| time.map(|Time(at)| at));
    let Time(failed_at) = row.try_get(9)?;
    Ok(Letter {
        id: row.try_get(0)?,
        reason: row.try_get(1)?,
        message: row.try_get(2)?,
        topic: row.try_get(3)?,
        partition: row.try_get(4)?,
        offset: row.try_get(5)?,
        key: row.try_get(6)?,
        value: row.try_get(7)?,
        headers: dead::read_headers(row.try_get(8)?),
        failed_at,
        attempts: row.try_get(10)?,
        next_retry_at: time(11)?,
        resolved_at: time(12)?,
    })
}
