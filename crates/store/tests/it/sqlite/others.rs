//! The file is an ordinary one: other programs read it while it is written.

use crate::stage::{Kind, Place, Stage, line};
use sqlx::{ConnectOptions, Row as _, sqlite::SqliteConnectOptions};
use std::time::Duration;
use store::{OpenError, Settings, Store};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn readers_see_whole_batches_while_the_store_writes() {
    let mut s = Stage::new(Kind::Sqlite).await;
    let Place::File(path, _) = &s.place else { panic!() };
    let path = path.clone();
    s.follow("log", &[line(0, 0, "")]).await;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let reader = tokio::spawn(async move {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(Duration::ZERO);
        let mut theirs = options.connect().await.unwrap();
        let mut seen = Vec::new();
        while !stopped.is_cancelled() {
            let row = sqlx::query("select count(*), (select next from offsets) from results").fetch_one(&mut theirs);
            let row = row.await.unwrap();
            assert_eq!(row.get::<i64, _>(0), row.get::<i64, _>(1), "rows and offset are of one transaction");
            seen.push(row.get::<i64, _>(0));
        }
        seen
    });
    for n in 1..=40 {
        s.follow("log", &(0..50).map(|m| line(m, n * 30, "")).collect::<Vec<_>>()).await;
    }
    stop.cancel();
    let seen = reader.await.unwrap();
    assert!(seen.is_sorted() && seen.len() > 5, "{seen:?}");
}

#[tokio::test]
async fn a_backup_by_another_program_is_whole() {
    let mut s = Stage::new(Kind::Sqlite).await;
    let Place::File(path, _) = &s.place else { panic!() };
    let path = path.clone();
    s.follow("log", &(0..500).map(|n| line(n, 0, "")).collect::<Vec<_>>()).await;
    let copy = path.with_file_name("copy.db");
    s.query(&format!("vacuum into '{}'", copy.display())).await;
    let mut copied = crate::stage::another_program(&copy).await;
    let row = sqlx::query("select count(*) from results").fetch_one(&mut copied).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 500);
}

#[tokio::test]
async fn the_queues_file_is_not_taken_for_the_stores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let stop = CancellationToken::new();
    let queue = bus::Queue::open(&path, bus::queue::Options::new(1 << 20), &stop).await.unwrap();
    let held = Store::open_sqlite(&path, Settings::default(), &stop).await.unwrap_err();
    assert!(matches!(held, OpenError::Held { .. }), "{held}");
    queue.tail.close().await;
    queue.reader.close().await;
    let e = Store::open_sqlite(&path, Settings::default(), &stop).await.unwrap_err();
    assert!(matches!(e, OpenError::NotOurs { .. }) && e.to_string().contains("not a store"), "{e}");
}
