//! Dead letters are found, tried again, and deleted.

use super::{dead_letters::refuse_poison, stage};
use crate::stage::{KEEP, Place, Stage, line};
use model::UnixMs;
use std::time::Duration;
use store::{Keep, Letter, Retried, Select};

const POISON: &str = r#","message":"poison""#;

async fn all(s: &mut Stage, select: Select) -> Vec<Letter> {
    s.store.letters(&select, i64::MIN, 100).await.unwrap()
}

async fn only(s: &mut Stage) -> Letter {
    let mut letters = all(s, Select::default()).await;
    assert_eq!(letters.len(), 1);
    letters.remove(0)
}

/// The cause is gone.
async fn allow_poison(s: &Stage) {
    let rule = match &s.place {
        Place::File(..) => "drop trigger poison",
        Place::Database(_) => "alter table checks drop constraint no_poison_here",
    };
    s.place.execute(rule).await;
}

async fn retry(s: &mut Stage, letter: &Letter, keep: &Keep) -> Retried {
    let content = bus::record::decode(&letter.value, keep.now);
    s.store.retry(&[(letter.clone(), content)], keep).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_refused_letter_is_stored_once_its_cause_is_gone_and_only_once() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    s.follow("log", &[line(1, 0, ""), line(2, 0, POISON)]).await;
    let letter = only(&mut s).await;
    assert_eq!((&*letter.reason, letter.attempts, letter.resolved_at), ("refused", 1, None));

    let later = Keep { now: UnixMs(KEEP.now.0 + 60_000), ..KEEP };
    assert!(matches!(retry(&mut s, &letter, &later).await, Retried::Failed(why) if why.contains("no_poison_here")));
    let failed = only(&mut s).await;
    assert_eq!((failed.attempts, failed.next_retry_at), (2, Some(later.now + Duration::from_secs(120))));
    assert_eq!(s.query("select count(*) from results").await, "1");

    allow_poison(&s).await;
    assert_eq!(retry(&mut s, &failed, &later).await, Retried::Resolved);
    let resolved = only(&mut s).await;
    assert_eq!((resolved.attempts, resolved.next_retry_at, resolved.resolved_at), (3, None, Some(later.now)));
    assert_eq!(s.query("select message from results where target = 't2'").await, "poison");

    assert_eq!(retry(&mut s, &failed, &later).await, Retried::Elsewhere);
    assert_eq!(s.query("select count(*) from results").await, "2");
    assert_eq!(only(&mut s).await, resolved);
}

#[tokio::test]
async fn a_letter_whose_row_is_there_already_is_resolved_and_the_row_stands() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    s.follow("log", &[line(1, 0, POISON), line(1, 0, r#","status":204"#)]).await;
    let letter = only(&mut s).await;
    allow_poison(&s).await;
    assert_eq!(retry(&mut s, &letter, &KEEP).await, Retried::Resolved);
    assert_eq!(s.query("select status from results").await, "204");
}

#[tokio::test]
async fn what_can_not_become_a_row_waits_with_the_reason_that_it_has_now() {
    let mut s = stage().await;
    s.follow("log", &["{".to_owned(), line(1, 0, "")]).await;
    let letter = only(&mut s).await;
    assert!(matches!(retry(&mut s, &letter, &KEEP).await, Retried::Failed(_)));
    let old = Letter { value: line(3, -40 * 86_400, "").into_bytes(), ..letter.clone() };
    assert!(matches!(retry(&mut s, &old, &KEEP).await, Retried::Failed(why) if why.contains("retention.checks")));
    let newer = Letter { value: br#"{"v":9}"#.to_vec(), ..letter };
    assert!(matches!(retry(&mut s, &newer, &KEEP).await, Retried::Failed(_)));
    let now = only(&mut s).await;
    assert_eq!((&*now.reason, now.attempts, now.next_retry_at), ("newer_version", 4, None));
}

#[tokio::test]
async fn letters_are_found_by_what_is_said_of_them_page_by_page() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    let mut lines = vec!["{".to_owned()];
    lines.extend((0..7).map(|n| line(n, 0, POISON)));
    s.follow("log", &lines).await;
    let ids = |letters: &[Letter]| letters.iter().map(|letter| letter.id).collect::<Vec<_>>();
    let everything = all(&mut s, Select::default()).await;
    assert_eq!(everything.len(), 8);
    let page = s.store.letters(&Select::default(), everything[2].id, 3).await.unwrap();
    assert_eq!(ids(&page), ids(&everything[3..6]));

    let of = |reason: &str| Select { reason: Some(reason.to_owned()), ..Select::default() };
    assert_eq!(all(&mut s, of("not_json")).await, everything[..1]);
    assert_eq!(all(&mut s, of("refused")).await, everything[1..]);
    let named = Select { ids: Some(vec![everything[1].id, everything[5].id, 4711]), ..Select::default() };
    assert_eq!(ids(&all(&mut s, named.clone()).await), [everything[1].id, everything[5].id]);
    let before = |ms| Select { before: Some(UnixMs(KEEP.now.0 + ms)), ..Select::default() };
    assert_eq!((all(&mut s, before(0)).await.len(), all(&mut s, before(1)).await.len()), (0, 8));
    assert_eq!(all(&mut s, Select { resolved: Some(true), ..Select::default() }).await, []);
    let after = |s: u64| KEEP.now + Duration::from_secs(s);
    assert_eq!(s.store.due_letters(after(59), 100).await.unwrap(), []);
    assert_eq!(s.store.due_letters(after(60), 100).await.unwrap(), everything[1..]);

    assert_eq!(s.store.make_due(&named, KEEP.now).await.unwrap(), 2);
    assert_eq!(ids(&s.store.due_letters(after(0), 100).await.unwrap()), [everything[1].id, everything[5].id]);
    assert_eq!(
        ids(&s.store.due_letters(after(60), 3).await.unwrap()),
        [everything[1].id, everything[5].id, everything[2].id]
    );
    assert_eq!(s.store.purge(&of("refused")).await.unwrap(), 7);
    assert_eq!(all(&mut s, Select::default()).await, everything[..1]);
}

#[tokio::test]
async fn letters_that_are_tried_together_fare_each_by_itself() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    let lines = [line(1, 0, POISON), "{".to_owned(), line(2, 0, POISON), line(3, 0, POISON), line(1, 0, POISON)];
    s.follow("log", &lines).await;
    let mut letters = all(&mut s, Select::default()).await;
    // One that was mended by hand, and one that is gone meanwhile.
    letters[0].value = line(1, 0, "").into_bytes();
    letters[4].value = line(1, 0, ",\"status\":204").into_bytes();
    s.store.purge(&Select { ids: Some(vec![letters[3].id]), ..Select::default() }).await.unwrap();
    let decoded: Vec<_> = letters
        .into_iter()
        .map(|letter| {
            let content = bus::record::decode(&letter.value, KEEP.now);
            (letter, content)
        })
        .collect();
    let became = s.store.retry(&decoded, &KEEP).await.unwrap();
    assert_eq!((&became[0], &became[4]), (&Retried::Resolved, &Retried::Resolved));
    assert!(matches!(&became[1], Retried::Failed(_)), "{became:?}");
    assert!(matches!(&became[2], Retried::Failed(why) if why.contains("no_poison_here")), "{became:?}");
    assert_eq!(s.place.rows("select target, status from results").await, [[Some("t1".to_owned()), None]]);
    let attempts = "select attempts from dead_letters where resolved_at is null order by id";
    assert_eq!(s.query(attempts).await, "2\n2");
}

#[tokio::test]
async fn letters_are_read_so_many_bytes_at_a_time() {
    let mut s = stage().await;
    refuse_poison(&s).await;
    let long = "x".repeat(60_000);
    for n in 0..5 {
        let more = format!("{POISON},\"x1\":\"{long}\",\"x2\":\"{long}\"");
        let lines: Vec<_> = (0..20).map(|m| line(20 * n + m, 0, &more)).collect();
        s.follow("log", &lines).await;
    }
    let later = UnixMs(KEEP.now.0 + 3_600_000);
    let first = s.store.due_letters(later, 500).await.unwrap();
    assert!((60..80).contains(&first.len()), "{}", first.len());
    assert_eq!(s.store.due_letters(later, 10).await.unwrap(), first[..10]);
}
