//! Rows on their way into `checks`, inside a transaction: by `COPY`, in the order of their key. Where some are there already,
//! through a staging table; where the server refuses one, without it.

use super::{
    columns::{self, COPY_END, COPY_HEADER, Ids, Key, Row, Time, put_row},
    days::day_of,
    error::Fault,
    session::Session,
};
use crate::Class;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use model::{UnixMs, batch::Entry, mark::Marked};
use std::{collections::HashSet, pin::pin};
use tokio_postgres::Statement;

/// Bytes of a message of `COPY`: the server works on one while we write the next.
const CHUNK: usize = 64 << 10;
/// Once a row was refused, so many go at a time: what follows a refused one was sent in vain.
const SMALL: usize = 512;

/// What became of rows.
#[derive(Debug, Default)]
pub(super) struct Inserted<'a> {
    pub stored: u64,
    pub duplicate: u64,
    /// Rows that the server refuses for what is in them, and what it says.
    pub refused: Vec<(Row<'a>, String)>,
}

/// What is committed before the transaction: numbers and partitions. Returns the rows in the order of their key, without those whose
/// names the database refuses: `refuse` is told why.
pub(super) async fn prepare<'a>(
    session: &mut Session,
    results: Vec<(&'a Marked, &'a Entry)>,
    now: UnixMs,
    refuse: impl FnMut(&'a Entry, String),
) -> Result<Vec<Row<'a>>, Fault> {
    let mut rows = learn(session, results, refuse).await?;
    session.days.ensure(&session.client, rows.iter().map(|row| day_of(row.record.due_at)), now).await?;
    // Neighbours in the index are written together. Stable: of one identity the first record stands.
    rows.sort_by_key(Row::key);
    Ok(rows)
}

/// Finds the numbers of what results name. When the database refuses some name, which it does not tell, it is asked for one result
/// after the other.
async fn learn<'a>(
    session: &mut Session,
    results: Vec<(&'a Marked, &'a Entry)>,
    mut refuse: impl FnMut(&'a Entry, String),
) -> Result<Vec<Row<'a>>, Fault> {
    let Session { client, names, .. } = session;
    let records: Vec<_> = results.iter().map(|(record, _)| *record).collect();
    let row = |((record, entry), ids): ((&'a Marked, &'a Entry), Ids)| Row { record, entry, ids };
    match names.learn(client, &records).await {
        Ok(ids) => return Ok(results.into_iter().zip(ids).map(row).collect()),
        Err(e) if e.class() == Class::Record => {}
        Err(e) => return Err(e),
    }
    let mut rows = Vec::with_capacity(results.len());
    for (record, entry) in results {
        match names.learn(client, &[record]).await {
            Ok(ids) => rows.extend(ids.into_iter().map(|ids| row(((record, entry), ids)))),
            Err(e) if e.class() == Class::Record => refuse(entry, e.to_string()),
            Err(e) => return Err(e),
        }
    }
    Ok(rows)
}

/// Inserts rows that are sorted by their key; of one key the first stands.
pub(super) async fn insert<'a>(session: &Session, rows: Vec<Row<'a>>) -> Result<Inserted<'a>, Fault> {
    let mut inserting = Inserting { session, inserted: Inserted::default(), left: vec![rows] };
    while let Some(rows) = inserting.left.pop().filter(|rows| !rows.is_empty()) {
        inserting.copy(rows).await?;
    }
    Ok(inserting.inserted)
}

struct Inserting<'s, 'a> {
    session: &'s Session,
    inserted: Inserted<'a>,
    /// Rows that still have to go, the next ones last.
    left: Vec<Vec<Row<'a>>>,
}

impl<'a> Inserting<'_, 'a> {
    /// The fast way, for rows that are new and sound.
    async fn copy(&mut self, rows: Vec<Row<'a>>) -> Result<(), Fault> {
        self.session.client.batch_execute("savepoint rows").await?;
        match send(self.session, &self.session.copy, &rows).await {
            Ok(stored) => {
                self.inserted.stored += stored;
                self.inserted.duplicate += rows.len() as u64 - stored;
                self.release().await
            }
            Err(e) if e.is_double() => {
                self.back().await?;
                self.stage(rows).await
            }
            Err(e) => self.without_refused(rows, e).await,
        }
    }

    /// For rows of which some are there already.
    async fn stage(&mut self, rows: Vec<Row<'a>>) -> Result<(), Fault> {
        let client = &self.session.client;
        let names = columns::names();
        let table = format!(
            "create temp table if not exists staging ({}) on commit delete rows; truncate pg_temp.staging; savepoint rows",
            columns::definitions()
        );
        client.batch_execute(&table).await?;
        let copy = client.prepare(&format!("copy pg_temp.staging ({names}) from stdin (format binary)")).await?;
        if let Err(e) = send(self.session, &copy, &rows).await {
            return self.without_refused(rows, e).await;
        }
        client.batch_execute("savepoint staged").await?;
        let insert = format!("insert into checks ({names}) select {names} from pg_temp.staging on conflict do nothing");
        match client.execute_typed(&insert, &[]).await.map_err(Fault::from) {
            Ok(stored) => {
                self.inserted.stored += stored;
                self.inserted.duplicate += rows.len() as u64 - stored;
                self.release().await
            }
            Err(e) if e.class() == Class::Record => {
                // Here the server does not name the row. It does in a `COPY`, which needs rows that are new.
                client.batch_execute("rollback to savepoint staged").await?;
                let there = staged_that_are_there(self.session).await?;
                self.release().await?;
                let before = rows.len();
                let new: Vec<_> = rows.into_iter().filter(|row| !there.contains(&row.key())).collect();
                self.inserted.duplicate += (before - new.len()) as u64;
                self.left.push(new);
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Takes out the row that the server names. What stood before it was fine; it goes again, and then what stands behind it.
    async fn without_refused(&mut self, mut rows: Vec<Row<'a>>, e: Fault) -> Result<(), Fault> {
        let at = e.db().filter(|_| e.class() == Class::Record).and_then(|db| line(db.where_()?));
        let Some(at) = at.and_then(|line| index_of(&rows, line)) else { return Err(e) };
        self.back().await?;
        let behind = rows.split_off(at + 1);
        if let Some(row) = rows.pop() {
            self.inserted.refused.push((row, e.to_string()));
        }
        self.left.extend(behind.rchunks(SMALL).map(<[Row<'a>]>::to_vec));
        self.left.extend(rows.rchunks(SMALL).map(<[Row<'a>]>::to_vec));
        Ok(())
    }

    async fn back(&self) -> Result<(), Fault> {
        Ok(self.session.client.batch_execute("rollback to savepoint rows; release savepoint rows").await?)
    }

    async fn release(&self) -> Result<(), Fault> {
        Ok(self.session.client.batch_execute("release savepoint rows").await?)
    }
}

/// The first row of each key: what of sorted rows is sent.
fn firsts<'r, 'a>(rows: &'r [Row<'a>]) -> impl Iterator<Item = (usize, &'r Row<'a>)> {
    let mut last = None;
    rows.iter().enumerate().filter(move |(_, row)| last.replace(row.key()) != Some(row.key()))
}

/// The place among the rows of the n-th one that was sent, counted from 1.
fn index_of(rows: &[Row<'_>], line: usize) -> Option<usize> {
    firsts(rows).nth(line.checked_sub(1)?).map(|(index, _)| index)
}

/// Sends rows by a `COPY`. Returns how many were stored.
async fn send(session: &Session, copy: &Statement, rows: &[Row<'_>]) -> Result<u64, Fault> {
    let sink = session.client.copy_in::<_, Bytes>(copy).await?;
    let mut sink = pin!(sink);
    let mut out = BytesMut::with_capacity(CHUNK + 1024);
    out.put_slice(COPY_HEADER);
    for (_, row) in firsts(rows) {
        put_row(row, &mut out);
        if out.len() >= CHUNK {
            sink.feed(out.split().freeze()).await?;
            out.reserve(CHUNK + 1024);
        }
    }
    out.put_i16(COPY_END);
    sink.feed(out.freeze()).await?;
    Ok(sink.finish().await?)
}

async fn staged_that_are_there(session: &Session) -> Result<HashSet<Key>, Fault> {
    let query = "select due_at, target, location from pg_temp.staging join checks using (due_at, target, location)";
    let mut there = HashSet::new();
    for row in session.client.query_typed(query, &[]).await? {
        let Time(UnixMs(due_at)) = row.try_get(0)?;
        there.insert((due_at, row.try_get(1)?, row.try_get(2)?));
    }
    Ok(there)
}

/// The line in an error's context: `COPY checks, line 7, column message`, in whatever language. Its outermost context stands last.
fn line(context: &str) -> Option<usize> {
    let copy = context.lines().last()?;
    let digits = copy.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_stands_in_the_last_context() {
        assert_eq!(line("COPY checks, line 7"), Some(7));
        assert_eq!(line("COPY staging, Zeile 12, Spalte message"), Some(12));
        assert_eq!(line("PL/pgSQL function poison() line 3 at RAISE\nCOPY checks, line 40"), Some(40));
        assert_eq!(line("SQL statement"), None);
    }
}
