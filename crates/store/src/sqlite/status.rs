//! What the file holds, for people.

use super::{KIND, SqliteStore, upkeep::sizes};
use crate::{
    StoreError,
    status::{Dead, Rows, Status},
};
use ::sqlite::Error;
use model::UnixMs;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

impl SqliteStore {
    pub(crate) async fn status(&mut self) -> Result<Status, StoreError> {
        let status = status(self.connection.sql()).await;
        status.map_err(|e| Error::new("look over", self.file.path(), e).into())
    }
}

async fn status(sql: &mut SqliteConnection) -> sqlx::Result<Status> {
    let (_, pages, page) = sizes(sql).await?;
    let counts = "select sqlite_version(), (select count(*) from checks), (select min(due_at) from checks),
        (select max(due_at) from checks), (select count(*) from targets), (select count(*) from locations),
        (select count(*) from facts), (select count(*) from dead_copies), (select count(*) from gaps)";
    let row = sqlx::query(counts).fetch_one(&mut *sql).await?;
    let count = |n: usize| row.try_get::<i64, _>(n).map(i64::unsigned_abs);
    let time = |n: usize| row.try_get::<Option<i64>, _>(n).map(|at| at.map(UnixMs));
    let dead =
        "select reason, count(*) - count(resolved_at), count(resolved_at) from dead_letters group by 1 order by 1";
    let dead = sqlx::query(dead).fetch_all(&mut *sql).await?;
    Ok(Status {
        server_version: row.try_get(0)?,
        schema_version: KIND.migrations.len() as i64, // other files are not opened
        bytes: (pages * page).unsigned_abs(),
        rows: Rows::Counted(count(1)?),
        oldest: time(2)?,
        newest: time(3)?,
        partitions: Vec::new(),
        targets: count(4)?,
        locations: count(5)?,
        facts: count(6)?,
        dead: dead.iter().map(of_reason).collect::<sqlx::Result<_>>()?,
        copies: count(7)?,
        gaps: count(8)?,
    })
}

fn of_reason(row: &SqliteRow) -> sqlx::Result<Dead> {
    let count = |n: usize| row.try_get::<i64, _>(n).map(i64::unsigned_abs);
    Ok(Dead { reason: row.try_get(0)?, waiting: count(1)?, resolved: count(2)? })
}
