//! A store on a temporary file, and batches to write into it.

use bytes::Bytes;
use model::{
    UnixMs,
    batch::{Batch, Content, Entry, Envelope, Source},
    record::Record,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use store::{Counts, Keep, Settings, Store, StoreError, Written};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// 2026-11-23T10:00:00.000Z
pub const T0: i64 = 1_795_428_000_000;
pub const KEEP: Keep = Keep { now: UnixMs(T0 + 60_000), checks: Duration::from_secs(30 * 86_400) };

pub struct Stage {
    pub path: PathBuf,
    pub store: Store,
    _folder: TempDir,
}

pub async fn stage() -> Stage {
    stage_of(None).await
}

pub async fn stage_of(max_pages: Option<u32>) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lapwing.db");
    let settings = Settings { max_pages, ..Settings::default() };
    let store = Store::open_sqlite(&path, settings, &CancellationToken::new()).await.unwrap();
    Stage { path, store, _folder: folder }
}

impl Stage {
    pub async fn restarted(self) -> Self {
        self.store.close().await;
        let store = Store::open_sqlite(&self.path, Settings::default(), &CancellationToken::new()).await.unwrap();
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
        let mut theirs = another_program(&self.path).await;
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut theirs).await.unwrap();
        let column = |row: &sqlx::sqlite::SqliteRow| match row.try_get::<Option<String>, _>(0) {
            Ok(text) => text.unwrap_or("null".to_owned()),
            Err(_) => row.get::<i64, _>(0).to_string(),
        };
        rows.iter().map(column).collect::<Vec<_>>().join("\n")
    }

    pub async fn execute(&self, sql: &'static str) {
        let mut theirs = another_program(&self.path).await;
        sqlx::raw_sql(sql).execute(&mut theirs).await.unwrap();
        theirs.close().await.unwrap();
    }
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
        content: Content::Result(Box::new(record)),
    };
    let next = from + records.len() as i64;
    Batch { source: source("log"), from, next, entries: (from..).zip(records).map(entry).collect() }
}
