//! The store on a PostgreSQL server, for many writers at once.
//!
//! A connection that breaks, or a write that is given up, leaves nothing half done: the next write connects again and looks where
//! the offset stands.

mod columns;
mod copies;
mod days;
mod error;
mod letters;
mod migrate;
mod names;
mod rows;
mod server;
mod session;
mod socket;
mod status;
mod tls;
mod upkeep;
mod write;

pub use error::{Error, OpenError};

use crate::{Counts, Gap, Keep, Position, Settings, StoreError, StoredOffset, Written};
use columns::Time;
use error::Fault;
use model::{
    batch::{Batch, Source},
    trouble::{Lasting, Say},
};
use server::Server;
use session::Session;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};
use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};
use tokio_util::sync::CancellationToken;
use url::Url;
use write::{InDoubt, Writing};

/// Between two attempts to open a database that is not there yet.
const RETRY: Duration = Duration::from_millis(500);
/// A server that takes longer for a batch is taken for one that will not answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct PostgresStore {
    server: Server,
    /// What to write with. `None` while it is in use, and after it was lost: then the next one to need it connects.
    session: Option<Session>,
    in_doubt: Option<InDoubt>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("server", &self.server).finish_non_exhaustive()
    }
}

impl PostgresStore {
    pub(crate) async fn open(url: &Url, settings: &Settings, stop: &CancellationToken) -> Result<Self, OpenError> {
        let server = Server::parse(url)?;
        let stopped = || OpenError::Stopped { at: Arc::clone(&server.at) };
        let mut trouble = Lasting::default();
        loop {
            let failed = tokio::select! {
                session = Session::open(&server, settings.migrate) => match session {
                    Ok(session) => {
                        if let Some(Say::Over(lasted)) = trouble.gone(Instant::now()) {
                            tracing::info!(server = &*server.at, ?lasted, "the database can be used");
                        }
                        return Ok(Self { server, session: Some(session), in_doubt: None });
                    }
                    Err(e) => e,
                },
                () = stop.cancelled() => return Err(stopped()),
            };
            let why = failed.when_opening(&server.at)?;
            if let Some(waits) = &settings.waits {
                waits.say(&why);
            }
            match trouble.met(Instant::now()) {
                Some(Say::Lasts(lasted)) => {
                    tracing::warn!(server = &*server.at, why, ?lasted, "still waiting for the database");
                }
                Some(Say::Begins | Say::Over(_)) => {
                    tracing::warn!(server = &*server.at, why, "waiting for the database");
                }
                None => {}
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = stop.cancelled() => return Err(stopped()),
            }
        }
    }

    pub(crate) async fn next_offset(&mut self, source: &Source) -> Result<Option<i64>, StoreError> {
        self.with_session("read the offset in", async |session, _| {
            // Who asks is about to read that source, which another writer may have had until now.
            session.names.doubt();
            next_offset(&session.client, source).await
        })
        .await
    }

    pub(crate) async fn position(&mut self, source: &Source) -> Result<Position, StoreError> {
        self.with_session("read the offset in", async |session, _| {
            session.names.doubt();
            position(&session.client, source).await
        })
        .await
    }

    pub(crate) async fn write(&mut self, batch: &Batch, keep: &Keep) -> Result<Written, StoreError> {
        self.with_session("store results in", async |session, in_doubt| {
            let mut writing = Writing { session, batch, keep, in_doubt };
            match writing.all().await {
                // A partition was dropped behind our back, by somebody who keeps less.
                Err(e) if e.is_without_partition() => {
                    writing.session.client.batch_execute("rollback").await?;
                    writing.session.days.forget();
                    writing.all().await
                }
                other => other,
            }
        })
        .await
    }

    pub(crate) async fn record_gap(&mut self, gap: &Gap) -> Result<Written, StoreError> {
        self.with_session("note a gap in", async |session, _| record_gap(session, gap).await).await
    }

    pub(crate) async fn offsets(&mut self) -> Result<Vec<StoredOffset>, StoreError> {
        self.with_session("read the offsets in", async |session, _| offsets(&session.client).await).await
    }

    pub(crate) async fn set_offset(&mut self, source: &Source, next: i64) -> Result<(), StoreError> {
        self.with_session("set the offset in", async |session, _| set_offset(&session.client, source, next).await).await
    }

    pub(crate) async fn look(&mut self) -> Result<(), StoreError> {
        self.with_session("write to", async |session, _| Ok(session.client.batch_execute("").await?)).await
    }

    pub(crate) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    /// Lends the connection to some work, and takes it back if it is fit for more: not when it broke, nor when the work was
    /// given up in the middle.
    async fn with_session<T>(
        &mut self,
        deed: &'static str,
        work: impl AsyncFnOnce(&mut Session, &mut Option<InDoubt>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.with_session_for(PATIENCE, deed, work).await
    }

    /// The same for what may take longer.
    async fn with_session_for<T>(
        &mut self,
        patience: Duration,
        deed: &'static str,
        work: impl AsyncFnOnce(&mut Session, &mut Option<InDoubt>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let at = Arc::clone(&self.server.at);
        let worked = async {
            let mut session = match self.session.take().filter(|session| !session.client.is_closed()) {
                Some(session) => session,
                None => Session::open(&self.server, false).await?,
            };
            let worked = work(&mut session, &mut self.in_doubt).await;
            // The first error is the one to tell.
            if worked.is_ok() || session.client.batch_execute("rollback").await.is_ok() {
                self.session = Some(session);
            }
            worked
        };
        let worked = timeout(patience, worked).await;
        let worked = worked.unwrap_or_else(|_| Err(Fault::Passing("it does not answer".to_owned())));
        worked.map_err(|fault| Error::new(deed, &at, fault).into())
    }
}

/// Notes the gap and moves the offset over it, both or neither.
async fn record_gap(session: &Session, gap: &Gap) -> Result<Written, Fault> {
    let (client, Source { log, name, partition }) = (&session.client, &gap.source);
    client.batch_execute("begin").await?;
    let moved = client.query(&session.claim, &[&&**log, partition, &&**name, &gap.to, &gap.from]).await?;
    if moved.is_empty() {
        client.batch_execute("rollback").await?;
        let next = next_offset(client, &gap.source).await?.unwrap_or(gap.from);
        return Ok(Written::Behind { next });
    }
    let insert = "insert into gaps (topic, partition, from_offset, to_offset, at) values ($1, $2, $3, $4, $5)";
    let values: [(&(dyn ToSql + Sync), Type); 5] = [
        (&&**name, Type::TEXT),
        (partition, Type::INT4),
        (&gap.from, Type::INT8),
        (&gap.to, Type::INT8),
        (&Time(gap.at), Type::TIMESTAMPTZ),
    ];
    client.execute_typed(insert, &values).await?;
    client.batch_execute("commit").await?;
    Ok(Written::Committed(Counts::default()))
}

async fn position(client: &Client, source: &Source) -> Result<Position, Fault> {
    let query = "select log, next from offsets where partition = $1 and (log = $2 or name = $3)";
    let values: [(&(dyn ToSql + Sync), Type); 3] =
        [(&source.partition, Type::INT4), (&&*source.log, Type::TEXT), (&&*source.name, Type::TEXT)];
    let rows = client.query_typed(query, &values).await?;
    let stored = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<Vec<_>, Fault>>()?;
    Ok(Position::among(stored, source))
}

async fn offsets(client: &Client) -> Result<Vec<StoredOffset>, Fault> {
    let query = "select log, name, partition, next from offsets order by name, partition, log";
    let rows = client.query_typed(query, &[]).await?;
    let stored = |row: &Row| {
        let (log, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let source = Source { log: log.into(), name: name.into(), partition: row.try_get(2)? };
        Ok(StoredOffset { source, next: row.try_get(3)? })
    };
    rows.iter().map(stored).collect()
}

async fn set_offset(client: &Client, source: &Source, next: i64) -> Result<(), Fault> {
    let set = "insert into offsets (log, partition, name, next) values ($1, $2, $3, $4)
               on conflict (log, partition) do update set next = excluded.next, name = excluded.name";
    let values: [(&(dyn ToSql + Sync), Type); 4] = [
        (&&*source.log, Type::TEXT),
        (&source.partition, Type::INT4),
        (&&*source.name, Type::TEXT),
        (&next, Type::INT8),
    ];
    client.execute_typed(set, &values).await?;
    Ok(())
}

async fn next_offset(client: &Client, source: &Source) -> Result<Option<i64>, Fault> {
    let query = "select next from offsets where log = $1 and partition = $2";
    let rows = client.query_typed(query, &[(&&*source.log, Type::TEXT), (&source.partition, Type::INT4)]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}
