//! A connection that can be written to: logged in, looked over, migrated, with all that is remembered along with it.

use super::{
    columns,
    days::Days,
    error::{Fault, OpenError},
    migrate::migrate,
    names::Names,
    server::Server,
    socket,
};
use std::sync::Arc;
use tokio_postgres::{Client, Statement};
use tokio_util::task::AbortOnDropHandle;

/// PostgreSQL 14: `detach partition concurrently`, without which no partition could go while it is written to others.
const OLDEST: i32 = 140_000;

/// What each connection is told. A lock is waited for so long that others get through, and a stop is never far away; a process
/// that stands still in the middle of a transaction does not hold the offset for ever; what was committed survives a power cut,
/// also where the database is set to forget (docs/decisions/0002).
const SETTINGS: &str = "
    set client_min_messages = warning;
    set default_transaction_isolation = 'read committed';
    set lock_timeout = '5s';
    set idle_in_transaction_session_timeout = '10s';
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';";

/// What whoever writes needs, and no more. `packaging/postgres/roles.sql` grants it to a user who does not own the tables.
const RIGHTS: &[(&str, &[&str])] = &[
    ("offsets", &["select", "insert", "update"]),
    ("targets", &["select", "insert", "update"]),
    ("locations", &["select", "insert"]),
    ("facts", &["select", "insert"]),
    ("checks", &["select", "insert"]),
    ("dead_letters", &["select", "insert", "update"]),
    ("dead_copies", &["select", "insert", "update", "delete"]),
    ("gaps", &["select", "insert"]),
];

pub(super) struct Session {
    pub client: Client,
    pub names: Names,
    pub days: Days,
    pub claim: Statement,
    pub copy: Statement,
    /// Moves bytes between the client and the socket; goes when the session goes.
    driver: AbortOnDropHandle<()>,
}

impl Session {
    /// Connects, and sees to it that what is there is a database of this program's version.
    pub async fn open(server: &Server, may_migrate: bool) -> Result<Self, Fault> {
        let (client, connection) = socket::connect(server).await?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // Whoever waits for an answer is told that the connection is gone.
            connection.await.ok();
        }));
        look_over(&client, &server.at).await?;
        client.batch_execute(SETTINGS).await?;
        migrate(&client, &server.at, may_migrate).await?;
        may_write(&client, &server.at).await?;
        let claim = client
            .prepare(
                "insert into offsets (log, partition, name, next) values ($1, $2, $3, $4)
                 on conflict (log, partition) do update set next = excluded.next, name = excluded.name
                     where offsets.next = $5
                 returning pg_current_xact_id()::text",
            )
            .await?;
        let copy = client.prepare(&format!("copy checks ({}) from stdin (format binary)", columns::names())).await?;
        Ok(Self { client, names: Names::default(), days: Days::default(), claim, copy, driver })
    }

    /// Says goodbye, and waits until the server has heard it.
    pub async fn close(self) {
        let Self { client, driver, .. } = self;
        drop(client);
        driver.await.ok();
    }
}

async fn look_over(client: &Client, at: &Arc<str>) -> Result<(), Fault> {
    let query = "select current_setting('server_version_num')::int, current_setting('server_version'),
                        current_setting('server_encoding'), current_setting('transaction_read_only')";
    let rows = client.query_typed(query, &[]).await?;
    let [row] = &rows[..] else { return Err(Fault::Passing("it tells nothing of itself".to_owned())) };
    let at = Arc::clone(at);
    if row.try_get::<_, i32>(0)? < OLDEST {
        return Err(OpenError::TooOld { at, found: row.try_get(1)? }.into());
    }
    match row.try_get(2)? {
        // SQL_ASCII keeps the bytes of a text as they are.
        "UTF8" | "SQL_ASCII" => {}
        found => return Err(OpenError::Encoding { at, found: found.to_owned() }.into()),
    }
    if row.try_get::<_, &str>(3)? == "on" {
        return Err(Fault::Passing("it only reads: a standby that may become the primary, or set so".to_owned()));
    }
    Ok(())
}

/// A right that is missing is told at once, and not hours later with the first late result.
async fn may_write(client: &Client, at: &Arc<str>) -> Result<(), Fault> {
    let needed =
        RIGHTS.iter().flat_map(|(table, rights)| rights.iter().map(move |right| format!("('{right}', '{table}')")));
    let needed = needed.collect::<Vec<_>>().join(", ");
    let query = format!(
        "select current_user::text, what || ' on ' || name from (values {needed}) as needed (what, name)
             where not has_table_privilege(name, what)
         union all
         select current_user::text, 'temporary on the database'
             where not has_database_privilege(current_database(), 'temporary')"
    );
    let missing = client.query_typed(&query, &[]).await?;
    let Some(first) = missing.first() else { return Ok(()) };
    let user: &str = first.try_get(0)?;
    let missing = missing.iter().map(|row| row.try_get::<_, &str>(1)).collect::<Result<Vec<_>, _>>()?;
    Err(OpenError::rights(Arc::clone(at), &format!("user {user} lacks {}", missing.join(", "))).into())
}
