//! The proxy before a PostgreSQL, between it and the plainest client.

use super::LIMIT;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, query, raw_sql};
use std::time::Duration;
use testkit::{Claim, Moment, PostgresProxy, TestDatabase, Trap};
use tokio::time::{sleep, timeout};

async fn proxied() -> (TestDatabase, PostgresProxy, PgConnection) {
    let database = TestDatabase::new().await;
    database.execute("create table offsets (log text, partition int, name text, next bigint)").await;
    let proxy = PostgresProxy::before(&database.url()).await;
    let client = PgConnection::connect(proxy.url().as_str()).await.unwrap();
    (database, proxy, client)
}

/// As the store moves an offset, here from 3 to 7 of partition 2.
async fn claim(client: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let insert = "insert into offsets (log, partition, name, next) select $1, $2, $3, $4 where $5 = 3";
    let insert = query(insert).bind("log").bind(2_i32).bind("name").bind(7_i64).bind(3_i64);
    Ok(insert.execute(client).await?.rows_affected())
}

async fn rows(database: &TestDatabase) -> i64 {
    let mut direct = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::query_scalar("select count(*) from offsets").fetch_one(&mut direct).await.unwrap()
}

#[tokio::test]
async fn a_message_is_held_back_until_it_is_said_what_becomes_of_it() {
    let (database, proxy, mut client) = proxied().await;
    let trap = Trap::hold(Moment::Commit);
    proxy.set(&trap);
    let writing = tokio::spawn(async move {
        raw_sql("begin").execute(&mut client).await?;
        claim(&mut client).await?;
        raw_sql("commit").execute(&mut client).await
    });
    assert_eq!(timeout(LIMIT, trap.sprung()).await.unwrap(), proxy.port());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(rows(&database).await, 0, "the commit has not come to the server");
    assert!(!writing.is_finished());
    trap.pass();
    timeout(LIMIT, writing).await.unwrap().unwrap().unwrap();
    assert_eq!(rows(&database).await, 1);
    assert_eq!([Moment::Begin, Moment::Claim, Moment::Commit, Moment::Committed].map(|m| proxy.seen(m)), [1; 4]);
    assert_eq!(proxy.seen(Moment::Refused), 0);
    assert_eq!(proxy.claims(), [Claim { log: "log".into(), partition: 2, from: 3, next: 7 }]);
}

#[tokio::test]
async fn a_connection_is_cut_once_before_a_commit_or_before_its_answer() {
    for (moment, stored) in [(Moment::Commit, 0), (Moment::Committed, 1)] {
        let (database, proxy, mut client) = proxied().await;
        let trap = Trap::cut_at(moment);
        proxy.set(&trap);
        raw_sql("begin").execute(&mut client).await.unwrap();
        claim(&mut client).await.unwrap();
        assert!(!trap.has_sprung());
        raw_sql("commit").execute(&mut client).await.unwrap_err();
        assert!(trap.has_sprung());
        assert_eq!(rows(&database).await, stored, "{moment:?}");
        let mut next = PgConnection::connect(proxy.url().as_str()).await.unwrap();
        raw_sql("begin").execute(&mut next).await.unwrap();
        claim(&mut next).await.unwrap();
        raw_sql("commit").execute(&mut next).await.unwrap();
    }
}

#[tokio::test]
async fn of_two_proxies_with_one_trap_it_springs_at_one() {
    let (_database, one, mut first) = proxied().await;
    let (_other, two, mut second) = proxied().await;
    let trap = Trap::hold(Moment::Begin);
    one.set(&trap);
    two.set(&trap);
    let held = tokio::spawn(async move { raw_sql("begin").execute(&mut first).await.map(drop) });
    assert_eq!(timeout(LIMIT, trap.sprung()).await.unwrap(), one.port());
    raw_sql("begin").execute(&mut second).await.unwrap();
    drop(trap);
    timeout(LIMIT, held).await.unwrap().unwrap().unwrap();
}
