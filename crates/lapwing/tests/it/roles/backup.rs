//! A database that is lost comes back from its backup, and what has come since from Kafka.

use super::{
    changes::result,
    stage::{Role, Stage, select},
};
use crate::at_work::{LIMIT, stop};
use std::process::Command;
use testkit::{OnWire, TestDatabase, eventually};

fn put(stage: &Stage, numbers: std::ops::Range<usize>) {
    let records = numbers.map(|n| OnWire::value(result(&format!("t{n}"), 5)));
    stage.topic.put(&records.collect::<Vec<_>>());
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_a_dump_is_read_from_kafka_again_and_stored_once() {
    let (stage, writer, writing) = Stage::with_writer().await;
    stage.topic.put(&[OnWire::value("junk")]);
    put(&stage, 0..200);
    stage.wait_for_rows(100).await;
    // In the middle of the writer's work.
    put(&stage, 200..3000);
    let dump = writer.at.program.folder().join("lapwing.dump");
    let dump = dump.to_str().unwrap();
    run("pg_dump", &["--format=custom", "--no-owner", "--file", dump, &stage.database.url()]);
    put(&stage, 3000..4000);
    stage.wait_for_rows(4000).await;
    drop(writing.kill9());
    stage.database.execute("drop schema public cascade").await;

    let restored = TestDatabase::new().await;
    run("pg_restore", &["--no-owner", "--dbname", &restored.url(), dump]);
    let again = Role::new("write", &format!("{}store: \"{}\"\n", stage.kafka(), restored.url()));
    let writing = again.started();
    let count = "select count(*) as n, count(distinct target) as targets from results";
    eventually("all is stored", LIMIT, async || select(&restored.url(), count).await[0]["n"] == 4000).await;
    assert_eq!(select(&restored.url(), count).await[0]["targets"], 4000);
    assert_eq!(select(&restored.url(), "select id from dead_letters").await.len(), 1);
    // New days can be made in it.
    stage.topic.put(&[OnWire::value(result("late", 9 * 86_400))]);
    eventually("a late one too", LIMIT, async || select(&restored.url(), count).await[0]["n"] == 4001).await;
    assert_eq!(stop(writing).code, 0);
}
