//! What the database holds, for people.

use super::{PostgresStore, columns::Time, error::Fault, migrate::VERSION, upkeep::partitions};
use crate::{
    StoreError,
    status::{Dead, Partition, Rows, Status},
};
use tokio_postgres::{Client, Row};

impl PostgresStore {
    pub(crate) async fn status(&mut self) -> Result<Status, StoreError> {
        self.with_session("look over", async |session, _| status(&session.client).await).await
    }
}

async fn status(client: &Client) -> Result<Status, Fault> {
    let counts = "select current_setting('server_version'), pg_database_size(current_database()),
        (select min(due_at) from checks), (select max(due_at) from checks), (select count(*) from targets),
        (select count(*) from locations), (select count(*) from facts), (select count(*) from dead_copies),
        (select count(*) from gaps)";
    let rows = client.query_typed(counts, &[]).await?;
    let [row] = &rows[..] else { return Err(Fault::Passing("it tells nothing of itself".to_owned())) };
    let time = |n: usize| row.try_get::<_, Option<Time>>(n).map(|time| time.map(|Time(at)| at));
    let partitions: Vec<_> = partitions(client)
        .await?
        .into_iter()
        .map(|p| Partition {
            rows: p.rows.unsigned_abs(),
            bytes: p.bytes.unsigned_abs(),
            is_indexed: p.has_index,
            is_attached: p.is_attached,
            name: p.name,
        })
        .collect();
    let dead =
        "select reason, count(*) - count(resolved_at), count(resolved_at) from dead_letters group by 1 order by 1";
    let dead = client.query_typed(dead, &[]).await?;
    Ok(Status {
        server_version: row.try_get(0)?,
        schema_version: VERSION.into(), // others are not opened
        bytes: count(row, 1)?,
        rows: Rows::About(partitions.iter().filter(|p| p.is_attached).map(|p| p.rows).sum()),
        oldest: time(2)?,
        newest: time(3)?,
        partitions,
        targets: count(row, 4)?,
        locations: count(row, 5)?,
        facts: count(row, 6)?,
        dead: dead.iter().map(of_reason).collect::<Result<_, _>>()?,
        copies: count(row, 7)?,
        gaps: count(row, 8)?,
    })
}

fn of_reason(row: &Row) -> Result<Dead, Fault> {
    Ok(Dead { reason: row.try_get(0)?, waiting: count(row, 1)?, resolved: count(row, 2)? })
}

fn count(row: &Row, n: usize) -> Result<u64, Fault> {
    Ok(row.try_get::<_, i64>(n)?.unsigned_abs())
}
