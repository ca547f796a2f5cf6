//! A row of `checks`: its columns, their types and how each is written, in one list. `COPY`, the staging table and the test that
//! compares it with the migrated table all come from here.

use bytes::{BufMut, BytesMut};
use model::{UnixMs, batch::Entry, record::Record};
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// The numbers of a row's names and facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub target: i32,
    pub location: i32,
    pub facts: i32,
}

/// A row: what is the check's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub record: &'a Record,
    pub entry: &'a Entry,
    pub ids: Ids,
}

/// The natural key, time first.
pub(super) type Key = (i64, i32, i32);

impl Row<'_> {
    pub fn key(&self) -> Key {
        (self.record.due_at.0, self.ids.target, self.ids.location)
    }
}

pub(super) struct Column {
    pub name: &'static str,
    pub sql_type: &'static str,
    put: fn(&Row<'_>, &mut BytesMut),
}

macro_rules! columns {
    ($($name:ident: $type:ident = |$row:ident| $value:expr),+ $(,)?) => {
        pub(super) const COLUMNS: &[Column] = &[$(Column {
            name: stringify!($name),
            sql_type: columns!(@sql $type),
            put: |$row, out| columns!(@put $type)(out, $value),
        }),+];
    };
    (@sql time) => { "timestamptz" };
    (@sql int) => { "integer" };
    (@sql text) => { "text" };
    (@put time) => { put_time };
    (@put int) => { put_int };
    (@put text) => { put_text };
}

columns! {
    due_at: time = |row| Some(row.record.due_at),
    started_at: time = |row| row.record.started_at,
    target: int = |row| Some(row.ids.target),
    location: int = |row| Some(row.ids.location),
    facts: int = |row| Some(row.ids.facts),
    lag_us: int = |row| row.record.lag_us,
    dns_us: int = |row| row.record.dns_us,
    connect_us: int = |row| row.record.connect_us,
    tls_us: int = |row| row.record.tls_us,
    wait_us: int = |row| row.record.wait_us,
    transfer_us: int = |row| row.record.transfer_us,
    total_us: int = |row| row.record.total_us,
    body_bytes: int = |row| row.record.body_bytes,
    rtt_us: int = |row| row.record.rtt_us,
    message: text = |row| row.record.message.as_deref(),
}

/// The columns' names, for a statement.
pub(super) fn names() -> String {
    COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// The columns with their types, for a table.
pub(super) fn definitions() -> String {
    COLUMNS.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect::<Vec<_>>().join(", ")
}

/// `COPY`'s binary form begins with a signature, flags and the length of an extension.
/// (<https://www.postgresql.org/docs/current/sql-copy.html>)
pub(super) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub(super) const COPY_END: i16 = -1;

/// One row in `COPY`'s binary form.
pub(super) fn put_row(row: &Row<'_>, out: &mut BytesMut) {
    out.put_i16(COLUMNS.len() as i16); // fifteen
    for column in COLUMNS {
        (column.put)(row, out);
    }
}

const NULL: i32 = -1;

fn put_int(out: &mut BytesMut, number: Option<i32>) {
    match number {
        Some(number) => out.put_u64(4 << 32 | u64::from(number as u32)), // length and value
        None => out.put_i32(NULL),
    }
}

fn put_time(out: &mut BytesMut, time: Option<UnixMs>) {
    match time {
        Some(time) => {
            out.put_i32(8);
            out.put_i64(micros(time));
        }
        None => out.put_i32(NULL),
    }
}

fn put_text(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => {
            out.put_i32(text.len() as i32); // a reader takes no more than 64 KiB
            out.put_slice(text.as_bytes());
        }
        None => out.put_i32(NULL),
    }
}

/// 2000-01-01, from which PostgreSQL counts microseconds.
const EPOCH_MS: i64 = 946_684_800_000;

fn micros(time: UnixMs) -> i64 {
    time.0.saturating_sub(EPOCH_MS).saturating_mul(1000)
}

/// A time as a parameter or a column of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub UnixMs);

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(micros(self.0));
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(UnixMs(micros.div_euclid(1000).saturating_add(EPOCH_MS))))
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_the_migrated_table() {
        let schema = include_str!("schema.sql");
        let (_, table) = schema.split_once("create table checks (").expect("the table");
        let (table, _) = table.split_once("primary key").expect("its key");
        let listed: Vec<_> = definitions().split(", ").map(str::to_owned).collect();
        let made = table.split(',').map(|column| column.trim().trim_end_matches(" not null").to_owned());
        assert_eq!(listed, made.filter(|column| !column.is_empty()).collect::<Vec<_>>());
    }

    #[test]
    fn a_time_is_read_back_as_it_was_written() {
        for time in [0, 1_795_428_020_732, -62_167_219_200_000, 253_402_300_799_999].map(UnixMs) {
            let mut out = BytesMut::new();
            Time(time).to_sql(&Type::TIMESTAMPTZ, &mut out).expect("eight bytes");
            assert_eq!(Time::from_sql(&Type::TIMESTAMPTZ, &out).expect("a time"), Time(time));
        }
    }
}
