//! A server of a test's own, and databases of a test's own on a shared one.

use super::{LIMIT, listens};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testkit::{Postgres, TestDatabase, pki, postgres_url};

async fn one(url: &str, sql: &str) -> Result<i64, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await
}

async fn databases_named(server: &str, name: &str) -> i64 {
    one(server, &format!("select count(*) from pg_database where datname = '{name}'")).await.unwrap()
}

#[tokio::test]
async fn a_database_goes_with_its_variable() {
    let database = TestDatabase::new().await;
    database.execute("create table t (n bigint); insert into t values (7)").await;
    assert_eq!(one(&database.url(), "select n from t").await.unwrap(), 7);
    let name = database.name().to_owned();
    // A connection that was forgotten is no reason for it to stay.
    let _open = PgConnection::connect(&database.url()).await.unwrap();
    drop(database);
    assert_eq!(databases_named(&postgres_url(), &name).await, 0);
}

#[tokio::test]
async fn a_database_goes_when_the_test_fails() {
    let database = TestDatabase::new().await;
    let (name, url) = (database.name().to_owned(), database.role().await);
    let failed = tokio::spawn(async move {
        assert!(database.name().is_empty(), "on purpose");
    });
    assert!(failed.await.is_err());
    assert_eq!(databases_named(&postgres_url(), &name).await, 0);
    let role = url.split(&[':', '@', '/'][..]).find(|part| part.starts_with("role")).unwrap();
    let roles = one(&postgres_url(), &format!("select count(*) from pg_roles where rolname = '{role}'")).await.unwrap();
    assert_eq!(roles, 0);
}

#[tokio::test]
async fn a_role_needs_its_password_and_has_no_other_rights() {
    let server = Postgres::start().await;
    let database = server.database().await;
    let url = database.role().await;
    assert_eq!(one(&url, "select 1::bigint").await.unwrap(), 1);
    let (user, _) = url.split_once("secret").unwrap();
    let wrong = format!("{user}guessed@127.0.0.1:{}/{}", server.port(), database.name());
    let code = |error: sqlx::Error| error.into_database_error().unwrap().code().unwrap().into_owned();
    assert_eq!(code(one(&wrong, "select 1::bigint").await.unwrap_err()), "28P01");
    database.execute("create table closed (n bigint)").await;
    assert_eq!(code(one(&url, "select n from closed").await.unwrap_err()), "42501");
}

#[tokio::test]
async fn what_was_committed_survives_every_way_to_stop() {
    let mut server = Postgres::options().setting("max_connections", "17").start().await;
    let url = server.url();
    assert_eq!(one(&url, "select current_setting('max_connections')::bigint").await.unwrap(), 17);
    let mut session = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("create table t (n bigint)").execute(&mut session).await.unwrap();
    for round in 1..=3 {
        let insert = AssertSqlSafe(format!("insert into t values ({round})"));
        sqlx::raw_sql(insert).execute(&mut session).await.unwrap();
        match round {
            1 => server.stop().await,
            2 => server.stop_immediately().await,
            _ => server.kill9(),
        }
        assert!(!listens(server.port()));
        assert!(sqlx::raw_sql("select 1").execute(&mut session).await.is_err(), "the session was cut");
        server.restart().await;
        assert_eq!(server.url(), url);
        assert_eq!(one(&url, "select count(*) from t").await.unwrap(), round);
        session = PgConnection::connect(&url).await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_reaches_a_session_at_work() {
    let mut server = Postgres::start().await;
    let url = server.url();
    let working = tokio::spawn(async move { one(&url, "select 1::bigint from pg_sleep(600)").await });
    let sessions = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    let url = server.url();
    testkit::eventually("it sleeps", LIMIT, async || one(&url, sessions).await.unwrap() == 1).await;
    server.kill9();
    assert!(working.await.unwrap().is_err());
    server.restart().await;
    assert_eq!(one(&url, sessions).await.unwrap(), 0);
}

#[tokio::test]
async fn a_paused_one_is_silent_and_goes_on() {
    let mut server = Postgres::start().await;
    let mut session = PgConnection::connect(&server.url()).await.unwrap();
    server.pause();
    let ping = session.ping();
    tokio::pin!(ping);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut ping).await.is_err(), "nothing is answered");
    server.resume();
    tokio::time::timeout(LIMIT, ping).await.expect("it goes on").unwrap();
}

#[tokio::test]
async fn it_speaks_tls_when_it_has_a_certificate() {
    // What libpq sends before anything else when it wants TLS.
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let answer = |server: &Postgres| {
        let mut tcp = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        tcp.write_all(&SSL_REQUEST).unwrap();
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        char::from(byte[0])
    };
    let with = Postgres::options().tls(&pki().good).rule("hostnossl all all 127.0.0.1/32 reject").start().await;
    assert_eq!(answer(&with), 'S');
    let without = Postgres::start().await;
    assert_eq!(answer(&without), 'N');
}

#[tokio::test]
async fn dropped_it_is_gone() {
    let server = Postgres::start().await;
    let (port, url) = (server.port(), server.url());
    let mut session = PgConnection::connect(&url).await.unwrap();
    drop(server);
    assert!(!listens(port));
    assert!(session.ping().await.is_err());
}

#[tokio::test]
async fn a_server_that_can_not_start_shows_why() {
    let error = Postgres::options().setting("shared_buffers", "lots").try_start().await.unwrap_err().to_string();
    assert!(error.contains("PostgreSQL ended") && error.contains("shared_buffers"), "{error}");
}
