//! The embedded store: a file in WAL mode that other programs may read while it is written.

mod copies;
mod letters;
mod names;
mod rows;
mod status;
mod upkeep;

use crate::{Counts, Gap, Keep, Position, StoreError, StoredOffset, Written, dead};
use ::sqlite::{Connection, Error, Kind, OpenError, OpenFile, Settings};
use model::batch::{Batch, Content, DeadLetter, DeadReason, Entry, Source};
use names::Names;
use rows::{Inserted, Inserts, Row};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use std::path::Path;
use tokio_util::sync::CancellationToken;

static KIND: Kind = Kind {
    name: "store",
    application_id: 0x6c70_7773, // "lpws"
    page_size: 4096,
    checkpoint_pages: 2000,
    auto_vacuum: true,
    migrations: &[include_str!("schema.sql"), include_str!("gaps.sql"), include_str!("copies.sql")],
};

#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    file: OpenFile,
    names: Names,
    inserts: Inserts,
}

impl SqliteStore {
    pub(crate) async fn open(path: &Path, settings: Settings, stop: &CancellationToken) -> Result<Self, OpenError> {
        let (file, connection) = ::sqlite::open(path, &KIND, settings, stop).await?;
        Ok(Self { connection, file, names: Names::default(), inserts: Inserts::new() })
    }

    pub(crate) async fn next_offset(&mut self, source: &Source) -> Result<Option<i64>, StoreError> {
        let next = next_offset(self.connection.sql(), source).await;
        next.map_err(|e| Error::new("read the offset in", self.file.path(), e).into())
    }

    pub(crate) async fn write(&mut self, batch: &Batch, keep: &Keep) -> Result<Written, StoreError> {
        let written = self.write_batch(batch, keep).await;
        written.map_err(|e| Error::new("store results in", self.file.path(), e).into())
    }

    pub(crate) async fn position(&mut self, source: &Source) -> Result<Position, StoreError> {
        let found = position(self.connection.sql(), source).await;
        found.map_err(|e| Error::new("read the offset in", self.file.path(), e).into())
    }

    pub(crate) async fn record_gap(&mut self, gap: &Gap) -> Result<Written, StoreError> {
        let written = async {
            self.connection.begin().await?;
            let work = record_gap(self.connection.sql(), gap).await;
            self.connection.end(work).await
        };
        let written = written.await;
        written.map_err(|e| Error::new("note a gap in", self.file.path(), e).into())
    }

    pub(crate) async fn offsets(&mut self) -> Result<Vec<StoredOffset>, StoreError> {
        let found = offsets(self.connection.sql()).await;
        found.map_err(|e| Error::new("read the offsets in", self.file.path(), e).into())
    }

    pub(crate) async fn set_offset(&mut self, source: &Source, next: i64) -> Result<(), StoreError> {
        let set = async {
            self.connection.begin().await?;
            let work = set_offset(self.connection.sql(), source, next).await;
            self.connection.end(work).await
        };
        let set = set.await;
        set.map_err(|e| Error::new("set the offset in", self.file.path(), e).into())
    }

    pub(crate) async fn look(&mut self) -> Result<(), StoreError> {
        let looked = async {
            self.connection.begin().await?;
            self.connection.rollback().await
        };
        looked.await.map_err(|e| Error::new("write to", self.file.path(), e).into())
    }

    pub(crate) async fn close(self) {
        self.connection.close().await;
    }

    async fn write_batch(&mut self, batch: &Batch, keep: &Keep) -> sqlx::Result<Written> {
        // Ids that a transaction allocates exist only once it is committed. The cache goes along with it and comes back with the
        // commit; after anything else, also after a future that was dropped, it is empty.
        let mut names = std::mem::take(&mut self.names);
        self.connection.begin().await?;
        let mut writing =
            Writing { sql: self.connection.sql(), inserts: &self.inserts, names: &mut names, batch, keep };
        match writing.all().await {
            Ok(written @ Written::Behind { .. }) => {
                self.connection.rollback().await?;
                self.names = names;
                Ok(written)
            }
            other => {
                let written = self.connection.end(other).await?;
                self.names = names;
                Ok(written)
            }
        }
    }
}

/// One batch on its way, inside its transaction.
struct Writing<'a> {
    sql: &'a mut SqliteConnection,
    inserts: &'a Inserts,
    names: &'a mut Names,
    batch: &'a Batch,
    keep: &'a Keep,
}

impl<'a> Writing<'a> {
    async fn all(&mut self) -> sqlx::Result<Written> {
        if !self.claim().await? {
            let stored = next_offset(self.sql, &self.batch.source).await?;
            return Ok(Written::Behind { next: stored.unwrap_or(self.batch.from) });
        }
        let mut counts = Counts::default();
        let mut rows = self.sort_out(&mut counts).await?;
        // Neighbours in the file are written together. Stable: of one identity the first record stands.
        rows.sort_by_key(|(row, _)| row.key());
        for part in self.inserts.parts(&rows) {
            self.insert(part, &mut counts).await?;
        }
        Ok(Written::Committed(counts))
    }

    /// Moves the offset, if it stands where the batch begins: the fence against every other writer.
    async fn claim(&mut self) -> sqlx::Result<bool> {
        let Batch { source, from, next, .. } = self.batch;
        claim(self.sql, source, *from, *next).await
    }

    /// Counts what is no row, writes the dead letters, and finds the numbers of names for the rest.
    async fn sort_out(&mut self, counts: &mut Counts) -> sqlx::Result<Vec<(Row<'a>, &'a Entry)>> {
        let mut rows = Vec::with_capacity(self.batch.entries.len());
        let since = self.keep.since();
        for entry in &self.batch.entries {
            match &entry.content {
                Content::Result(record) if record.due_at < since => counts.too_old += 1,
                Content::Result(record) => {
                    let ids = self.names.ids(self.sql, record).await?;
                    rows.push((Row::new(record, ids), entry));
                }
                Content::UnknownKind => counts.unknown_kind += 1,
                Content::Dead(letter) => {
                    self.bury(entry.offset, letter).await?;
                    counts.dead.count(letter.reason);
                }
            }
        }
        Ok(rows)
    }

    /// Inserts some rows at once; when the database refuses one of them for what is in it, one by one.
    async fn insert(&mut self, part: &[(Row<'a>, &'a Entry)], counts: &mut Counts) -> sqlx::Result<()> {
        match self.inserts.insert(self.sql, part).await? {
            Inserted::Rows(stored) => {
                counts.stored += stored;
                counts.duplicate += part.len() as u64 - stored;
            }
            Inserted::Refused(why) => match part {
                [(_, entry)] => {
                    self.bury(entry.offset, &dead::refused(entry, why)).await?;
                    counts.dead.count(DeadReason::Refused);
                }
                several => {
                    for one in several.chunks(1) {
                        Box::pin(self.insert(one, counts)).await?;
                    }
                }
            },
        }
        Ok(())
    }

    async fn bury(&mut self, offset: i64, letter: &DeadLetter) -> sqlx::Result<()> {
        let source = &self.batch.source;
        sqlx::query(
            r#"insert into dead_letters
                   (reason, message, topic, partition, "offset", key, value, headers, failed_at, attempts, next_retry_at)
               values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)"#,
        )
        .bind(letter.reason.word())
        .bind(&letter.message)
        .bind(&*source.name)
        .bind(source.partition)
        .bind(offset)
        .bind(letter.key.as_deref())
        .bind(&*letter.value)
        .bind(dead::headers(letter))
        .bind(self.keep.now.to_string())
        .bind(dead::next_retry(letter.reason, self.keep).map(|at| at.to_string()))
        .execute(&mut *self.sql)
        .await?;
        Ok(())
    }
}

async fn claim(sql: &mut SqliteConnection, source: &Source, from: i64, next: i64) -> sqlx::Result<bool> {
    let moved = sqlx::query(
        "insert into offsets (log, partition, name, next) values (?1, ?2, ?3, ?4)
         on conflict (log, partition) do update set next = excluded.next, name = excluded.name where next = ?5",
    );
    let moved = moved.bind(&*source.log).bind(source.partition).bind(&*source.name).bind(next).bind(from);
    Ok(moved.execute(sql).await?.rows_affected() == 1)
}

/// Notes the gap and moves the offset over it.
async fn record_gap(sql: &mut SqliteConnection, gap: &Gap) -> sqlx::Result<Written> {
    let source = &gap.source;
    if !claim(sql, source, gap.from, gap.to).await? {
        let next = next_offset(sql, source).await?.unwrap_or(gap.from);
        return Ok(Written::Behind { next });
    }
    let insert = sqlx::query("insert into gaps (topic, partition, from_offset, to_offset, at) values (?, ?, ?, ?, ?)");
    let insert = insert.bind(&*source.name).bind(source.partition).bind(gap.from).bind(gap.to);
    insert.bind(gap.at.to_string()).execute(sql).await?;
    Ok(Written::Committed(Counts::default()))
}

async fn position(sql: &mut SqliteConnection, source: &Source) -> sqlx::Result<Position> {
    let query = sqlx::query("select log, next from offsets where partition = ? and (log = ? or name = ?)");
    let rows = query.bind(source.partition).bind(&*source.log).bind(&*source.name).fetch_all(sql).await?;
    let stored = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<sqlx::Result<Vec<_>>>()?;
    Ok(Position::among(stored, source))
}

async fn offsets(sql: &mut SqliteConnection) -> sqlx::Result<Vec<StoredOffset>> {
    let rows = sqlx::query("select log, name, partition, next from offsets order by name, partition, log");
    let stored = |row: &SqliteRow| {
        let (log, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let source = Source { log: log.into(), name: name.into(), partition: row.try_get(2)? };
        Ok(StoredOffset { source, next: row.try_get(3)? })
    };
    rows.fetch_all(sql).await?.iter().map(stored).collect()
}

async fn set_offset(sql: &mut SqliteConnection, source: &Source, next: i64) -> sqlx::Result<()> {
    let set = sqlx::query(
        "insert into offsets (log, partition, name, next) values (?1, ?2, ?3, ?4)
         on conflict (log, partition) do update set next = excluded.next, name = excluded.name",
    );
    let set = set.bind(&*source.log).bind(source.partition).bind(&*source.name).bind(next);
    set.execute(sql).await.map(drop)
}

async fn next_offset(sql: &mut SqliteConnection, source: &Source) -> sqlx::Result<Option<i64>> {
    let query = sqlx::query("select next from offsets where log = ? and partition = ?");
    let row = query.bind(&*source.log).bind(source.partition).fetch_optional(sql).await?;
    row.map(|row| row.try_get(0)).transpose()
}
