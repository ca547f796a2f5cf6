//! Rows of `checks`, many to a statement: a statement's way to the thread that owns the connection costs more than a row.

use super::names::Ids;
use ::sqlite::Cause;
use model::{batch::Entry, record::Record};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};
use std::sync::Arc;

const COLUMNS: &str = "due_at, target, location, facts, start_ms, lag_us, dns_us, connect_us, tls_us, wait_us, transfer_us, \
                       rest_us, body_bytes, rtt_us, retransmits, message";
const PLACES: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// Rows of one statement. A few sizes, so that each is prepared once and kept.
const SIZES: [usize; 4] = [256, 32, 4, 1];

/// A row: what is the check's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    record: &'a Record,
    ids: Ids,
}

impl<'a> Row<'a> {
    pub fn new(record: &'a Record, ids: Ids) -> Self {
        Self { record, ids }
    }

    /// The natural key, time first.
    pub fn key(&self) -> (i64, i64, i64) {
        (self.record.due_at.0, self.ids.target, self.ids.location)
    }

    fn bind<'q>(&self, query: Query<'q, Sqlite, SqliteArguments>) -> Query<'q, Sqlite, SqliteArguments> {
        let (r, ids) = (self.record, self.ids);
        let phases = [r.dns_us, r.connect_us, r.tls_us, r.wait_us, r.transfer_us];
        let sum: i64 = phases.into_iter().flatten().map(i64::from).sum();
        let query = query
            .bind(r.due_at.0)
            .bind(ids.target)
            .bind(ids.location)
            .bind(ids.facts)
            .bind(r.started_at.map(|start| start.0 - r.due_at.0))
            .bind(r.lag_us);
        let query = phases.into_iter().fold(query, Query::bind);
        query
            .bind(r.total_us.map(|total| i64::from(total) - sum))
            .bind(r.body_bytes)
            .bind(r.rtt_us)
            .bind(r.retransmits)
            .bind(r.message.as_deref())
    }
}

/// What became of the rows of one statement.
pub(super) enum Inserted {
    /// So many; the others were there already.
    Rows(u64),
    /// None: the database refuses one of them for what is in it, and says why.
    Refused(String),
}

/// The statements, by number of rows.
#[derive(Debug)]
pub(super) struct Inserts([Arc<str>; SIZES.len()]);

impl Inserts {
    pub fn new() -> Self {
        Self(SIZES.map(|rows| {
            let places = vec![PLACES; rows].join(", ");
            format!("insert into checks ({COLUMNS}) values {places} on conflict do nothing").into()
        }))
    }

    /// Cuts rows into parts that each fit a statement.
    pub fn parts<'r, T>(&self, mut rows: &'r [T]) -> Vec<&'r [T]> {
        let mut parts = Vec::new();
        for size in SIZES {
            while rows.len() >= size {
                let (part, rest) = rows.split_at(size);
                parts.push(part);
                rows = rest;
            }
        }
        parts
    }

    /// Inserts a part. A refusal undoes this statement alone; the transaction goes on.
    pub async fn insert(&self, sql: &mut SqliteConnection, part: &[(Row<'_>, &Entry)]) -> sqlx::Result<Inserted> {
        let statement =
            SIZES.iter().position(|&size| size == part.len()).map_or(&self.0[SIZES.len() - 1], |n| &self.0[n]);
        let query = sqlx::query(AssertSqlSafe(statement.clone()));
        let query = part.iter().fold(query, |query, (row, _)| row.bind(query));
        match query.execute(sql).await {
            Ok(done) => Ok(Inserted::Rows(done.rows_affected())),
            Err(e) if Cause::of(&e) == Cause::Record => Ok(Inserted::Refused(format!("the database refuses it: {e}"))),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_rows_is_cut_into_statements() {
        let lens = |n: usize| Inserts::new().parts(&vec![(); n]).iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(lens(0), [0; 0]);
        assert_eq!(lens(3), [1, 1, 1]);
        assert_eq!(lens(300), [256, 32, 4, 4, 4]);
        assert_eq!(lens(1000).iter().sum::<usize>(), 1000);
    }
}
