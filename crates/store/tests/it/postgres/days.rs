//! Partitions: made ahead, made behind for late results, by many writers at once, and never in anybody's way.

use crate::stage::{KEEP, Kind, Place, Stage, batch, line, source};
use model::UnixMs;
use sqlx::{Connection as _, postgres::PgConnection, raw_sql};
use store::{Counts, Keep, Settings, Written};

const DAY: i64 = 86_400;

const PARTITIONS: &str = "select relname::text from pg_inherits join pg_class on pg_class.oid = inhrelid
                          where inhparent = 'checks'::regclass order by relname";

#[tokio::test]
async fn today_and_two_days_ahead_are_there_after_the_first_write() {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &[line(1, 0, "")]).await;
    assert_eq!(s.query(PARTITIONS).await, "checks_20261123\nchecks_20261124\nchecks_20261125");
    let keep = Keep { now: UnixMs(KEEP.now.0 + DAY * 1000), ..KEEP };
    s.store.write(&batch("log", 1, &[line(1, 30, "")]), &keep).await.unwrap();
    assert!(s.query(PARTITIONS).await.ends_with("checks_20261126"));
}

#[tokio::test]
async fn a_late_result_gets_its_day() {
    let mut s = Stage::new(Kind::Postgres).await;
    let late = [line(1, -20 * DAY, ""), line(1, -3 * DAY, ""), line(1, 0, ""), line(2, -20 * DAY, "")];
    assert_eq!(s.follow("log", &late).await.stored, 4);
    assert_eq!(s.query("select count(*) from checks_20261103").await, "2");
    assert_eq!(s.query("select count(*) from results").await, "4");
}

#[tokio::test]
async fn the_days_are_those_of_utc_whatever_the_servers_time_zone() {
    let s = Stage::new(Kind::Postgres).await;
    let Place::Database(database) = &s.place else { panic!() };
    database.execute(&format!("alter database {} set timezone = 'Asia/Tokyo'", database.name())).await;
    let mut s = Stage { store: s.place.open(Settings::default()).await, ..s };
    s.follow("log", &[line(1, 14 * 3600 - 1, ""), line(1, 14 * 3600, "")]).await;
    assert_eq!(s.query("select count(*) from checks_20261123").await, "1");
    assert_eq!(s.query("select count(*) from checks_20261124").await, "1");
    assert_eq!(
        s.query("select due_at from results order by due_at").await,
        "2026-11-23T23:59:59.000Z\n2026-11-24T00:00:00.000Z"
    );
}

#[tokio::test]
async fn many_writers_make_the_same_days_at_once() {
    let s = Stage::new(Kind::Postgres).await;
    let mut writing = Vec::new();
    for n in 0..6 {
        let mut store = s.place.open(Settings::default()).await;
        writing.push(tokio::spawn(async move {
            let lines: Vec<_> = (0..20).map(|day| line(n, -day * DAY, "")).collect();
            store.write(&batch(&format!("log{n}"), 0, &lines), &KEEP).await.unwrap()
        }));
    }
    for written in writing {
        let stored = Counts { stored: 20, ..Counts::default() };
        assert_eq!(written.await.unwrap(), Written::Committed(stored));
    }
    assert_eq!(s.query("select count(*) from results").await, "120");
}

#[tokio::test]
async fn a_day_that_was_dropped_behind_our_back_comes_back_and_is_nobodys_fault() {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &[line(1, -DAY, ""), line(1, 0, "")]).await;
    s.place.execute("drop table checks_20261122").await;
    let counts = s.follow("log", &[line(2, -DAY, ""), line(2, 0, "")]).await;
    assert_eq!((counts.stored, counts.dead.refused), (2, 0));
    assert_eq!(s.query("select count(*) from results").await, "3");
}

#[tokio::test]
async fn a_detached_day_comes_back_with_its_rows() {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &[line(1, -DAY, ""), line(1, 0, "")]).await;
    s.place.execute("alter table checks detach partition checks_20261122").await;
    assert_eq!(s.query("select count(*) from results").await, "1");
    assert_eq!(s.follow("log", &[line(2, -DAY, "")]).await.stored, 1);
    assert_eq!(s.query("select count(*) from results").await, "3");
}

#[tokio::test]
async fn a_new_day_waits_for_no_writer_and_no_reader() {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &[line(1, 0, "")]).await;
    let Place::Database(database) = &s.place else { panic!() };
    let mut theirs = PgConnection::connect(&database.url()).await.unwrap();
    // In the middle of a transaction that has written and read.
    let begun =
        "begin; insert into checks (due_at, target, location, facts) values ('2026-11-23 11:00:00+00', 1, 1, 1);
                 select * from results";
    raw_sql(begun).execute(&mut theirs).await.unwrap();
    assert_eq!(s.follow("log", &[line(1, -9 * DAY, "")]).await.stored, 1);
    raw_sql("commit").execute(&mut theirs).await.unwrap();
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(2));
}
