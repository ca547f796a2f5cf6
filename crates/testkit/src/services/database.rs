//! A database of a test's own on a PostgreSQL that many share.

use super::trouble::ServiceError;
use super::{postgres_url, unique};
use crate::fail::fail;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// A server that is down refuses at once; one that is paused would hold a test's end for ever.
const LIMIT: Duration = Duration::from_secs(10);

/// A fresh database, dropped with the variable, also when the test fails.
#[derive(Debug)]
pub struct TestDatabase {
    server: String,
    name: String,
    roles: Mutex<Vec<String>>,
}

impl TestDatabase {
    /// On the shared server. Fails the test when there is none.
    pub async fn new() -> Self {
        Self::on(&postgres_url()).await
    }

    /// On the server of this superuser's URL.
    pub async fn on(server: &str) -> Self {
        let name = unique("test").replace('-', "_");
        must(server, &format!("create database {name}")).await;
        Self { server: server.to_owned(), name, roles: Mutex::default() }
    }

    /// Of the superuser.
    pub fn url(&self) -> String {
        let mut url = parse(&self.server);
        url.set_path(&self.name);
        url.into()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new role with a password and no rights but to connect and what everybody has, as a URL of this database.
    pub async fn role(&self) -> String {
        let name = unique("role").replace('-', "_");
        let password = unique("secret");
        must(&self.server, &format!("create role {name} login password '{password}'")).await;
        let mut url = parse(&self.url());
        // Both can fail only for URLs without a host.
        let _ = url.set_username(&name);
        let _ = url.set_password(Some(&password));
        self.roles.lock().expect("no test panics here").push(name);
        url.into()
    }

    /// Runs statements as the superuser, in this database; fails the test when one fails.
    pub async fn execute(&self, sql: &str) {
        must(&self.url(), sql).await;
    }

    fn clean_up(&self) -> String {
        let mut sql = format!("drop database if exists {} with (force);", self.name);
        for role in self.roles.lock().expect("no test panics here").iter() {
            // Infallible for a String.
            let _ = write!(sql, "drop role if exists {role};");
        }
        sql
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), self.clean_up());
        // A drop may be inside a runtime, where nothing may block on another one: hence a thread. A server that the test has
        // killed takes its databases along.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.is_ok_and(|r| r.block_on(async { tokio::time::timeout(LIMIT, each(&server, &sql)).await.is_ok() }))
        });
        let _ = cleaning.join();
    }
}

async fn each(server: &str, statements: &str) -> Result<(), sqlx::Error> {
    let mut connection = connect(server).await?;
    // One by one: `drop database` must not stand in the transaction that several statements at once would be.
    for statement in statements.split_terminator(';') {
        connection.execute(AssertSqlSafe(statement.to_owned())).await?;
    }
    connection.close().await
}

async fn must(url: &str, sql: &str) {
    let run = async {
        let mut connection = connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
        connection.close().await
    };
    if let Err(error) = run.await {
        fail(&format!("{sql}: {error}"));
    }
}

/// One that is there already is fine.
pub(crate) async fn create(server: &str, name: &str) -> Result<(), ServiceError> {
    let created = async {
        connect(server).await?.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        Ok::<_, sqlx::Error>(())
    };
    match created.await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P04") => Ok(()),
        done => {
            done.map_err(|error| ServiceError::io(format!("create the database {name}"))(std::io::Error::other(error)))
        }
    }
}

/// Its statements are not logged.
pub(crate) async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    options.disable_statement_logging().connect().await
}

fn parse(server: &str) -> url::Url {
    server.parse().unwrap_or_else(|error| fail(&format!("the URL of the PostgreSQL for tests is none: {error}")))
}
