//! Dead letters from one end to the other: made, listed, shown, replayed once their cause is gone, stored once, purged.

use super::changes::result;
use super::stage::{Role, Stage};
use crate::at_work::{LIMIT, stop};
use serde_json::Value;
use testkit::{OnWire, Output, eventually, until};

fn dead(writer: &Role, arguments: &[&str]) -> Output {
    writer.at.program.run(&[&["dead"], arguments].concat())
}

fn ok(output: Output) -> Output {
    assert_eq!(output.code, 0, "{output}");
    output
}

fn put(stage: &Stage, n: usize, value: Vec<u8>) {
    let key = Some(format!("t{n}").into_bytes());
    let headers = vec![("lapwing-seq".to_owned(), Some(b"q/7".to_vec()))];
    stage.topic.put(&[OnWire { key, headers, ..OnWire::value(value) }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_shown_replayed_when_its_cause_is_gone_stored_once_and_purged() {
    let (stage, writer, writing) = Stage::with_writer().await;
    stage.database.execute("alter table checks add constraint no_t1 check (body_bytes is distinct from 13)").await;
    let mut record: Value = serde_json::from_slice(&result("t1", 5)).unwrap();
    record["body_bytes"] = 13.into();
    put(&stage, 1, record.to_string().into_bytes());
    put(&stage, 2, b"not json \xff".to_vec());
    put(&stage, 3, result("t3", 5));
    stage.wait_for_rows(1).await;

    let listed = ok(dead(&writer, &["list"])).stdout;
    assert!(listed.contains("refused") && listed.contains("not_json") && listed.contains("/0@1"), "{listed}");
    let letters = ok(dead(&writer, &["list", "--json", "--target", "t1"])).json();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((&letter["reason"], &letter["key"], &letter["attempts"]), (&"refused".into(), &"t1".into(), &1.into()));
    assert_eq!(letter["headers"], serde_json::json!([["lapwing-seq", "cS83"]]));
    let broken = ok(dead(&writer, &["list", "--json", "--reason", "not_json"])).json();
    assert!(broken[0]["value"].is_null() && broken[0]["value_base64"].is_string(), "{broken:?}");
    let id = letter["id"].to_string();
    let shown = ok(dead(&writer, &["show", &id])).stdout;
    assert!(shown.contains("no_t1") && shown.contains("\"body_bytes\":13") && shown.contains("offset 0"), "{shown}");

    for nothing in
        [&["replay"][..], &["purge"], &["show", "4711"], &["replay", &id, "4711"], &["list", "--reason", "x"]]
    {
        let refused = dead(&writer, nothing);
        assert_eq!(refused.code, 2, "{nothing:?}: {refused}");
    }
    let dry = ok(dead(&writer, &["replay", "--reason", "refused", "--dry-run"]));
    assert!(dry.stderr.contains("1 letter would be due"), "{dry}");

    stage.database.execute("alter table checks drop constraint no_t1").await;
    ok(dead(&writer, &["replay", &id]));
    eventually("the letter is stored", LIMIT, async || stage.stored().await == 2).await;
    ok(dead(&writer, &["replay", "--all"]));
    let resolved = ok(dead(&writer, &["list", "--json", "--all", "--target", "t1"])).json();
    assert!(resolved[0]["resolved_at"].is_string() && resolved[0]["attempts"] == 2, "{resolved:?}");
    assert_eq!(ok(dead(&writer, &["list", "--json", "--target", "t1"])).stdout, "");
    assert!(ok(dead(&writer, &["purge", "--resolved"])).stderr.contains("1 letter deleted"));
    assert_eq!(stage.select("select target from results where target = 't1'").await.len(), 1);
    assert_eq!(stage.topic.all().len(), 3, "nothing is produced again");
    // One copy of a letter, however often it is tried.
    eventually("two letters are copied", LIMIT, async || stage.dead_topic().all().len() == 2).await;
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_dead_letters_stops_the_partition_until_what_comes_is_results_again() {
    let (stage, writer, writing) = Stage::with_writer().await;
    let good = |n: usize| OnWire::value(result(&format!("t{n}"), 5));
    stage.topic.put(&(0..10).map(good).collect::<Vec<_>>());
    stage.wait_for_rows(10).await;
    let junk: Vec<_> = (0..3000).map(|_| OnWire::value("junk")).collect();
    stage.topic.put(&junk);
    stage.topic.put(&(10..20).map(good).collect::<Vec<_>>());
    until("/readyz says why the partition stands", LIMIT, || {
        let (status, body) = writer.at.readiness();
        status == 503 && body.contains("dead letters")
    });
    let letters = stage.select("select count(*) as n from dead_letters").await[0]["n"].as_u64().unwrap();
    assert!(letters <= 1000, "{letters} letters");
    assert_eq!(stage.stored().await, 10);
    let set = writer.at.program.run(&["db", "offsets", "--set", "0=3010", "--yes"]);
    assert_eq!(set.code, 0, "{set}");
    stage.wait_for_rows(20).await;
    until("/readyz says 200 again", LIMIT, || writer.at.readiness().0 == 200);
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_copied_to_the_dead_topic_with_their_headers() {
    let (stage, _writer, writing) = Stage::with_writer().await;
    put(&stage, 1, b"not json \xff".to_vec());
    stage.topic.put(&[OnWire::value(vec![b'x'; 900_000])]);
    eventually("there are two copies", LIMIT, async || stage.dead_topic().all().len() == 2).await;
    let copies = stage.dead_topic().all();
    let copy = copies.iter().find(|copy| copy.key.is_some()).unwrap();
    assert_eq!((copy.key(), copy.value.as_deref()), ("t1".to_owned(), Some(&b"not json \xff"[..])));
    let header = |n: usize| {
        let (name, value) = &copy.headers[n];
        (name.as_str(), std::str::from_utf8(value.as_deref().unwrap()).unwrap())
    };
    assert_eq!(header(0), ("lapwing-seq", "q/7"));
    assert_eq!(header(1), ("lapwing-dead-reason", "not_json"));
    assert_eq!(header(2), ("lapwing-dead-topic", &*stage.topic.name));
    assert_eq!(header(3), ("lapwing-dead-partition", "0"));
    assert_eq!(header(4), ("lapwing-dead-offset", "0"));
    let at = stage.select("select failed_at from dead_letters order by id limit 1").await;
    assert_eq!(header(5), ("lapwing-dead-at", at[0]["failed_at"].as_str().unwrap()));
    assert_eq!(header(6), ("lapwing-dead-attempts", "1"));
    assert_eq!(copy.headers.len(), 7);
    eventually("nothing is left to copy", LIMIT, async || {
        stage.select("select letter from dead_copies").await.is_empty()
    })
    .await;
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_a_dead_writer_did_not_copy_are_copied_by_the_next_one() {
    let (stage, writer, writing) = Stage::with_writer().await;
    put(&stage, 1, b"junk".to_vec());
    eventually("there is a letter", LIMIT, async || !stage.select("select id from dead_letters").await.is_empty())
        .await;
    writing.kill9();
    // As if it had died before the copy was acknowledged, a minute ago.
    stage.database.execute("delete from dead_copies; insert into dead_copies select id, now() from dead_letters").await;
    let before = stage.dead_topic().all().len();
    let writing = writer.started();
    eventually("it is copied", LIMIT, async || stage.dead_topic().all().len() > before).await;
    assert_eq!(stop(writing).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_each_kind_is_stored_once_when_its_cause_is_gone() {
    let (stage, writer, writing) = Stage::with_writer().await;
    stage.database.execute("alter table checks add constraint no_t4 check (body_bytes is distinct from 13)").await;
    let mut refused: Value = serde_json::from_slice(&result("t4", 5)).unwrap();
    refused["body_bytes"] = 13.into();
    let kinds = ["not_json", "not_a_result", "newer_version", "refused"];
    let values = [b"{".to_vec(), b"{\"v\":1}".to_vec(), b"{\"v\":2}".to_vec(), refused.to_string().into_bytes()];
    for (n, value) in (1..).zip(values) {
        put(&stage, n, value);
    }
    let listed = async || ok(dead(&writer, &["list", "--json", "--all"])).json();
    eventually("there are four letters", LIMIT, async || listed().await.len() == 4).await;
    let letters = listed().await;
    assert_eq!(letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect::<Vec<_>>(), kinds);
    for (letter, kind) in letters.iter().zip(kinds) {
        let shown = ok(dead(&writer, &["show", &letter["id"].to_string()])).stdout;
        assert!(shown.contains(kind) && shown.contains("key        t"), "{shown}");
    }
    // Nothing has changed: they are tried, and wait on.
    ok(dead(&writer, &["replay", "--all"]));
    eventually("all are tried again", LIMIT, async || listed().await.iter().all(|letter| letter["attempts"] == 2))
        .await;
    assert_eq!(stage.stored().await, 0);

    // A person mends two records in the table, and the rule of the database; the third is as a newer program sees it.
    stage.database.execute("alter table checks drop constraint no_t4").await;
    for (letter, n) in letters.iter().zip(1..4) {
        let value = String::from_utf8(result(&format!("t{n}"), 5)).unwrap();
        let id = &letter["id"];
        stage.database.execute(&format!("update dead_letters set value = '{value}' where id = {id}")).await;
    }
    assert_eq!(stop(writing).code, 0);
    let writing = writer.started();
    eventually("a letter of a newer version is stored by itself", LIMIT, async || stage.stored().await >= 1).await;
    ok(dead(&writer, &["replay", "--all"]));
    stage.wait_for_rows(4).await;
    eventually("all are resolved", LIMIT, async || {
        listed().await.iter().all(|letter| letter["resolved_at"].is_string())
    })
    .await;
    ok(dead(&writer, &["replay", "--all"]));
    let rows = stage.select("select target from results order by target").await;
    assert_eq!(rows.iter().map(|row| row["target"].as_str().unwrap()).collect::<Vec<_>>(), ["t1", "t2", "t3", "t4"]);
    assert_eq!(stop(writing).code, 0);
}
