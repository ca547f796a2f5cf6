//! Dead letters that people look after, on SQLite.

use super::{
    SqliteStore,
    rows::{Inserted, Row},
};
use crate::{
    Keep, Letter, Retried, Select, StoreError, dead,
    letters::{COLUMNS, StillDead, due_ids, entry, next_retry, revived},
};
use ::sqlite::Error;
use model::{UnixMs, batch::Content};
use sqlx::{
    AssertSqlSafe, Row as _, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

/// What a [`Select`] means; its parameters are the first five. Times are texts of one length, which sort as times do.
const WHERE: &str = "(?1 is null or id in (select value from json_each(?1))) and (?2 is null or reason = ?2)
    and (?3 is null or key = ?3) and (?4 is null or failed_at < ?4) and (?5 is null or (resolved_at is not null) = ?5)";

impl SqliteStore {
    pub(crate) async fn letters(&mut self, select: &Select, after: i64, most: u32) -> Result<Vec<Letter>, StoreError> {
        let query = format!("select {COLUMNS} from dead_letters where {WHERE} and id > ?6 order by id limit ?7");
        let query = bound(query, select).bind(after).bind(most);
        let rows = query.fetch_all(self.connection.sql()).await;
        let letters = rows.and_then(|rows| rows.iter().map(letter).collect());
        letters.map_err(|e| Error::new("read dead letters in", self.file.path(), e).into())
    }

    pub(crate) async fn due_letters(&mut self, now: UnixMs, most: u32) -> Result<Vec<Letter>, StoreError> {
        let ids = due_ids("?1", "?2");
        let query = format!("select {COLUMNS} from dead_letters where id in ({ids}) order by next_retry_at, id");
        let query = sqlx::query(AssertSqlSafe(query)).bind(now.to_string()).bind(most);
        let rows = query.fetch_all(self.connection.sql()).await;
        let letters = rows.and_then(|rows| rows.iter().map(letter).collect());
        letters.map_err(|e| Error::new("read dead letters in", self.file.path(), e).into())
    }

    pub(crate) async fn make_due(&mut self, select: &Select, now: UnixMs) -> Result<u64, StoreError> {
        let update = format!("update dead_letters set next_retry_at = ?6 where {WHERE} and resolved_at is null");
        let made = bound(update, select).bind(now.to_string()).execute(self.connection.sql()).await;
        let made = made.map(|done| done.rows_affected());
        made.map_err(|e| Error::new("make dead letters due in", self.file.path(), e).into())
    }

    pub(crate) async fn purge(&mut self, select: &Select) -> Result<u64, StoreError> {
        let delete = format!("delete from dead_letters where {WHERE}");
        let gone = bound(delete, select).execute(self.connection.sql()).await;
        let gone = gone.map(|done| done.rows_affected());
        gone.map_err(|e| Error::new("delete dead letters in", self.file.path(), e).into())
    }

    pub(crate) async fn retry(
        &mut self,
        letters: &[(Letter, Content)],
        keep: &Keep,
    ) -> Result<Vec<Retried>, StoreError> {
        let retried = self.retry_all(letters, keep).await;
        retried.map_err(|e| Error::new("try dead letters again in", self.file.path(), e).into())
    }

    /// The rows and what becomes of their letters, or nothing.
    async fn retry_all(&mut self, letters: &[(Letter, Content)], keep: &Keep) -> sqlx::Result<Vec<Retried>> {
        // As with a batch: numbers count once they are committed.
        let mut names = std::mem::take(&mut self.names);
        self.connection.begin().await?;
        let work = async {
            let (sql, mut became) = (self.connection.sql(), Vec::with_capacity(letters.len()));
            for (letter, content) in letters {
                became.push(match revived(letter, content, keep) {
                    Ok(record) => {
                        let ids = names.ids(sql, record).await?;
                        match self.inserts.insert(sql, &[(Row::new(record, ids), &entry(letter))]).await? {
                            Inserted::Refused(why) => failed(sql, letter, StillDead::refused(why), keep).await?,
                            Inserted::Rows(_) => resolve(sql, letter, keep).await?,
                        }
                    }
                    Err(still) => failed(sql, letter, still, keep).await?,
                });
            }
            Ok(became)
        };
        let work = work.await;
        let retried = self.connection.end(work).await?;
        self.names = names;
        Ok(retried)
    }
}

fn bound(text: String, select: &Select) -> Query<'static, Sqlite, SqliteArguments> {
    let ids = select.ids.as_ref().map(|ids| format!("{ids:?}")); // numbers as a list are JSON
    sqlx::query(AssertSqlSafe(text))
        .bind(ids)
        .bind(select.reason.clone())
        .bind(select.target.as_ref().map(|target| target.as_bytes().to_vec()))
        .bind(select.before.map(|at| at.to_string()))
        .bind(select.resolved)
}

async fn resolve(sql: &mut SqliteConnection, letter: &Letter, keep: &Keep) -> sqlx::Result<Retried> {
    let update = sqlx::query(
        "update dead_letters set resolved_at = ?2, next_retry_at = null, attempts = attempts + 1
         where id = ?1 and resolved_at is null",
    );
    let done = update.bind(letter.id).bind(keep.now.to_string()).execute(sql).await?;
    Ok(if done.rows_affected() == 1 { Retried::Resolved } else { Retried::Elsewhere })
}

async fn failed(sql: &mut SqliteConnection, letter: &Letter, still: StillDead, keep: &Keep) -> sqlx::Result<Retried> {
    let StillDead { reason, why } = still;
    let next = next_retry(&reason, letter.attempts.saturating_add(1), keep.now).map(|at| at.to_string());
    let update = sqlx::query(
        "update dead_letters set attempts = attempts + 1, reason = ?2, message = ?3, next_retry_at = ?4
         where id = ?1 and resolved_at is null",
    );
    update.bind(letter.id).bind(reason).bind(why.clone()).bind(next).execute(sql).await?;
    Ok(Retried::Failed(why))
}

fn letter(row: &SqliteRow) -> sqlx::Result<Letter> {
    let time = |n| {
        let text: Option<String> = row.try_get(n)?;
        let parsed = text.map(|text| text.parse::<UnixMs>()).transpose();
        parsed.map_err(|e| sqlx::Error::Decode(format!("no time in dead_letters: {e:?}").into()))
    };
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
        failed_at: time(9)?.unwrap_or(UnixMs(0)),
        attempts: row.try_get(10)?,
        next_retry_at: time(11)?,
        resolved_at: time(12)?,
    })
}
