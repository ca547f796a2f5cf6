//! A disk that is full, a file that another program holds.

use crate::stage::{KEEP, Kind, Place, Stage, another_program, batch, line, source};
use sqlx::raw_sql;
use store::{Cause, Class, Written};

#[tokio::test]
async fn numbers_that_a_failed_write_gave_out_are_forgotten() {
    let mut s = Stage::of(Kind::Sqlite, Some(45)).await;
    let many: Vec<_> = (0..4000).map(|n| line(n, 0, "")).collect();
    let e = s.write(&batch("log", 0, &many)).await.unwrap_err();
    assert_eq!((e.cause(), e.class()), (Cause::Full, Class::Transient), "{e}");
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), None);
    // Other targets get the numbers that were given out in vain.
    let few = [line(9001, 0, ""), line(3, 30, ""), line(9002, 0, ""), line(2, 30, "")];
    assert!(matches!(s.write(&batch("log", 0, &few)).await.unwrap(), Written::Committed(_)));
    assert_eq!(s.query("select target from results order by target").await, "t2\nt3\nt9001\nt9002");
    assert_eq!(s.query("select url from results where target = 't3'").await, "http://t3.example/");
}

#[tokio::test]
async fn a_file_that_another_program_has_locked_is_written_later() {
    let mut s = Stage::new(Kind::Sqlite).await;
    s.follow("log", &[line(1, 0, "")]).await;
    let Place::File(path, _) = &s.place else { panic!() };
    let mut theirs = another_program(path).await;
    raw_sql("begin immediate").execute(&mut theirs).await.unwrap();
    let batch = batch("log", 1, &[line(1, 30, "")]);
    let e = s.write(&batch).await.unwrap_err();
    assert_eq!((e.cause(), e.class()), (Cause::Locked, Class::Transient), "{e}");
    assert!(e.to_string().contains("lapwing.db"), "{e}");
    raw_sql("rollback").execute(&mut theirs).await.unwrap();
    assert!(matches!(s.store.write(&batch, &KEEP).await.unwrap(), Written::Committed(_)));
    assert_eq!(s.query("select count(*) from results").await, "2");
}
