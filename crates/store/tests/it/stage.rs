//! A store that is empty, and batches to write into it.

use bytes::Bytes;
use model::{
    UnixMs,
    batch::{Batch, Content, Entry, Envelope, Source},
    record::Record,
};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _,
    postgres::{PgConnection, PgRow},
    raw_sql,
    sqlite::SqliteRow,
};
use std::{path::Path, path::PathBuf, time::Duration};
use store::{Counts, Keep, Settings, Store, StoreError, Written};
use tempfile::TempDir;
use testkit::TestDatabase;
use tokio_util::sync::CancellationToken;

/// 2026-11-23T10:00:00.000Z
pub const T0: i64 = 1_795_428_000_000;
pub const KEEP: Keep = Keep { now: UnixMs(T0 + 60_000), checks: Duration::from_secs(30 * 86_400) };

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Sqlite,
    Postgres,
}

pub struct Stage {
    pub store: Store,
    pub place: Place,
}

/// Where the store is, as other programs find it. Goes with the variable.
pub enum Place {
    File(PathBuf, TempDir),
    Database(TestDatabase),
}

impl Place {
    pub async fn open(&self, settings: Settings) -> Store {
        let stop = CancellationToken::new();
        match self {
            Self::File(path, _) => Store::open_sqlite(path, settings, &stop).await.unwrap(),
            Self::Database(database) => {
                Store::open_postgres(&database.url().parse().unwrap(), settings, &stop).await.unwrap()
            }
        }
    }

    /// A query by another program.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::File(path, _) => {
                let mut theirs = another_program(path).await;
                let rows = sqlx::query(sql).fetch_all(&mut theirs).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|n| sqlite_cell(row, n)).collect()).collect()
            }
            Self::Database(database) => {
                let mut theirs = PgConnection::connect(&database.url()).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut theirs).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|n| postgres_cell(row, n)).collect()).collect()
            }
        }
    }

    pub async fn execute(&self, sql: &str) {
        match self {
            Self::File(path, _) => {
                let mut theirs = another_program(path).await;
                raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut theirs).await.unwrap();
                theirs.close().await.unwrap();
            }
            Self::Database(database) => database.execute(sql).await,
        }
    }
}

impl Stage {
    pub async fn new(kind: Kind) -> Self {
        Self::of(kind, None).await
    }

    pub async fn of(kind: Kind, max_pages: Option<u32>) -> Self {
        let place = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                Place::File(folder.path().join("lapwing.db"), folder)
            }
            Kind::Postgres => Place::Database(TestDatabase::new().await),
        };
        let store = place.open(Settings { max_pages, ..Settings::default() }).await;
        Self { store, place }
    }

    pub async fn restarted(self) -> Self {
        self.store.close().await;
        let store = self.place.open(Settings::default()).await;
        Self { store, ..self }
    }

    pub async fn write(&mut self, batch: &Batch) -> Result<Written, StoreError> {
        self.store.write(batch, &KEEP).await
    }

    /// Writes the lines as the records that follow what the store holds of `log`.
    pub async fn follow(&mut self, log: &str, lines: &[String]) -> Counts {
        let from = self.store.next_offset(&source(log)).await.unwrap().unwrap_or(0);
        match self.write(&batch(log, from, lines)).await.unwrap() {
            Written::Committed(counts) => counts,
            Written::Behind { next } => panic!("behind, at {next}"),
        }
    }

    /// The first column of a query by another program, line by line.
    pub async fn query(&self, sql: &str) -> String {
        let first = |row: Vec<Option<String>>| row[0].clone().unwrap_or("null".to_owned());
        self.place.rows(sql).await.into_iter().map(first).collect::<Vec<_>>().join("\n")
    }
}

/// Numbers and texts as they are, bytes in hexadecimal digits, times as in the record: the same text from both databases.
fn sqlite_cell(row: &SqliteRow, column: usize) -> Option<String> {
    let value = row.try_get_raw(column).unwrap();
    match value.type_info().name() {
        _ if value.is_null() => None,
        "INTEGER" => Some(row.get::<i64, _>(column).to_string()),
        "BLOB" => Some(hex(row.get(column))),
        _ => Some(row.get(column)),
    }
}

fn postgres_cell(row: &PgRow, column: usize) -> Option<String> {
    let value = row.try_get_raw(column).unwrap();
    if value.is_null() {
        return None;
    }
    Some(match row.column(column).type_info().name() {
        "INT4" => row.get::<i32, _>(column).to_string(),
        "INT8" => row.get::<i64, _>(column).to_string(),
        "BOOL" => row.get::<bool, _>(column).to_string(),
        "BYTEA" => hex(row.get(column)),
        "TIMESTAMPTZ" => {
            let micros = i64::from_be_bytes(value.as_bytes().unwrap().try_into().unwrap());
            assert_eq!(micros % 1000, 0, "whole milliseconds");
            UnixMs(micros / 1000 + 946_684_800_000).to_string()
        }
        _ => row.get(column),
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

pub async fn another_program(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(path.to_str().unwrap()).await.unwrap()
}

pub fn source(log: &str) -> Source {
    Source { log: log.into(), name: "queue".into(), partition: 0 }
}

/// The lines as a log delivers them.
pub fn batch(log: &str, from: i64, lines: &[String]) -> Batch {
    let entry = |(offset, line): (i64, &String)| Entry {
        offset,
        value: Bytes::from(line.clone()),
        envelope: Envelope::default(),
        content: bus::record::decode(line.as_bytes(), KEEP.now),
    };
    Batch {
        source: source(log),
        from,
        next: from + lines.len() as i64,
        entries: (from..).zip(lines).map(entry).collect(),
    }
}

/// A record of target t<target> that was due so many seconds after T0, with more fields: `,"status":200`.
pub fn line(target: usize, second: i64, more: &str) -> String {
    let due = UnixMs(T0 + second * 1000);
    format!(
        r#"{{"v":1,"target":"t{target}","name":"T {target}","url":"http://t{target}.example/","location":"home","due_at":"{due}","started_at":"{due}","interval_ms":30000,"verdict":"up"{more}}}"#
    )
}

/// Records as a log delivers them, decoded.
pub fn batch_of(from: i64, records: Vec<Record>) -> Batch {
    let entry = |(offset, record): (i64, Record)| Entry {
        offset,
        value: Bytes::new(),
        envelope: Envelope::default(),
        content: Content::Result(Box::new(record.into())),
    };
    let next = from + records.len() as i64;
    Batch { source: source("log"), from, next, entries: (from..).zip(records).map(entry).collect() }
}
