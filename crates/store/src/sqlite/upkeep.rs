//! Retention in steps that a writer waits for no longer than for another batch.

use super::SqliteStore;
use crate::{
    Keep, StoreError,
    upkeep::{Expired, Step},
};
use ::sqlite::{Connection, Error};
use sqlx::{Row as _, SqliteConnection, raw_sql};

/// Rows of one step, and pages that one gives back.
const ROWS: i64 = 5_000;
const PAGES: i64 = 1_000;
/// Free pages are used again by the next rows. They are given back when they are more than this share of the file.
const FREE_SHARE: i64 = 4;

impl SqliteStore {
    pub(crate) async fn upkeep(&mut self, keep: &Keep) -> Result<Step, StoreError> {
        let done = step(&mut self.connection, keep).await;
        done.map_err(|e| Error::new("keep house in", self.file.path(), e).into())
    }

    pub(crate) async fn expired(&mut self, keep: &Keep) -> Result<Expired, StoreError> {
        let before = keep.since();
        let count = sqlx::query("select count(*) from checks where due_at < ?").bind(before.0);
        let rows = count.fetch_one(self.connection.sql()).await.and_then(|row| row.try_get::<i64, _>(0));
        let rows = rows.map_err(|e| Error::new("look for what has expired in", self.file.path(), e))?;
        Ok(Expired { partitions: Vec::new(), rows: rows.unsigned_abs(), bytes: None, before })
    }
}

async fn step(connection: &mut Connection, keep: &Keep) -> sqlx::Result<Step> {
    // Looked for without the lock that a writer needs.
    connection.settle().await?;
    let since = keep.since().0;
    let is_any = sqlx::query("select exists (select 1 from checks where due_at < ?)").bind(since);
    if is_any.fetch_one(connection.sql()).await?.try_get(0)? {
        connection.begin().await?;
        let work = delete(connection.sql(), since).await;
        let rows = connection.end(work).await?;
        return Ok(Step::Deleted { rows });
    }
    shrink(connection.sql()).await
}

/// The oldest rows, at most about [`ROWS`] of them: those that were due in the same millisecond go together.
async fn delete(sql: &mut SqliteConnection, since: i64) -> sqlx::Result<u64> {
    let last = sqlx::query("select due_at from checks where due_at < ? order by due_at limit 1 offset ?");
    let last = last.bind(since).bind(ROWS - 1).fetch_optional(&mut *sql).await?;
    let until: i64 = last.map(|row| row.try_get(0)).transpose()?.unwrap_or(since - 1);
    let delete = sqlx::query("delete from checks where due_at <= ?").bind(until);
    Ok(delete.execute(sql).await?.rows_affected())
}

async fn shrink(sql: &mut SqliteConnection) -> sqlx::Result<Step> {
    let (free, pages, page) = sizes(sql).await?;
    if free < PAGES || free < pages / FREE_SHARE {
        return Ok(Step::Nothing);
    }
    raw_sql(sqlx::AssertSqlSafe(format!("pragma incremental_vacuum({PAGES})"))).execute(&mut *sql).await?;
    let gone = pages - sizes(sql).await?.1;
    // A file of an earlier version gives nothing back; its free pages are used again.
    Ok(if gone > 0 { Step::Shrunk { bytes: (gone * page).unsigned_abs() } } else { Step::Nothing })
}

/// Free pages, all pages, and the bytes of one.
pub(super) async fn sizes(sql: &mut SqliteConnection) -> sqlx::Result<(i64, i64, i64)> {
    let query = "select freelist_count, page_count, page_size
                 from pragma_freelist_count, pragma_page_count, pragma_page_size";
    let row = sqlx::query(query).fetch_one(sql).await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}
