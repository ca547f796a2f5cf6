//! Dead letters that people look after, on PostgreSQL.

use super::{
    PostgresStore,
    columns::{Row, Time},
    days::day_of,
    error::Fault,
    rows,
    session::Session,
};
use crate::{
    Class, Keep, Letter, Retried, Select, StoreError, dead,
    letters::{COLUMNS, StillDead, entry, next_retry, revived},
};
use model::{UnixMs, batch::Content, mark::Marked};
use tokio_postgres::{
    Row as SqlRow,
    types::{ToSql, Type},
};

/// What a [`Select`] means; its parameters are the first six.
const WHERE: &str = "($1 is null or id = any($1)) and ($2 is null or reason = $2) and ($3 is null or key = $3)
    and ($4 is null or failed_at < $4) and ($5 is null or (resolved_at is not null) = $5)
    and ($6 is null or next_retry_at <= $6 and resolved_at is null)";

/// The parameters of [`WHERE`].
struct Values<'s> {
    select: &'s Select,
    key: Option<&'s [u8]>,
    before: Option<Time>,
    due: Option<Time>,
}

impl<'s> Values<'s> {
    fn of(select: &'s Select) -> Self {
        let key = select.target.as_deref().map(str::as_bytes);
        Self { select, key, before: select.before.map(Time), due: select.due.map(Time) }
    }

    fn and<'v>(&'v self, more: &[(&'v (dyn ToSql + Sync), Type)]) -> Vec<(&'v (dyn ToSql + Sync), Type)> {
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            (&self.select.ids, Type::INT8_ARRAY),
            (&self.select.reason, Type::TEXT),
            (&self.key, Type::BYTEA),
            (&self.before, Type::TIMESTAMPTZ),
            (&self.select.resolved, Type::BOOL),
            (&self.due, Type::TIMESTAMPTZ),
        ];
        values.extend(more.iter().cloned());
        values
    }
}

impl PostgresStore {
    pub(crate) async fn letters(&mut self, select: &Select, after: i64, most: u32) -> Result<Vec<Letter>, StoreError> {
        self.with_session("read dead letters in", async |session, _| {
            let query = format!("select {COLUMNS} from dead_letters where {WHERE} and id > $7 order by id limit $8");
            let (values, most) = (Values::of(select), i64::from(most));
            let values = values.and(&[(&after, Type::INT8), (&most, Type::INT8)]);
            let rows = session.client.query_typed(&query, &values).await?;
            rows.iter().map(letter).collect()
        })
        .await
    }

    pub(crate) async fn make_due(&mut self, select: &Select, now: UnixMs) -> Result<u64, StoreError> {
        self.with_session("make dead letters due in", async |session, _| {
            let update = format!("update dead_letters set next_retry_at = $7 where {WHERE} and resolved_at is null");
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
        letter: &Letter,
        content: &Content,
        keep: &Keep,
    ) -> Result<Retried, StoreError> {
        self.with_session("try a dead letter again in", async |session, _| match revived(letter, content, keep) {
            Ok(record) => retry(session, letter, record, keep).await,
            Err(still) => failed(session, letter, still, keep).await,
        })
        .await
    }
}

/// The row and the letter's resolution, both or neither.
async fn retry(session: &mut Session, letter: &Letter, record: &Marked, keep: &Keep) -> Result<Retried, Fault> {
    let entry = entry(letter);
    let ids = match session.names.learn(&session.client, &[record]).await {
        Ok(ids) => ids,
        Err(e) if e.class() == Class::Record => {
            return failed(session, letter, StillDead::refused(e.to_string()), keep).await;
        }
        Err(e) => return Err(e),
    };
    session.days.ensure(&session.client, [day_of(record.due_at)].into_iter(), keep.now).await?;
    session.client.batch_execute("begin").await?;
    if !is_ours(session, letter).await? {
        session.client.batch_execute("rollback").await?;
        return Ok(Retried::Elsewhere);
    }
    let rows = ids.into_iter().map(|ids| Row { record, entry: &entry, ids }).collect();
    let inserted = rows::insert(session, rows).await?;
    if let Some((_, why)) = inserted.refused.into_iter().next() {
        session.client.batch_execute("rollback").await?;
        return failed(session, letter, StillDead::refused(why), keep).await;
    }
    let resolve =
        "update dead_letters set resolved_at = $2, next_retry_at = null, attempts = attempts + 1 where id = $1";
    let now = Time(keep.now);
    session.client.execute_typed(resolve, &[(&letter.id, Type::INT8), (&now, Type::TIMESTAMPTZ)]).await?;
    session.client.batch_execute("commit").await?;
    Ok(Retried::Resolved)
}

/// Takes the letter in hand, unless another writer has it or is done with it.
async fn is_ours(session: &Session, letter: &Letter) -> Result<bool, Fault> {
    let query = "select 1 from dead_letters where id = $1 and resolved_at is null for update skip locked";
    Ok(!session.client.query_typed(query, &[(&letter.id, Type::INT8)]).await?.is_empty())
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
