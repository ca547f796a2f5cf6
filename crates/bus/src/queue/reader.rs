//! The end of the queue that is read: batches of records, decoded for the writer or as they are for the relay, and the word
//! that they are stored.

use super::{
    blob::{Blob, unpack},
    gauge::Shared,
    index::Row,
    now,
};
use crate::{Cause, QueueError, record::decode};
use bytes::Bytes;
use model::batch::{Batch, Entry, Envelope, Source};
use sqlite::{Connection, OpenFile};
use sqlx::Row as _;
use std::{collections::HashSet, io, path::Path, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Before another look at rows that are just being dropped: about the time of a commit.
const DROPPING: Duration = Duration::from_millis(5);

/// Where records are read. There is one.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    file: OpenFile,
    shared: Arc<Shared>,
    source: Source,
    /// Where the queue stood when it was opened: nobody can have stored more of it. Asked once.
    next_at_open: Option<i64>,
    read_at: Option<Instant>,
    /// Rows that could not be read, so that each is counted once.
    damaged: HashSet<i64>,
}

/// How much to read at once, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Records; whole commits are read, so it may be one commit more.
    pub records: usize,
    /// Bytes of them, unpacked; likewise.
    pub bytes: usize,
    /// Between two reads that bring less than that: each costs the store a commit.
    pub pace: Duration,
}

/// Records as they are, in the order of their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Each with its offset.
    pub records: Vec<(i64, Bytes)>,
    /// Where reading goes on.
    pub next: i64,
}

/// Says from elsewhere how far the records are stored.
#[derive(Clone, Debug)]
pub struct Releases(Arc<Shared>);

impl Releases {
    /// Everything below `next` is stored.
    pub fn release(&self, next: i64) {
        self.0.index().release(next);
    }
}

impl Default for Most {
    fn default() -> Self {
        Self { records: 5000, bytes: 8 << 20, pace: Duration::from_millis(500) }
    }
}

impl Reader {
    pub(super) fn new(file: OpenFile, connection: Connection, shared: Arc<Shared>, id: &str, next: i64) -> Self {
        let source = source(id);
        Self { connection, file, shared, source, next_at_open: Some(next), read_at: None, damaged: HashSet::new() }
    }

    /// The queue's identity, under which the store keeps how far it is.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where to read on, given what the store holds as the queue's next offset.
    ///
    /// More than the queue has counted to means that its file was restored from an older copy: what it appends now would pass
    /// for stored. It then becomes another log, with a new identity, and is read from its oldest record; what was stored
    /// already is stored once, as always.
    pub async fn resume(&mut self, stored: Option<i64>) -> Result<i64, QueueError> {
        let newer = |own: i64| stored.filter(|stored| *stored > own);
        if let Some((own_next, stored_next)) = self.next_at_open.and_then(|own| Some((own, newer(own)?))) {
            let id = new_id(&mut self.connection).await;
            let id = id.map_err(|e| QueueError::new("give a new identity to", self.file.path(), e))?;
            let queue = self.file.path().display();
            tracing::warn!(%queue, stored_next, own_next, "the queue is older than the store knows; it is read as a new one");
            self.source = source(&id);
        } else if let Some(next) = stored {
            self.next_at_open = None;
            self.release(next);
            return Ok(next);
        }
        self.next_at_open = None;
        Ok(self.shared.index().oldest())
    }

    /// Waits for records at or after `from` and reads them; `None` when the stop comes first.
    ///
    /// Records that are gone (dropped for room, or in a damaged row) are passed over: the batch still goes from `from` to its
    /// `next`. Reading changes nothing, so an error or a dropped future costs nothing.
    pub async fn read(
        &mut self,
        from: i64,
        most: &Most,
        stop: &CancellationToken,
    ) -> Result<Option<Batch>, QueueError> {
        let rows = tokio::select! {
            rows = self.rows(from, from, most) => rows,
            () = stop.cancelled() => return Ok(None),
        };
        self.batch(rows, from).await.map(Some)
    }

    /// As [`Self::read`], of what is there, without waiting for more. `None`: nothing is.
    pub async fn read_rest(&mut self, from: i64, most: &Most) -> Result<Option<Batch>, QueueError> {
        match self.rows_there(from, from, most).await {
            rows if rows.is_empty() => Ok(None),
            rows => self.batch(rows, from).await.map(Some),
        }
    }

    /// As [`Self::read`], without looking into the records. What is at or after `held` was read before and is not stored yet:
    /// it stays in the queue as well.
    pub async fn read_raw(
        &mut self,
        from: i64,
        held: i64,
        most: &Most,
        stop: &CancellationToken,
    ) -> Result<Option<Raw>, QueueError> {
        let rows = tokio::select! {
            rows = self.rows(from, held, most) => rows,
            () = stop.cancelled() => return Ok(None),
        };
        self.raw(rows, from).await.map(Some)
    }

    /// As [`Self::read_raw`], of what is there, without waiting for more. `None`: nothing is.
    pub async fn read_raw_rest(&mut self, from: i64, held: i64, most: &Most) -> Result<Option<Raw>, QueueError> {
        match self.rows_there(from, held, most).await {
            rows if rows.is_empty() => Ok(None),
            rows => self.raw(rows, from).await.map(Some),
        }
    }

    async fn batch(&mut self, rows: Vec<Row>, from: i64) -> Result<Batch, QueueError> {
        let next = rows.last().map_or(from, Row::end);
        let entries = self.take(rows, from, decoded).await?;
        Ok(Batch { source: self.source.clone(), from, next, entries })
    }

    async fn raw(&mut self, rows: Vec<Row>, from: i64) -> Result<Raw, QueueError> {
        let next = rows.last().map_or(from, Row::end);
        let records = self.take(rows, from, |records| records).await?;
        Ok(Raw { records, next })
    }

    /// Reads the rows and makes of their records what is asked for, off the threads that serve sockets: a full batch takes tens
    /// of milliseconds.
    async fn take<T: Send + 'static>(
        &mut self,
        rows: Vec<Row>,
        from: i64,
        make: fn(Vec<(i64, Bytes)>) -> Vec<T>,
    ) -> Result<Vec<T>, QueueError> {
        let read = self.blobs(rows).await;
        let blobs = read.map_err(|e| QueueError::new("read results from", self.file.path(), e))?;
        let making = tokio::task::spawn_blocking(move || {
            let (records, damaged) = unpacked(&blobs, from);
            (make(records), damaged)
        });
        let (made, damaged) = making
            .await
            .map_err(|e| QueueError::new("decode results from", self.file.path(), io::Error::other(e).into()))?;
        for (row, why) in damaged {
            self.lose(&row, &why);
        }
        self.read_at = Some(Instant::now());
        Ok(made)
    }

    /// Everything below `next` is stored. The tail deletes it when it comes by; nothing depends on when.
    pub fn release(&self, next: i64) {
        self.shared.index().release(next);
    }

    /// As [`Self::release`], from elsewhere.
    pub fn releases(&self) -> Releases {
        Releases(Arc::clone(&self.shared))
    }

    /// Waits until the file is closed.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// The rows to read, once there are any and it is time. They stay in the queue until they are released or others are read:
    /// what is about to be stored is not dropped for room, and so never both stored and counted as dropped.
    async fn rows(&self, from: i64, held: i64, most: &Most) -> Vec<Row> {
        let earliest = self.read_at.map(|at| at + most.pace);
        loop {
            let (rows, enough) = self.shared.index().read(from, most.records, most.bytes);
            let wait = earliest.filter(|at| !enough && *at > Instant::now());
            match wait {
                None if !rows.is_empty() => {
                    let rows = self.rows_there(from, held, most).await;
                    if !rows.is_empty() {
                        return rows;
                    }
                }
                Some(at) if !rows.is_empty() => {
                    tokio::select! {
                        () = self.shared.appended.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                _ => self.shared.appended.notified().await,
            }
        }
    }

    /// The rows that are there, taken in hand with those from `held` on.
    async fn rows_there(&self, from: i64, held: i64, most: &Most) -> Vec<Row> {
        loop {
            {
                let mut index = self.shared.index();
                let (rows, _) = index.read(from, most.records, most.bytes);
                if index.lend(&rows, held) {
                    return rows;
                }
            }
            tokio::time::sleep(DROPPING).await;
        }
    }

    async fn blobs(&mut self, rows: Vec<Row>) -> sqlx::Result<Vec<(Row, Blob)>> {
        let mut blobs = Vec::with_capacity(rows.len());
        for row in rows {
            // One by one: a damaged page spoils its row and not the others.
            let query = sqlx::query("select records from batches where first = ?").bind(row.first);
            match query.fetch_optional(self.connection.sql()).await {
                Ok(Some(found)) => {
                    blobs.push((row, Blob { count: row.count, raw: row.raw, bytes: found.try_get(0)? }));
                }
                Ok(None) => self.lose(&row, "somebody else has deleted them"),
                Err(e) if Cause::of(&e) == Cause::Damaged => self.lose(&row, &e.to_string()),
                Err(e) => return Err(e),
            }
        }
        Ok(blobs)
    }

    /// Says and counts, once, that a row can't be read.
    fn lose(&mut self, row: &Row, why: &str) {
        if self.damaged.insert(row.first) {
            lost(self.file.path(), row, why);
            self.shared.index().lost(u64::from(row.count));
        }
    }
}

fn lost(queue: &Path, row: &Row, why: &str) {
    let (queue, first, results) = (queue.display(), row.first, row.count);
    tracing::error!(%queue, first, results, why, "results in the queue are damaged and lost");
}

fn source(id: &str) -> Source {
    Source { log: id.into(), name: "queue".into(), partition: 0 }
}

async fn new_id(connection: &mut Connection) -> sqlx::Result<String> {
    let id: String = sqlx::query("select lower(hex(randomblob(16)))").fetch_one(connection.sql()).await?.try_get(0)?;
    sqlx::query("update queue set id = ?").bind(&id).execute(connection.sql()).await?;
    Ok(id)
}

type Damaged = Vec<(Row, String)>;

fn unpacked(blobs: &[(Row, Blob)], from: i64) -> (Vec<(i64, Bytes)>, Damaged) {
    let mut all = Vec::with_capacity(blobs.iter().map(|(row, _)| row.count as usize).sum());
    let mut damaged = Vec::new();
    for (row, blob) in blobs {
        match unpack(blob) {
            Ok(records) => all.extend((row.first..).zip(records).filter(|(offset, _)| *offset >= from)),
            Err(why) => damaged.push((*row, why)),
        }
    }
    (all, damaged)
}

fn decoded(records: Vec<(i64, Bytes)>) -> Vec<Entry> {
    let now = now();
    let entry = |(offset, value): (i64, Bytes)| Entry {
        offset,
        content: decode(&value, now),
        value,
        envelope: Envelope::default(),
    };
    records.into_iter().map(entry).collect()
}
