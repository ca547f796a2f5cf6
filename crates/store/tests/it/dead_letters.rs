//! What can't be stored is kept, byte for byte, while the rest of its batch is stored.

use crate::stage::{batch, line, source, stage};
use bytes::Bytes;
use model::batch::{Content, DeadLetter, DeadReason, Entry, Envelope};
use sqlx::Row as _;
use store::Written;

#[tokio::test]
async fn a_record_that_is_no_result_becomes_a_letter_and_the_rest_is_stored() {
    let mut s = stage().await;
    let lines =
        [line(1, 0, ""), "not json\u{0}é".to_owned(), line(2, 0, ""), "{\"v\":2}".to_owned(), "{\"v\":1}".to_owned()];
    let counts = s.follow("log", &lines).await;
    assert_eq!(
        (counts.stored, counts.dead.not_json, counts.dead.newer_version, counts.dead.not_a_result),
        (2, 1, 1, 1)
    );
    assert_eq!(counts.dead.by_reason().iter().map(|(_, n)| n).sum::<u64>(), 3);
    assert_eq!(
        s.query(
            r#"select reason || ' ' || topic || ' ' || partition || ' ' || "offset" from dead_letters order by id"#
        )
        .await,
        "not_json queue 0 1\nnewer_version queue 0 3\nnot_a_result queue 0 4"
    );
    assert_eq!(
        s.query("select hex(value) from dead_letters where reason = 'not_json'").await,
        hex(lines[1].as_bytes())
    );
    assert_eq!(s.query("select count(*) from dead_letters where message != ''").await, "3");
    assert_eq!(
        s.query("select distinct failed_at || attempts || coalesce(next_retry_at, '-') || coalesce(resolved_at, '-') from dead_letters").await,
        "2026-11-23T10:01:00.000Z1--"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

#[tokio::test]
async fn key_value_and_headers_are_kept() {
    let mut s = stage().await;
    let letter = DeadLetter {
        reason: DeadReason::NotJson,
        message: "not JSON".to_owned(),
        key: Some(vec![0, 255, 10]),
        value: vec![0xff, 0, 0x0a],
        headers: vec![("a \"quoted\"\n".to_owned(), vec![1, 2]), ("a \"quoted\"\n".to_owned(), vec![])],
    };
    let mut batch = batch("log", 0, &[]);
    batch.next = 1;
    let content = Content::Dead(Box::new(letter));
    let (value, envelope) = (Bytes::from_static(&[0xff, 0, 0x0a]), Envelope::default());
    batch.entries.push(Entry { offset: 0, value, envelope, content });
    s.write(&batch).await.unwrap();
    let mut theirs = crate::stage::another_program(&s.path).await;
    let row = sqlx::query("select key, value, headers from dead_letters").fetch_one(&mut theirs).await.unwrap();
    assert_eq!(row.get::<Vec<u8>, _>(0), [0, 255, 10]);
    assert_eq!(row.get::<Vec<u8>, _>(1), [0xff, 0, 0x0a]);
    let headers = String::from_utf8(row.get(2)).unwrap();
    assert_eq!(headers, r#"[["a \"quoted\"\n","AQI="],["a \"quoted\"\n",""]]"#);
}

#[tokio::test]
async fn a_letter_comes_and_goes_with_its_transaction() {
    let mut s = stage().await;
    let batch = batch("log", 0, &["{".to_owned()]);
    s.write(&batch).await.unwrap();
    assert_eq!(s.write(&batch).await.unwrap(), Written::Behind { next: 1 });
    assert_eq!(s.query("select count(*) from dead_letters").await, "1");
}

#[tokio::test]
async fn a_row_that_the_database_refuses_becomes_a_letter_and_the_rest_is_stored() {
    let mut s = stage().await;
    // Nothing that a reader accepts is refused by SQLite; somebody's trigger stands for what another database may refuse.
    s.execute(
        "create trigger poison before insert on checks when new.message = 'poison'
         begin select raise(abort, 'no poison here'); end",
    )
    .await;
    let poison = |n| line(n, 0, r#","message":"poison","extra":[1, 2]"#);
    let mut lines: Vec<_> = (0..300).map(|n| line(n, 0, "")).collect();
    lines[7] = poison(7);
    lines[299] = poison(299);
    let counts = s.follow("log", &lines).await;
    assert_eq!((counts.stored, counts.duplicate, counts.dead.refused), (298, 0, 2));
    assert_eq!(s.query("select count(*) from results").await, "298");
    assert_eq!(s.query(r#"select "offset" from dead_letters order by id"#).await, "7\n299");
    assert_eq!(s.query(r#"select hex(value) from dead_letters where "offset" = 7"#).await, hex(lines[7].as_bytes()));
    assert_eq!(
        s.query("select distinct reason || next_retry_at from dead_letters").await,
        "refused2026-11-23T10:02:00.000Z"
    );
    assert!(s.query("select message from dead_letters").await.contains("no poison here"));
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(300));
}
