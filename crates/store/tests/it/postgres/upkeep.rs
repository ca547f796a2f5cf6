//! Days go while everybody works on, whatever an earlier try has left, and only those that are ours to drop.

use crate::stage::{KEEP, Kind, Place, Stage, batch, line};
use sqlx::{Connection as _, postgres::PgConnection, raw_sql};
use std::time::{Duration, Instant};
use store::{Keep, Settings, Step, Store, Written};
use testkit::Postgres;
use tokio_util::sync::CancellationToken;

const DAY: i64 = 86_400;
/// The day before yesterday has expired.
const SHORT: Keep = Keep { checks: Duration::from_secs(86_400), ..KEEP };
const TABLES: &str = "select relname::text from pg_class where relname ~ '^checks_[0-9]*$' order by 1";
const PARTS: &str = "select inhrelid::regclass::text from pg_inherits where inhparent = 'checks'::regclass order by 1";

async fn with_days(days: i64) -> Stage {
    let mut s = Stage::new(Kind::Postgres).await;
    s.follow("log", &(0..days).map(|day| line(1, -day * DAY, "")).collect::<Vec<_>>()).await;
    s
}

async fn connect(s: &Stage) -> PgConnection {
    let Place::Database(database) = &s.place else { panic!() };
    PgConnection::connect(&database.url()).await.unwrap()
}

fn dropped(step: Step) -> String {
    match step {
        Step::Dropped { partition, .. } => partition,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_day_that_was_half_detached_is_finished() {
    let mut s = with_days(4).await;
    // What a process leaves that dies while it waits for an old transaction.
    let mut reader = connect(&s).await;
    raw_sql("begin isolation level repeatable read; select count(*) from checks").execute(&mut reader).await.unwrap();
    let mut theirs = connect(&s).await;
    raw_sql("set lock_timeout = '200ms'").execute(&mut theirs).await.unwrap();
    let detach = raw_sql("alter table checks detach partition checks_20261120 concurrently").execute(&mut theirs).await;
    assert!(detach.is_err(), "it waits for the reader");
    let half = "select count(*) from pg_inherits where inhdetachpending";
    assert_eq!(s.query(half).await, "1");
    // Writers do not mind, not even when they start.
    let mut other = s.place.open(Settings::default()).await;
    assert!(matches!(other.write(&batch("b", 0, &[line(2, 0, "")]), &KEEP).await.unwrap(), Written::Committed(_)));
    raw_sql("rollback").execute(&mut reader).await.unwrap();
    assert_eq!(dropped(s.store.upkeep(&SHORT).await.unwrap()), "checks_20261120");
    assert_eq!(dropped(s.store.upkeep(&SHORT).await.unwrap()), "checks_20261121");
    assert!(matches!(s.store.upkeep(&SHORT).await.unwrap(), Step::Indexed { .. }));
    assert_eq!(s.query(half).await, "0");
    assert!(!s.query(TABLES).await.contains("checks_20261120"));
}

#[tokio::test]
async fn a_reader_of_old_transactions_delays_a_drop_and_breaks_nothing() {
    let mut s = with_days(3).await;
    let mut reader = connect(&s).await;
    raw_sql("begin isolation level repeatable read; select count(*) from checks").execute(&mut reader).await.unwrap();
    // It gives up after a while, and tries again later.
    let e = s.store.upkeep(&SHORT).await.unwrap_err();
    assert_eq!(e.class(), store::Class::Transient, "{e}");
    assert_eq!(s.follow("log", &[line(7, 0, "")]).await.stored, 1);
    raw_sql("select count(*) from checks; rollback").execute(&mut reader).await.unwrap();
    assert_eq!(dropped(s.store.upkeep(&SHORT).await.unwrap()), "checks_20261121");
}

#[tokio::test]
async fn what_an_operator_has_detached_is_theirs() {
    let mut s = with_days(5).await;
    s.place.execute("alter table checks detach partition checks_20261119").await;
    while s.store.upkeep(&SHORT).await.unwrap().is_one_of_more() {}
    assert!(s.query(TABLES).await.starts_with("checks_20261119\nchecks_20261122"), "{}", s.query(TABLES).await);
    let theirs = s.store.status().await.unwrap().partitions;
    assert!(theirs.iter().any(|p| p.name == "checks_20261119" && !p.is_attached));
}

#[tokio::test]
async fn a_drop_that_was_interrupted_is_finished_or_taken_back() {
    let mut s = with_days(4).await;
    for day in ["checks_20261120", "checks_20261121"] {
        let left = format!(
            "comment on table {day} is 'lapwing: goes by retention'; alter table checks detach partition {day}"
        );
        s.place.execute(&left).await;
    }
    // Retention was made longer meanwhile: the 21st is wanted after all.
    let longer = Keep { checks: Duration::from_secs(2 * 86_400), ..KEEP };
    assert_eq!(dropped(s.store.upkeep(&longer).await.unwrap()), "checks_20261120");
    let restored = Step::Restored { partition: "checks_20261121".to_owned() };
    assert_eq!(s.store.upkeep(&longer).await.unwrap(), restored);
    assert!(s.query(PARTS).await.starts_with("checks_20261121\n"));
    assert_eq!(s.query("select count(*) from results").await, "3");
}

#[tokio::test]
async fn days_that_are_over_get_an_index_by_target_once() {
    let mut s = with_days(3).await;
    s.place.execute("create index checks_20261121_by_target on checks_20261121 (target)").await;
    s.place
        .execute("update pg_index set indisvalid = false where indexrelid = 'checks_20261121_by_target'::regclass")
        .await;
    let mut indexed = Vec::new();
    loop {
        match s.store.upkeep(&KEEP).await.unwrap() {
            Step::Indexed { partition } => indexed.push(partition),
            Step::Nothing => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(indexed, ["checks_20261122", "checks_20261121"], "today is not over");
    let sound = "select count(*) from pg_index join pg_class on oid = indexrelid
                 where relname like '%by_target' and indisvalid and indnatts = 2";
    assert_eq!(s.query(sound).await, "2");
}

#[tokio::test]
async fn one_process_at_a_time_keeps_house() {
    let mut s = with_days(3).await;
    let mut theirs = connect(&s).await;
    let lock = 0x6c61_7077_696e_6702_i64;
    sqlx::query("select pg_advisory_lock($1)").bind(lock).execute(&mut theirs).await.unwrap();
    assert_eq!(s.store.upkeep(&SHORT).await.unwrap(), Step::Elsewhere);
    // A connection that is closed holds its locks until the server has noticed.
    sqlx::query("select pg_advisory_unlock($1)").bind(lock).execute(&mut theirs).await.unwrap();
    dropped(s.store.upkeep(&SHORT).await.unwrap());
}

#[tokio::test]
async fn a_step_that_fails_lets_others_keep_house() {
    let mut s = with_days(3).await;
    s.place.execute("create view theirs as select * from checks_20261121").await;
    let e = s.store.upkeep(&SHORT).await.unwrap_err();
    assert!(e.to_string().contains("other objects depend on it"), "{e}");
    let mut other = s.place.open(Settings::default()).await;
    s.place.execute("drop view theirs").await;
    assert_eq!(dropped(other.upkeep(&SHORT).await.unwrap()), "checks_20261121");
}

#[tokio::test]
async fn who_does_not_own_the_tables_leaves_them_alone() {
    let s = with_days(3).await;
    let Place::Database(database) = &s.place else { panic!() };
    let url = database.role().await;
    let role = url::Url::parse(&url).unwrap().username().to_owned();
    database.execute(&format!("grant all on all tables in schema public to {role}")).await;
    let stop = CancellationToken::new();
    let mut store = Store::open_postgres(&url.parse().unwrap(), Settings::default(), &stop).await.unwrap();
    assert_eq!(store.upkeep(&SHORT).await.unwrap(), Step::NotAllowed);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_while_days_go() {
    // The server tells of whoever waits for a lock for a second.
    let watched = Postgres::options().setting("log_lock_waits", "on").setting("deadlock_timeout", "1s").start().await;
    let place = Place::Database(watched.database().await);
    let mut s = Stage { store: place.open(Settings::default()).await, place };
    s.follow("log", &(0..12).map(|day| line(1, -day * DAY, "")).collect::<Vec<_>>()).await;
    let mut writing = Vec::new();
    for n in 0..2 {
        let mut store = s.place.open(Settings::default()).await;
        writing.push(tokio::spawn(async move {
            let until = Instant::now() + Duration::from_secs(3);
            for from in 0.. {
                let batch = batch(&format!("log{n}"), from, &[line(10 + n, from, "")]);
                let Written::Committed(counts) = store.write(&batch, &KEEP).await.unwrap() else { panic!() };
                assert_eq!((counts.stored, counts.dead.refused), (1, 0));
                if Instant::now() > until {
                    break;
                }
            }
        }));
    }
    let mut theirs = connect(&s).await;
    let reading = tokio::spawn(async move {
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            sqlx::query("select count(*) from results").execute(&mut theirs).await.unwrap();
        }
    });
    let mut gone = 0;
    loop {
        match s.store.upkeep(&SHORT).await.unwrap() {
            Step::Dropped { .. } => gone += 1,
            Step::Indexed { .. } => {}
            Step::Nothing => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone, 10);
    reading.await.unwrap();
    for writer in writing {
        writer.await.unwrap();
    }
    let log = watched.log();
    for lock in ["AccessShareLock", "RowExclusiveLock"] {
        let waited = format!("still waiting for {lock} on relation");
        assert!(!log.contains(&waited), "a reader or a writer has waited: {log}");
    }
}
