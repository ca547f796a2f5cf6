//! One batch on its way into the database: numbers for its names, partitions for its days, and then everything in one
//! transaction, the compare-and-set first.

use super::{
    columns::{Row, Time},
    error::Fault,
    rows,
    session::Session,
};
use crate::{Counts, Keep, Written, dead};
use model::{
    batch::{Batch, Content, DeadLetter, DeadReason, Entry, Source},
    mark::Marked,
};
use std::borrow::Cow;
use tokio_postgres::{error::SqlState, types::Type};

/// A transaction whose `commit` was sent and not answered.
#[derive(Debug)]
pub(super) struct InDoubt {
    source: Source,
    from: i64,
    next: i64,
    counts: Counts,
    /// The server's number of the transaction.
    xid: String,
}

/// One batch, and where it is written.
pub(super) struct Writing<'a> {
    pub session: &'a mut Session,
    pub batch: &'a Batch,
    pub keep: &'a Keep,
    /// Is there while nobody knows whether this batch was committed.
    pub in_doubt: &'a mut Option<InDoubt>,
}

/// What of a batch goes where.
#[derive(Default)]
struct Sorted<'a> {
    counts: Counts,
    results: Vec<(&'a Marked, &'a Entry)>,
    letters: Vec<(i64, Cow<'a, DeadLetter>)>,
}

impl<'a> Writing<'a> {
    pub async fn all(&mut self) -> Result<Written, Fault> {
        let mut sorted = self.sort_out();
        let rows = self.prepare(&mut sorted).await?;
        let Some(xid) = self.begin().await? else { return self.behind().await };
        let inserted = rows::insert(self.session, rows).await?;
        sorted.counts.stored = inserted.stored;
        sorted.counts.duplicate = inserted.duplicate;
        for (row, why) in inserted.refused {
            sorted.refuse(row.entry, why);
        }
        self.bury(&mut sorted.letters).await?;
        self.commit(sorted.counts, xid).await
    }

    /// Counts what is no row, and tells rows from dead letters.
    fn sort_out(&self) -> Sorted<'a> {
        let mut sorted = Sorted { results: Vec::with_capacity(self.batch.entries.len()), ..Sorted::default() };
        let since = self.keep.since();
        for entry in &self.batch.entries {
            match &entry.content {
                Content::Result(record) if record.due_at < since => sorted.counts.too_old += 1,
                Content::Result(record) => sorted.results.push((record, entry)),
                Content::UnknownKind => sorted.counts.unknown_kind += 1,
                Content::Dead(letter) => {
                    sorted.counts.dead.count(letter.reason);
                    sorted.letters.push((entry.offset, Cow::Borrowed(letter)));
                }
            }
        }
        sorted
    }

    /// The rows of the results. One whose names the database refuses becomes a dead letter.
    async fn prepare(&mut self, sorted: &mut Sorted<'a>) -> Result<Vec<Row<'a>>, Fault> {
        let results = std::mem::take(&mut sorted.results);
        rows::prepare(self.session, results, self.keep.now, |entry, why| sorted.refuse(entry, why)).await
    }

    /// Begins the transaction and moves the offset, if it stands where the batch begins: the fence against every other writer.
    /// Returns the transaction's number.
    async fn begin(&mut self) -> Result<Option<String>, Fault> {
        let Session { client, claim, .. } = &*self.session;
        let Batch { source, from, next, .. } = self.batch;
        client.batch_execute("begin").await?;
        let claimed = client.query(claim, &[&&*source.log, &source.partition, &&*source.name, next, from]).await;
        match claimed.map_err(Fault::from) {
            Ok(claimed) => Ok(claimed.first().map(|row| row.try_get(0)).transpose()?),
            Err(e) => {
                if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
                    self.end_a_writer_that_stands_still().await?;
                }
                Err(e)
            }
        }
    }

    /// Another writer holds the offset in the middle of its transaction, and its next word has not come for a long time: it was
    /// stopped, or its machine is gone. Ending its connection undoes what it began. (The server's own limit for idle
    /// transactions does not see one that stands still within a `COPY`.)
    async fn end_a_writer_that_stands_still(&self) -> Result<(), Fault> {
        let Source { log, partition, .. } = &self.batch.source;
        let client = &self.session.client;
        client.batch_execute("rollback").await?;
        let query = "select pg_terminate_backend(activity.pid)
                     from offsets
                     join pg_locks locks on locks.transactionid = offsets.xmax and locks.granted
                     join pg_stat_activity activity on activity.pid = locks.pid
                     where log = $1 and partition = $2 and activity.wait_event = 'ClientRead'
                         and activity.state_change < now() - interval '10 seconds'";
        let ended = client.query_typed(query, &[(&&**log, Type::TEXT), (partition, Type::INT4)]).await?;
        if !ended.is_empty() {
            tracing::warn!(partition, "a writer that stood still in the middle of a transaction was ended");
        }
        Ok(())
    }

    /// Somebody was faster. That may have been ourselves, when the answer to our `commit` was lost.
    async fn behind(&mut self) -> Result<Written, Fault> {
        let client = &self.session.client;
        client.batch_execute("rollback").await?;
        let batch = self.batch;
        let next = super::next_offset(client, &batch.source).await?.unwrap_or(batch.from);
        if let Some(doubt) = self.in_doubt.take().filter(|doubt| doubt.is_of(batch) && next == batch.next) {
            let query = "select pg_xact_status($1::text::xid8) = 'committed'";
            let rows = client.query_typed(query, &[(&doubt.xid, Type::TEXT)]).await?;
            if let Some(Ok(Some(true))) = rows.first().map(|row| row.try_get::<_, Option<bool>>(0)) {
                return Ok(Written::Committed(doubt.counts));
            }
        }
        // Whoever it was has perhaps named targets since.
        self.session.names.doubt();
        Ok(Written::Behind { next })
    }

    async fn bury(&self, letters: &mut [(i64, Cow<'a, DeadLetter>)]) -> Result<(), Fault> {
        letters.sort_by_key(|(offset, _)| *offset);
        for (offset, letter) in letters {
            self.bury_one(*offset, letter).await?;
        }
        Ok(())
    }

    async fn bury_one(&self, offset: i64, letter: &DeadLetter) -> Result<(), Fault> {
        let source = &self.batch.source;
        let retry = dead::next_retry(letter.reason, self.keep).map(Time);
        // A text of PostgreSQL has no NUL.
        let message = letter.message.replace('\0', "\u{fffd}");
        let insert = r#"insert into dead_letters (reason, message, topic, partition, "offset", key, value, headers, failed_at,
                            attempts, next_retry_at)
                        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10)"#;
        self.session
            .client
            .execute_typed(
                insert,
                &[
                    (&letter.reason.word(), Type::TEXT),
                    (&message, Type::TEXT),
                    (&&*source.name, Type::TEXT),
                    (&source.partition, Type::INT4),
                    (&offset, Type::INT8),
                    (&letter.key, Type::BYTEA),
                    (&letter.value, Type::BYTEA),
                    (&dead::headers(letter), Type::BYTEA),
                    (&Time(self.keep.now), Type::TIMESTAMPTZ),
                    (&retry, Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        Ok(())
    }

    async fn commit(&mut self, counts: Counts, xid: String) -> Result<Written, Fault> {
        let Batch { source, from, next, .. } = self.batch;
        *self.in_doubt = Some(InDoubt { source: source.clone(), from: *from, next: *next, counts, xid });
        self.session.client.batch_execute("commit").await?;
        *self.in_doubt = None;
        Ok(Written::Committed(counts))
    }
}

impl Sorted<'_> {
    fn refuse(&mut self, entry: &Entry, why: String) {
        self.counts.dead.count(DeadReason::Refused);
        self.letters.push((entry.offset, Cow::Owned(dead::refused(entry, why))));
    }
}

impl InDoubt {
    fn is_of(&self, batch: &Batch) -> bool {
        (&self.source, self.from, self.next) == (&batch.source, batch.from, batch.next)
    }
}
