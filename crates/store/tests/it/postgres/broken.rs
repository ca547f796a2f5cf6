//! Connections that break, servers that are killed, answers that are lost: everything arrives, once.

use crate::stage::{KEEP, Kind, Place, Stage, batch, line, source};
use model::batch::Batch;
use sqlx::{Connection as _, postgres::PgConnection, raw_sql};
use std::time::{Duration, Instant};
use store::{Class, Counts, Settings, Store, Written};
use testkit::{Moment, Postgres, PostgresProxy, Trap};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Writes a batch as a writer does: again and again while the trouble may pass.
async fn persist(store: &mut Store, batch: &Batch) -> Written {
    let begun = Instant::now();
    loop {
        match store.write(batch, &KEEP).await {
            Ok(written) => return written,
            Err(e) => {
                assert_eq!(e.class(), Class::Transient, "{e}");
                assert!(begun.elapsed() < Duration::from_secs(90), "{e}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn open(url: &str) -> Store {
    Store::open_postgres(&url.parse().unwrap(), Settings::default(), &CancellationToken::new()).await.unwrap()
}

/// The n-th of many batches: some rows, and a letter.
fn part(n: i64) -> Batch {
    let mut lines: Vec<_> = (0..40).map(|target| line(target, n * 30, "")).collect();
    lines.push("not json".to_owned());
    batch("log", n * 41, &lines)
}

const COMPLETE: Counts = Counts {
    stored: 40,
    dead: store::DeadCounts { not_json: 1, not_a_result: 0, newer_version: 0, refused: 0 },
    duplicate: 0,
    too_old: 0,
    unknown_kind: 0,
};

#[tokio::test]
async fn a_lost_answer_to_commit_is_counted_once() {
    for moment in [Moment::Committed, Moment::Commit] {
        let s = Stage::new(Kind::Postgres).await;
        let Place::Database(database) = &s.place else { panic!() };
        let proxy = PostgresProxy::before(&database.url()).await;
        let mut store = open(proxy.url().as_str()).await;
        assert_eq!(store.write(&part(0), &KEEP).await.unwrap(), Written::Committed(COMPLETE));
        for n in 1..6 {
            let cut = Trap::cut_at(moment);
            proxy.set(&cut);
            let e = store.write(&part(n), &KEEP).await.unwrap_err();
            assert_eq!(e.class(), Class::Transient, "{e}");
            assert!(cut.has_sprung());
            let done = s.query("select next from offsets").await;
            let is_done = done == (n * 41 + 41).to_string();
            assert_eq!(is_done, moment == Moment::Committed, "{moment:?}: the server stands at {done}");
            // Whether it was done or not: what it wrote is told, and told once.
            assert_eq!(persist(&mut store, &part(n)).await, Written::Committed(COMPLETE), "{moment:?}");
            assert_eq!(store.write(&part(n), &KEEP).await.unwrap(), Written::Behind { next: n * 41 + 41 });
        }
        assert_eq!(s.query("select count(*) from results").await, "240");
        assert_eq!(s.query("select count(*) from dead_letters").await, "6");
    }
}

#[tokio::test]
async fn what_another_has_written_meanwhile_is_not_taken_for_ours() {
    let mut s = Stage::new(Kind::Postgres).await;
    let Place::Database(database) = &s.place else { panic!() };
    let proxy = PostgresProxy::before(&database.url()).await;
    let mut store = open(proxy.url().as_str()).await;
    let cut = Trap::cut_at(Moment::Commit);
    proxy.set(&cut);
    store.write(&part(0), &KEEP).await.unwrap_err();
    assert_eq!(persist(&mut s.store, &part(0)).await, Written::Committed(COMPLETE));
    assert_eq!(persist(&mut store, &part(0)).await, Written::Behind { next: 41 });
    assert_eq!(s.query("select count(*) from results").await, "40");
}

/// Writes many batches while something happens to the server.
async fn through(server: &mut Postgres, mut happen: impl AsyncFnMut(&mut Postgres)) {
    let database = server.database().await;
    let url = database.url();
    let writing = tokio::spawn(async move {
        let mut store = open(&url).await;
        for n in 0..60 {
            match persist(&mut store, &part(n)).await {
                Written::Committed(counts) => assert_eq!(counts, COMPLETE),
                Written::Behind { next } => panic!("nobody else writes, yet it stands at {next}, {n}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
        store.close().await;
    });
    for _ in 0..3 {
        sleep(Duration::from_millis(350)).await;
        happen(server).await;
    }
    writing.await.unwrap();
    let s = Stage { store: open(&database.url()).await, place: Place::Database(database) };
    assert_eq!(s.query("select count(*) from results").await, "2400");
    assert_eq!(s.query("select count(distinct (target, due_at)) from results").await, "2400");
    assert_eq!(s.query("select count(*) from dead_letters").await, "60");
    assert_eq!(s.query("select next from offsets").await, (60 * 41).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_the_middle_gets_everything_once() {
    let mut server = Postgres::start().await;
    through(&mut server, async |server| {
        server.kill9();
        server.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_gets_everything_once() {
    let mut server = Postgres::start().await;
    through(&mut server, async |server| server.restart().await).await;
}

#[tokio::test]
async fn a_session_that_was_ended_is_replaced() {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &[line(1, 0, "")]).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    s.place.execute(end).await;
    let batch = batch("log", 1, &[line(1, 30, "")]);
    assert!(matches!(persist(&mut s.store, &batch).await, Written::Committed(_)));
    assert_eq!(s.query("select count(*) from results").await, "2");
}

#[tokio::test]
async fn a_table_that_is_missing_is_for_a_person_and_heals_without_a_restart() {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &[line(1, 0, "")]).await;
    s.place.execute("alter table dead_letters rename to gone").await;
    let batch = batch("log", 1, &["{".to_owned()]);
    let e = s.write(&batch).await.unwrap_err();
    assert_eq!(e.class(), Class::Systemic, "{e}");
    assert!(e.to_string().contains("dead_letters") && e.to_string().contains("42P01"), "{e}");
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(1));
    s.place.execute("alter table gone rename to dead_letters").await;
    assert!(matches!(s.write(&batch).await.unwrap(), Written::Committed(_)));
}

#[tokio::test]
async fn a_writer_that_stands_still_within_its_transaction_does_not_hold_the_source_for_ever() {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &[line(1, 0, "")]).await;
    let Place::Database(database) = &s.place else { panic!() };
    let mut zombie = PgConnection::connect(&database.url()).await.unwrap();
    raw_sql("begin; update offsets set next = 9").execute(&mut zombie).await.unwrap();
    // In a `COPY` the server's limit for idle transactions does not count.
    let copy = zombie.copy_in_raw("copy checks from stdin (format binary)").await.unwrap();
    let batch = batch("log", 1, &[line(1, 30, "")]);
    let e = s.write(&batch).await.unwrap_err();
    assert_eq!((e.class(), e.cause()), (Class::Transient, store::Cause::Locked), "{e}");
    assert!(matches!(persist(&mut s.store, &batch).await, Written::Committed(_)));
    assert!(copy.finish().await.is_err(), "its transaction is undone");
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(2));
}
