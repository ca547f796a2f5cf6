//! Records that are none, among ten thousand good ones: each becomes a dead letter with its reason, byte for byte, and the good ones
//! are stored.

use super::changes::result;
use super::stage::Stage;
use crate::at_work::{LIMIT, stop};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::{OnWire, eventually};

/// A result with other fields.
fn with(changes: &[(&str, Value)]) -> Vec<u8> {
    let mut record: Value = serde_json::from_slice(&result("poison", 5)).unwrap();
    for (name, value) in changes {
        record[*name] = value.clone();
    }
    serde_json::to_vec(&record).unwrap()
}

/// What is bad, and the reason that it must get.
fn bad() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    vec![
        ("not_json", None),
        ("not_json", some(b"")),
        ("not_json", some(b"{\"v\":1,")),
        ("not_json", some(b"{\"v\":1} {}")),
        ("not_json", some(b"\xef\xbb\xbf{}")),
        ("not_json", some(b"{\"v\":1,\"target\":\"\xff\xfe\"}")),
        ("not_json", some(br#"{"v":1,"target":"a","target":"b"}"#)),
        ("not_json", some(br#"{"v":1,"name":"\ud800"}"#)),
        ("not_json", Some([vec![b'['; 200], vec![b']'; 200]].concat())),
        ("not_a_result", some(b"{}")),
        ("not_a_result", some(b"[]")),
        ("not_a_result", some(br#"{"v":1,"target":"a"}"#)),
        ("not_a_result", Some(with(&[("target", json!("UPPER"))]))),
        ("not_a_result", Some(with(&[("verdict", json!("fine"))]))),
        ("not_a_result", Some(with(&[("due_at", json!("yesterday"))]))),
        ("not_a_result", Some(with(&[("due_at", json!("2099-01-01T00:00:00.000Z"))]))),
        ("not_a_result", Some(with(&[("started_at", json!("2026-13-01T00:00:00.000Z"))]))),
        ("not_a_result", Some(with(&[("total_us", json!(1_u64 << 31))]))),
        ("not_a_result", Some(with(&[("total_us", json!(-1))]))),
        ("not_a_result", Some(with(&[("status", json!(99))]))),
        ("not_a_result", Some(with(&[("message", json!("a\u{0}b"))]))),
        ("not_a_result", Some(with(&[("message", json!("x".repeat(2_000_000)))]))),
        ("newer_version", Some(with(&[("v", json!(2)), ("verdict", json!("splendid"))]))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_record_is_a_dead_letter_with_its_reason_and_all_good_ones_are_stored() {
    const GOOD: usize = 10_000;
    let stage = Stage::new().await;
    stage.topic.create(3, &[("max.message.bytes", "8388608")]).await;
    let bad = bad();
    let mut records: Vec<OnWire> = (0..GOOD)
        .map(|n| OnWire { partition: (n % 3) as i32, ..OnWire::value(result(&format!("t{}", n % 50), 10 + n as i64)) })
        .collect();
    for (n, (reason, value)) in bad.iter().enumerate() {
        let record = OnWire {
            partition: (n % 3) as i32,
            key: Some(format!("key-{n}").into_bytes()),
            value: value.clone(),
            headers: vec![("why".into(), Some(reason.as_bytes().to_vec()))],
            ..OnWire::default()
        };
        records.insert(n * GOOD / bad.len(), record);
    }
    // What is something else, or has more than we know, is no dead letter.
    records.push(OnWire::value(with(&[("kind", json!("heartbeat")), ("due_at", json!(null))])));
    records.push(OnWire::value(with(&[
        ("target", json!("kept")),
        ("reason", json!("made_up")),
        ("extra", json!([1])),
    ])));
    stage.topic.put(&records);
    let writer = stage.writer();
    let writing = writer.started();
    eventually("all is read", 2 * LIMIT, async || {
        let next = stage.select("select coalesce(sum(next), 0)::bigint as next from offsets").await;
        next[0]["next"].as_u64() == Some(records.len() as u64)
    })
    .await;
    assert_eq!(stage.stored().await, GOOD as u64 + 1);
    let kept = stage.select("select reason from results where target = 'kept'").await;
    assert_eq!(kept[0]["reason"], "made_up");
    let letters = stage
        .select("select reason, convert_from(key, 'UTF8') as key, encode(value, 'hex') as value from dead_letters")
        .await;
    let letters: BTreeMap<_, _> = letters
        .iter()
        .map(|l| (l["key"].as_str().unwrap().to_owned(), (l["reason"].as_str().unwrap(), l["value"].as_str().unwrap())))
        .collect();
    assert_eq!(letters.len(), bad.len());
    for (n, (reason, value)) in bad.iter().enumerate() {
        let hex: String = value.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
        let letter = letters[&format!("key-{n}")];
        assert_eq!(letter.0, *reason, "number {n}");
        assert!(letter.1 == hex, "number {n} is not byte for byte");
    }
    let headers = stage
        .select("select convert_from(headers, 'UTF8') as headers from dead_letters where reason = 'newer_version'")
        .await;
    assert!(headers[0]["headers"].as_str().unwrap().contains("\"why\""), "{headers:?}");
    let skipped = writer.at.get("/metrics").unwrap().body;
    assert!(skipped.contains("lapwing_results_skipped_total{cause=\"unknown_kind\"} 1"), "{skipped}");
    assert_eq!(stop(writing).code, 0);
}
