//! The end of the queue that grows. It deletes as well: in the transaction that appends, where it costs no commit of its own.

use super::{
    blob::{Blob, Packer, laid_out},
    gauge::{Gauge, Shared},
    index::{Deletion, Row},
    now,
};
use crate::QueueError;
use sqlite::{Connection, OpenFile};
use sqlx::{Row as _, SqliteConnection};
use std::{fmt, io, sync::Arc};

/// Where records are appended. There is one.
pub struct Tail {
    connection: Connection,
    file: OpenFile,
    shared: Arc<Shared>,
    max_size: u64,
    /// Away while it packs.
    packer: Option<Packer>,
}

/// What one append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Sequence number of the first record.
    pub first: i64,
    /// Sequence number of the record to come.
    pub next: i64,
    /// How many of the oldest results had to go to make room.
    pub dropped: u64,
}

/// Records that take more than a fifth of a millisecond to pack, in bytes.
const LARGE: usize = 64 << 10;
/// Free pages worth giving back to the system, in bytes.
const MUCH_FREE: i64 = 16 << 20;

impl Tail {
    pub(super) fn new(file: OpenFile, connection: Connection, shared: Arc<Shared>, max_size: u64) -> Self {
        Self { connection, file, shared, max_size, packer: None }
    }

    pub fn gauge(&self) -> Gauge {
        Gauge::new(self.shared.clone())
    }

    /// Appends the records, in order, in one transaction. When this returns they survive a power cut.
    ///
    /// An error leaves nothing behind, unless it came from the commit itself: then trying again may append them twice, which the
    /// results' identity makes harmless.
    pub async fn append(&mut self, records: &[Vec<u8>]) -> Result<Appended, QueueError> {
        let done = self.append_packed(records).await;
        done.map_err(|e| QueueError::new("append results to", self.file.path(), e))
    }

    async fn append_packed(&mut self, records: &[Vec<u8>]) -> sqlx::Result<Appended> {
        let blobs = self.pack(records).await?;
        let size = |blob: &Blob| blob.bytes.len() as u64 + Row::OVERHEAD;
        let (first, deletion) = {
            let mut index = self.shared.index();
            let deletion = index.deletion(blobs.iter().map(size).sum(), self.max_size);
            index.begin(&deletion);
            (index.next(), deletion)
        };
        let mut next = first;
        let mut rows = Vec::with_capacity(blobs.len());
        for blob in &blobs {
            rows.push(Row { first: next, count: blob.count, size: size(blob), raw: blob.raw, appended_at: now() });
            next += i64::from(blob.count);
        }
        if let Err(e) = self.change(&deletion, next, rows.iter().zip(blobs)).await {
            self.shared.index().give_up();
            return Err(e);
        }
        {
            let mut index = self.shared.index();
            rows.iter().for_each(|row| index.append(*row));
        }
        self.shared.committed(now());
        self.shared.appended.notify_one();
        Ok(Appended { first, next, dropped: deletion.dropped })
    }

    /// Deletes what is released, when nothing is appended that would do it; to be called every second or so.
    pub async fn sweep(&mut self) -> Result<(), QueueError> {
        let done = self.sweep_rows().await;
        done.map_err(|e| QueueError::new("delete stored results from", self.file.path(), e))
    }

    async fn sweep_rows(&mut self) -> sqlx::Result<()> {
        let (next, deletion) = {
            let index = self.shared.index();
            (index.next(), index.deletion(0, u64::MAX))
        };
        if !deletion.is_empty() {
            self.change(&deletion, next, std::iter::empty()).await?;
        }
        Ok(())
    }

    /// Gives free pages back to the system when they are many and what is left is little, as after a long outage; to be called
    /// every minute or so.
    pub async fn shrink(&mut self) -> Result<(), QueueError> {
        let done = self.vacuum_if_worth().await;
        done.map_err(|e| QueueError::new("give back the free pages of", self.file.path(), e))
    }

    /// Waits until the file is closed.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// A large batch takes milliseconds, so it is packed off the threads that serve sockets.
    async fn pack(&mut self, records: &[Vec<u8>]) -> sqlx::Result<Vec<Blob>> {
        let parts = laid_out(records);
        let large = parts.iter().map(|(_, raw)| raw.len()).sum::<usize>() > LARGE;
        let packer = self.packer.take();
        let packing = move || {
            let mut packer = packer.map_or_else(Packer::new, Ok)?;
            let blobs = packer.pack(parts)?;
            Ok::<_, io::Error>((packer, blobs))
        };
        let packed =
            if large { tokio::task::spawn_blocking(packing).await.map_err(io::Error::other)? } else { packing() };
        let (packer, blobs) = packed?;
        self.packer = Some(packer);
        Ok(blobs)
    }

    /// One transaction: rows go at the front and come at the back.
    async fn change(
        &mut self,
        deletion: &Deletion,
        next: i64,
        added: impl ExactSizeIterator<Item = (&Row, Blob)> + Send,
    ) -> sqlx::Result<()> {
        let dropped = self.shared.index().dropped() + deletion.dropped;
        // Usually the last row says how far the queue has counted; it must be written where that row may be deleted.
        let count = added.len() == 0 || deletion.dropped > 0 || !self.shared.index().dropped_is_saved();
        // Most appends are one statement, which is a transaction of its own.
        let alone = deletion.is_empty() && !count && added.len() == 1;
        if alone {
            self.connection.settle().await?;
        } else {
            self.connection.begin().await?;
        }
        let sql = self.connection.sql();
        let work = async {
            delete(sql, deletion).await?;
            if count {
                let update = sqlx::query("update queue set next = ?, dropped = ?");
                update.bind(next).bind(i64::try_from(dropped).unwrap_or(i64::MAX)).execute(&mut *sql).await?;
            }
            for (row, blob) in added {
                insert(sql, row, blob).await?;
            }
            Ok(())
        }
        .await;
        if alone {
            work?;
        } else {
            self.connection.end(work).await?;
        }
        let mut index = self.shared.index();
        index.delete(deletion);
        if count {
            index.saved_dropped(dropped);
        }
        Ok(())
    }

    /// `vacuum` copies what is left: little, or it is not worth it.
    async fn vacuum_if_worth(&mut self) -> sqlx::Result<()> {
        let sizes = sqlx::query(
            "select freelist_count * page_size, page_count * page_size
             from pragma_freelist_count, pragma_page_count, pragma_page_size",
        );
        self.connection.settle().await?;
        let sizes = sizes.fetch_one(self.connection.sql()).await?;
        let (free, all): (i64, i64) = (sizes.try_get(0)?, sizes.try_get(1)?);
        if free > MUCH_FREE && free > all / 10 * 9 {
            sqlx::query("vacuum").execute(self.connection.sql()).await?;
        }
        Ok(())
    }
}

async fn delete(sql: &mut SqliteConnection, deletion: &Deletion) -> sqlx::Result<()> {
    if deletion.rows > 0 {
        sqlx::query("delete from batches where first < ?").bind(deletion.below).execute(&mut *sql).await?;
    }
    if !deletion.more.is_empty() {
        let more = sqlx::query("delete from batches where first >= ? and first < ?");
        more.bind(deletion.more.start).bind(deletion.more.end).execute(sql).await?;
    }
    Ok(())
}

async fn insert(sql: &mut SqliteConnection, row: &Row, blob: Blob) -> sqlx::Result<()> {
    // An append that was given up may have left a row of the same number. Nobody was told of it, and it is tried again.
    sqlx::query("insert or replace into batches (first, count, raw, appended_at, records) values (?, ?, ?, ?, ?)")
        .bind(row.first)
        .bind(row.count)
        .bind(row.raw)
        .bind(row.appended_at.0)
        .bind(blob.bytes)
        .execute(sql)
        .await?;
    Ok(())
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("file", &self.file).finish_non_exhaustive()
    }
}
