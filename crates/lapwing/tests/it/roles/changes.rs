//! A topic that changes behind the writer's back: section 7 of the contract.

use super::stage::Stage;
use crate::at_work::{LIMIT, stop};
use model::UnixMs;
use std::time::SystemTime;
use testkit::{OnWire, until};

/// A result of target `t`, due so many seconds ago.
pub fn result(target: &str, seconds_ago: i64) -> Vec<u8> {
    let now = UnixMs::from_system(SystemTime::now()).0;
    let due_at = UnixMs(now - now % 1000 - seconds_ago * 1000);
    let record = serde_json::json!({
        "v": 1, "target": target, "name": target, "url": "http://t/", "location": "test", "due_at": due_at.to_string(),
        "started_at": due_at.to_string(), "interval_ms": 1000, "verdict": "up", "attempts": 1, "status": 200,
    });
    serde_json::to_vec(&record).unwrap()
}

fn records(partition: i32, seconds_ago: std::ops::Range<i64>) -> Vec<OnWire> {
    let target = format!("t{partition}");
    seconds_ago.map(|s| OnWire { partition, ..OnWire::value(result(&target, s)) }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_expired_unread_are_a_gap_that_is_noted_and_said() {
    let (stage, writer, writing) = Stage::with_writer().await;
    stage.topic.put(&records(0, 0..5));
    stage.wait_for_rows(5).await;
    assert_eq!(stop(writing).code, 0);
    stage.topic.put(&records(0, 10..20));
    stage.topic.expire(0, 12).await;
    let writing = writer.started();
    stage.wait_for_rows(8).await;
    let said = writing.wait_for_line(LIMIT, |line| line.contains("records have expired unread"));
    assert!(said.contains("ERROR"), "{said}");
    let gaps = stage.select("select topic, partition, from_offset, to_offset from gaps").await;
    let expected = serde_json::json!({"topic": stage.topic.name, "partition": 0, "from_offset": 5, "to_offset": 12});
    assert_eq!(gaps.into_iter().map(serde_json::Value::Object).collect::<Vec<_>>(), [expected]);
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_added_is_stored_too() {
    let (stage, _writer, writing) = Stage::with_writer().await;
    stage.topic.put(&records(0, 0..3));
    stage.wait_for_rows(3).await;
    stage.topic.grow(2).await;
    stage.topic.put(&records(1, 0..4));
    stage.wait_for_rows(7).await;
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_stops_its_partitions_with_the_way_out() {
    let (stage, writer, writing) = Stage::with_writer().await;
    stage.topic.put(&records(0, 0..3));
    stage.wait_for_rows(3).await;
    stage.topic.delete().await;
    stage.topic.create(1, &[]).await;
    stage.topic.put(&records(0, 10..20));
    until("/readyz names the partition and the way out", LIMIT, || {
        let (status, body) = writer.at.readiness();
        status == 503 && body.contains("/0: it was created anew") && body.contains("db offsets --set")
    });
    assert_eq!(stage.stored().await, 3, "nothing of the new topic is stored before somebody has said so");
    let refused = writer.at.program.run(&["db", "offsets", "--set", "0=earliest"]);
    assert!(refused.code == 2 && refused.stderr.contains("--yes"), "{refused}");
    let beyond = writer.at.program.run(&["db", "offsets", "--set", "0=11", "--yes"]);
    assert!(beyond.code == 2 && beyond.stderr.contains("from 0 up to 10"), "{beyond}");
    let set = writer.at.program.run(&["db", "offsets", "--set", "0=4", "--yes"]);
    assert!(set.code == 0 && set.stderr.contains("/0: not read yet -> 4"), "{set}");
    stage.wait_for_rows(9).await;
    until("/readyz says 200 again", LIMIT, || writer.at.readiness().0 == 200);
    let shown = writer.at.program.run(&["db", "offsets", "--json"]).json();
    let next: Vec<_> = shown.iter().map(|line| (line["topic"].as_str(), line["next"].as_i64())).collect();
    let name = Some(stage.topic.name.as_str());
    assert!(next.len() == 2 && next.contains(&(name, Some(3))) && next.contains(&(name, Some(10))), "{shown:?}");
    assert_eq!(stop(writing).code, 0);
}
