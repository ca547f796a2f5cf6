//! A file that retention has emptied is made smaller; one that is used all the time keeps its free pages for the next rows.

use crate::stage::{KEEP, Kind, Place, Stage, line};
use std::time::Duration;
use store::{Keep, Step};

const DAY: i64 = 86_400;

/// So many rows of the last ten days, some of them long.
async fn with_rows(count: i64) -> Stage {
    let mut s = Stage::new(Kind::Sqlite).await;
    let more = format!(r#","message":"{}""#, "x".repeat(1000));
    for part in 0..count / 1000 {
        let row = |n: i64| line((n % 50) as usize, -(part * 1000 + n) * 10 * DAY / count, &more);
        s.follow("log", &(0..1000).map(row).collect::<Vec<_>>()).await;
    }
    s
}

async fn keep_house(s: &mut Stage, days: u64) -> (u64, u64) {
    let keep = Keep { checks: Duration::from_secs(days * 86_400), ..KEEP };
    let (mut deleted, mut shrunk) = (0, 0);
    loop {
        match s.store.upkeep(&keep).await.unwrap() {
            Step::Nothing => return (deleted, shrunk),
            Step::Deleted { rows } => {
                assert!(rows <= 5_100, "{rows} rows in one step");
                deleted += rows;
            }
            Step::Shrunk { bytes } => shrunk += bytes,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_gives_back_what_it_will_not_need_again() {
    let mut s = with_rows(16_000).await;
    let size = "select page_count from pragma_page_count";
    let full: i64 = s.query(size).await.parse().unwrap();
    let (deleted, shrunk) = keep_house(&mut s, 2).await;
    assert!((12_000..13_500).contains(&deleted), "{deleted}");
    let left: i64 = s.query(size).await.parse().unwrap();
    assert!(
        left < full / 2 && shrunk == (full - left).unsigned_abs() * 4096,
        "{full} pages, then {left}, {shrunk} bytes"
    );
    assert_eq!(s.query("select integrity_check from pragma_integrity_check").await, "ok");
    s.store.close().await;
    let Place::File(path, _folder) = &s.place else { panic!() };
    assert_eq!(std::fs::metadata(path).unwrap().len(), left.unsigned_abs() * 4096);
}

#[tokio::test]
async fn a_few_free_pages_are_left_for_the_next_rows() {
    let mut s = with_rows(8_000).await;
    let (deleted, shrunk) = keep_house(&mut s, 9).await;
    assert!(deleted > 500, "{deleted}");
    assert_eq!(shrunk, 0);
    assert_ne!(s.query("select freelist_count from pragma_freelist_count").await, "0");
}
