//! What stands in the way of opening: waited for when it may pass, else named, with what to do, and without a password.

use crate::stage::{Kind, Place, Stage, line};
use std::time::Duration;
use store::{Settings, Store, Waits, postgres::OpenError};
use testkit::{Postgres, TestDatabase, free_port};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

const LIMIT: Duration = Duration::from_secs(60);

async fn open(url: &str) -> Result<Store, OpenError> {
    open_with(url, Settings::default()).await
}

async fn open_with(url: &str, settings: Settings) -> Result<Store, OpenError> {
    let opening = async { Store::open_postgres(&url.parse().unwrap(), settings, &CancellationToken::new()).await };
    timeout(LIMIT, opening).await.expect("it is waited for")
}

fn changed(url: &str, change: impl FnOnce(&mut Url)) -> String {
    let mut url: Url = url.parse().unwrap();
    change(&mut url);
    url.into()
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let database = TestDatabase::new().await;
    let role = database.role().await;
    let wrong = changed(&role, |url| url.set_password(Some("hunter2")).unwrap());
    let e = open(&wrong).await.unwrap_err();
    assert!(matches!(e, OpenError::Authentication { .. }), "{e}");
    assert!(e.to_string().contains("check user and password") && !format!("{e} {e:?}").contains("hunter2"), "{e}");
    let none = changed(&role, |url| url.set_password(None).unwrap());
    let e = open(&none).await.unwrap_err();
    assert!(matches!(e, OpenError::Authentication { .. }) && e.to_string().contains("has none"), "{e}");
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let url = changed(&testkit::postgres_url(), |url| url.set_path("nothing_here"));
    let e = open(&url).await.unwrap_err();
    assert!(matches!(e, OpenError::NoDatabase { .. }) && e.to_string().contains("nothing_here"), "{e}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let s = Stage::new(Kind::Postgres).await;
    let Place::Database(database) = &s.place else { panic!() };
    database.execute("update schema_version set version = 77").await;
    let e = open(&database.url()).await.unwrap_err();
    assert!(matches!(e, OpenError::Newer { found: 77, .. }) && e.to_string().contains("newer Lapwing"), "{e}");
    assert_eq!(s.query("select version from schema_version").await, "77");
}

#[tokio::test]
async fn an_empty_database_is_refused_when_nothing_may_be_migrated() {
    let database = TestDatabase::new().await;
    let settings = || Settings { migrate: false, ..Settings::default() };
    let e = open_with(&database.url(), settings()).await.unwrap_err();
    assert!(matches!(e, OpenError::NeedsMigration { found: 0, .. }) && e.to_string().contains("--no-migrate"), "{e}");
    open(&database.url()).await.unwrap().close().await;
    open_with(&database.url(), settings()).await.unwrap().close().await;
}

#[tokio::test]
async fn missing_rights_are_named_at_once() {
    let database = TestDatabase::new().await;
    let role = database.role().await;
    database.execute("revoke create on schema public from public").await;
    let e = open(&role).await.unwrap_err();
    assert!(matches!(e, OpenError::Rights { .. }), "{e}");
    open(&database.url()).await.unwrap().close().await;
    database.execute("grant select on all tables in schema public to public").await;
    let e = open(&role).await.unwrap_err();
    assert!(matches!(e, OpenError::Rights { .. }) && e.to_string().contains("insert on checks"), "{e}");
    assert!(!e.to_string().contains("select on"), "{e}");
}

#[tokio::test]
async fn tables_of_somebody_else_are_not_taken_for_ours() {
    let database = TestDatabase::new().await;
    database.execute("create table schema_version (installed_rank int, version text); insert into schema_version values (1, 'x')").await;
    let e = open(&database.url()).await.unwrap_err();
    assert!(matches!(e, OpenError::Unusable { .. }) && e.to_string().contains("schema_version"), "{e}");
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let database = TestDatabase::new().await;
    let name = format!("{}_latin", database.name());
    database.execute(&format!("create database {name} encoding 'LATIN1' locale 'C' template template0")).await;
    let e = open(&changed(&database.url(), |url| url.set_path(&name))).await.unwrap_err();
    database.execute(&format!("drop database {name} with (force)")).await;
    assert!(matches!(e, OpenError::Encoding { .. }) && e.to_string().contains("UTF8"), "{e}");
}

#[tokio::test]
async fn what_is_no_postgresql_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u@{}/db", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let e = open(&url).await.unwrap_err();
    assert!(matches!(e, OpenError::NotPostgres { .. }) && e.to_string().contains("check host and port"), "{e}");
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_what_for_is_told() {
    let mut server = Postgres::start().await;
    let url = server.url();
    server.stop().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let settings =
        Settings { waits: Some(Waits::tell(move |why| drop(tell.send(why.to_owned())))), ..Settings::default() };
    let opening = tokio::spawn(async move { open_with(&url, settings).await.map(drop) });
    assert!(timeout(LIMIT, told.recv()).await.unwrap().is_some_and(|why| !why.is_empty()));
    assert!(!opening.is_finished());
    server.restart().await;
    timeout(LIMIT, opening).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn too_many_connections_are_waited_out() {
    let server = Postgres::options().setting("max_connections", "5").setting("superuser_reserved_connections", "0");
    let server = server.start().await;
    let mut theirs = Vec::new();
    while let Ok(store) = timeout(Duration::from_secs(3), open(&server.url())).await {
        theirs.push(store.unwrap());
        assert!(theirs.len() < 10);
    }
    theirs.pop().unwrap().close().await;
    open(&server.url()).await.unwrap();
}

#[tokio::test]
async fn waiting_can_be_stopped() {
    let stop = CancellationToken::new();
    let (url, stopped) = (format!("postgres://u@127.0.0.1:{}/db", free_port()), stop.clone());
    let opening =
        tokio::spawn(async move { Store::open_postgres(&url.parse().unwrap(), Settings::default(), &stopped).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    let e = timeout(LIMIT, opening).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(e, OpenError::Stopped { .. }), "{e}");
}

#[tokio::test]
async fn many_that_open_an_empty_database_at_once_make_it_once() {
    let database = TestDatabase::new().await;
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { open(&url).await.map(drop) })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    let mut s = Stage { store: open(&database.url()).await.unwrap(), place: Place::Database(database) };
    assert_eq!(s.follow("log", &[line(1, 0, "")]).await.stored, 1);
    assert_eq!(s.query("select version from schema_version").await, "2");
}
