//! What can't be stored is kept, byte for byte, while the rest of its batch is stored.

use super::stage;
use crate::stage::{Place, Stage, batch, hex, line, source};
use bytes::Bytes;
use model::batch::{Content, DeadLetter, DeadReason, Entry, Envelope};
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
    assert_eq!(s.query("select value from dead_letters where reason = 'not_json'").await, hex(lines[1].as_bytes()));
    assert_eq!(s.query("select count(*) from dead_letters where message != ''").await, "3");
    assert_eq!(
        s.place.rows("select distinct failed_at, attempts, next_retry_at, resolved_at from dead_letters").await,
        [[Some("2026-11-23T10:01:00.000Z".to_owned()), Some("1".to_owned()), None, None]]
    );
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
    let rows = s.place.rows("select key, value, headers from dead_letters").await;
    let headers = r#"[["a \"quoted\"\n","AQI="],["a \"quoted\"\n",""]]"#;
    assert_eq!(rows, [[Some("00FF0A".to_owned()), Some("FF000A".to_owned()), Some(hex(headers.as_bytes()))]]);
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
    refuse_poison(&s).await;
    let poison = |n| line(n, 0, r#","message":"poison","extra":[1, 2]"#);
    let mut lines: Vec<_> = (0..300).map(|n| line(n, 0, "")).collect();
    lines[7] = poison(7);
    lines[299] = poison(299);
    let counts = s.follow("log", &lines).await;
    assert_eq!((counts.stored, counts.duplicate, counts.dead.refused), (298, 0, 2));
    assert_eq!(s.query("select count(*) from results").await, "298");
    assert_eq!(s.query(r#"select "offset" from dead_letters order by id"#).await, "7\n299");
    assert_eq!(s.query(r#"select value from dead_letters where "offset" = 7"#).await, hex(lines[7].as_bytes()));
    assert_eq!(s.query("select distinct reason from dead_letters").await, "refused");
    assert_eq!(s.query("select distinct next_retry_at from dead_letters").await, "2026-11-23T10:02:00.000Z");
    assert!(s.query("select message from dead_letters").await.contains("no_poison_here"));
    assert_eq!(s.store.next_offset(&source("log")).await.unwrap(), Some(300));
}

/// Nothing that a reader accepts is refused by itself; somebody's rule stands for what a database may refuse.
pub async fn refuse_poison(s: &Stage) {
    let rule = match &s.place {
        Place::File(..) => {
            "create trigger poison before insert on checks when new.message = 'poison'
             begin select raise(abort, 'no_poison_here'); end"
        }
        Place::Database(_) => "alter table checks add constraint no_poison_here check (message <> 'poison')",
    };
    s.place.execute(rule).await;
}

#[tokio::test]
async fn a_refused_row_among_rows_that_are_there_already_is_the_only_one_to_become_a_letter() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    let lines: Vec<_> = (0..50).map(|n| line(n, 0, "")).collect();
    s.follow("log", &lines).await;
    let mut again: Vec<_> = (25..75).map(|n| line(n, 0, "")).collect();
    again.insert(30, line(100, 0, r#","message":"poison""#));
    again.insert(0, line(101, -600, r#","message":"poison""#));
    let counts = s.follow("other", &again).await;
    assert_eq!((counts.stored, counts.duplicate, counts.dead.refused), (25, 25, 2));
    assert_eq!(s.query("select count(*) from results").await, "75");
    assert_eq!(s.query(r#"select "offset" from dead_letters order by id"#).await, "0\n31");
}

#[tokio::test]
async fn many_refused_rows_become_letters_in_their_order() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    let poison = |n: usize| if n % 7 == 3 { r#","message":"poison""# } else { "" };
    let lines: Vec<_> = (0..2000).map(|n| line(n, 0, poison(n))).collect();
    let counts = s.follow("log", &lines).await;
    assert_eq!((counts.stored, counts.dead.refused), (1714, 286));
    let offsets: Vec<_> = (0..2000).filter(|n| n % 7 == 3).map(|n| n.to_string()).collect();
    assert_eq!(s.query(r#"select "offset" from dead_letters order by id"#).await, offsets.join("\n"));
}

#[tokio::test]
async fn when_the_first_record_of_an_identity_is_refused_the_next_one_stands() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    let lines = [line(1, 0, r#","message":"poison""#), line(1, 0, r#","status":204"#), line(1, 0, "")];
    let counts = s.follow("log", &lines).await;
    assert_eq!((counts.stored, counts.duplicate, counts.dead.refused), (1, 1, 1));
    assert_eq!(s.query("select status from results").await, "204");
}
