//! Looking after the pipeline on PostgreSQL and Kafka.

use super::{changes::result, stage::Stage};
use crate::at_work::{LIMIT, stop};
use testkit::{OnWire, eventually};

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_lag_and_days_and_retention_drops_them_while_the_writer_works() {
    let (stage, writer, writing) = Stage::with_writer().await;
    stage.topic.put(&(0..4).map(|n| OnWire::value(result("t", n * DAY))).collect::<Vec<_>>());
    stage.topic.put(&[OnWire::value("junk")]);
    stage.wait_for_rows(4).await;
    assert_eq!(stop(writing).code, 0);
    stage.topic.put(&(5..8).map(|n| OnWire::value(result("t", n))).collect::<Vec<_>>());

    let status = writer.at.program.run(&["db", "status", "--json"]);
    assert_eq!(status.code, 0, "{status}");
    let status = &status.json()[0];
    assert_eq!(status["offsets"][0]["lag"], 3, "{status}");
    assert_eq!(status["dead_letters"][0], serde_json::json!({"reason": "not_json", "waiting": 1, "resolved": 0}));
    assert_eq!(status["partitions"].as_array().unwrap().len(), 6, "{status}");
    let text = writer.at.program.run(&["db", "status"]).stdout;
    assert!(text.contains("not_json: 1 waiting") && text.contains("postgres://"), "{text}");

    let config = format!("retention: {{checks: 36h}}\n{}{}", stage.kafka(), stage.store());
    writer.configure(&config);
    let dry = writer.at.program.run(&["db", "prune", "--dry-run"]);
    assert!(dry.code == 0 && dry.stdout.matches("would be dropped").count() >= 1, "{dry}");
    let before = stage.select("select count(*) as n from results").await;
    assert_eq!(before[0]["n"], 4);
    let writing = writer.started();
    // Two or three days are older, as the time of the day is.
    let days = "select count(*) as n from pg_inherits where inhparent = 'checks'::regclass";
    eventually("old days are dropped", LIMIT, async || {
        stage.select(days).await[0]["n"].as_u64().is_some_and(|days| days <= 5)
    })
    .await;
    stage.wait_for_rows(4).await;
    let pruned = writer.at.program.run(&["db", "prune"]);
    assert!(pruned.code == 0 && pruned.stdout.ends_with("or later\n"), "{pruned}");
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_so_when_kafka_is_away_and_makes_no_topic() {
    let stage = Stage::new().await;
    let writer = stage.writer();
    assert_eq!(writer.at.program.run(&["db", "migrate"]).code, 0);
    let none = writer.at.program.run(&["db", "status"]);
    assert!(none.code == 0 && none.stdout.contains("there is no topic"), "{none}");
    let again = writer.at.program.run(&["db", "status"]);
    assert!(again.stdout.contains("there is no topic"), "it was not made by the first look: {again}");
    writer.configure(&format!("kafka: {{brokers: \"127.0.0.1:1\"}}\n{}", stage.store()));
    let away = writer.at.program.run(&["db", "status"]);
    assert!(away.code == 0 && away.stdout.contains("lag          not known"), "{away}");
}
