//! The durable queue that is always in front: results wait here until the store, or Kafka, has them.
//!
//! A log with one partition in an SQLite file; a record's sequence number is its offset. One end appends ([`Tail`]), the other
//! reads and releases ([`Reader`]), each over its own connection, so that neither waits for the other; a [`Gauge`] looks on.

mod blob;
mod gauge;
mod index;
mod reader;
mod tail;

pub use gauge::{Gauge, Stats};
pub use reader::{Most, Raw, Reader, Releases};
pub use tail::{Appended, Tail};

use gauge::Shared;
use index::{Index, Row};
use model::UnixMs;
use sqlite::{Connection, Kind, OpenError, Settings, Waits};
use sqlx::Row as _;
use std::{collections::VecDeque, path::Path, sync::Arc, time::SystemTime};
use tokio_util::sync::CancellationToken;

static KIND: Kind = Kind {
    name: "queue",
    application_id: 0x6c70_7771, // "lpwq"
    // A commit rewrites some pages besides those of its blob, and a page of the file is what they cost at least.
    page_size: 1024,
    // Rows live for a second: most of what a late checkpoint would copy was deleted and written over before.
    checkpoint_pages: 4096,
    auto_vacuum: false, // docs/decisions/0002
    migrations: &[include_str!("schema.sql")],
};

#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of data (not of free pages) beyond which the oldest results go.
    pub max_size: u64,
    /// The file may not grow beyond so many pages, as if the disk were full.
    pub max_pages: Option<u32>,
    /// Who wants to know what the file is waited for, as well as the log.
    pub waits: Option<Waits>,
}

impl Options {
    pub fn new(max_size: u64) -> Self {
        Self { max_size, max_pages: None, waits: None }
    }
}

/// An open queue, to be taken apart.
#[derive(Debug)]
pub struct Queue {
    pub tail: Tail,
    pub reader: Reader,
    pub gauge: Gauge,
}

impl Queue {
    /// Opens the file, makes it when it is missing, and waits for a program that has it locked, until `stop`.
    pub async fn open(path: &Path, options: Options, stop: &CancellationToken) -> Result<Self, OpenError> {
        let settings = Settings { max_pages: options.max_pages, waits: options.waits, ..Settings::default() };
        let (file, mut connection) = sqlite::open(path, &KIND, settings, stop).await?;
        let failed = |e| OpenError::of(file.path(), &e);
        let (id, index) = load(&mut connection).await.map_err(failed)?;
        let reading = file.connect().await.map_err(failed)?;
        let next = index.next();
        let shared = Arc::new(Shared::new(index));
        Ok(Self {
            tail: Tail::new(file.clone(), connection, shared.clone(), options.max_size),
            reader: Reader::new(file, reading, shared.clone(), &id, next),
            gauge: Gauge::new(shared),
        })
    }
}

/// Reads who the queue is and what it holds, without the blobs.
async fn load(connection: &mut Connection) -> sqlx::Result<(String, Index)> {
    let sql = connection.sql();
    let queue = sqlx::query("select id, next, dropped from queue").fetch_one(&mut *sql).await?;
    let rows = sqlx::query("select first, count, raw, appended_at, length(records) from batches order by first")
        .fetch_all(sql)
        .await?;
    let mut index = VecDeque::with_capacity(rows.len());
    for row in &rows {
        index.push_back(Row {
            first: row.try_get(0)?,
            count: row.try_get(1)?,
            raw: row.try_get(2)?,
            appended_at: UnixMs(row.try_get(3)?),
            size: row.try_get::<i64, _>(4)?.unsigned_abs() + Row::OVERHEAD,
        });
    }
    let dropped: i64 = queue.try_get(2)?;
    Ok((queue.try_get(0)?, Index::new(index, queue.try_get(1)?, dropped.unsigned_abs())))
}

fn now() -> UnixMs {
    UnixMs::from_system(SystemTime::now())
}
