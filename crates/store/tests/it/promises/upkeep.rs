//! Retention: what is older goes, in steps, and what is kept stays.

use super::stage;
use crate::stage::{KEEP, Kind, Stage, line};
use std::time::Duration;
use store::{Keep, Rows, Step};

const DAY: i64 = 86_400;

/// Until there is nothing more to do.
async fn keep_house(s: &mut Stage, keep: &Keep) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        match s.store.upkeep(keep).await.unwrap() {
            Step::Nothing => return steps,
            step => steps.push(step),
        }
        assert!(steps.len() < 100, "{steps:?}");
    }
}

#[tokio::test]
async fn what_is_older_than_retention_goes_and_the_rest_stays() {
    let mut s = stage().await;
    let lines: Vec<_> = (0..30).map(|day| line(1, -day * DAY, "")).collect();
    s.follow("log", &lines).await;
    // In the middle of a day: PostgreSQL keeps it whole.
    let keep = Keep { checks: Duration::from_secs(10 * 86_400), ..KEEP };
    let expired = s.store.expired(&keep).await.unwrap();
    assert_eq!(expired.before, keep.since());
    keep_house(&mut s, &keep).await;
    let oldest = match super::super::KIND {
        Kind::Sqlite => {
            assert_eq!(expired.rows, 20);
            "2026-11-14T10:00:00.000Z"
        }
        Kind::Postgres => {
            assert_eq!(expired.partitions.len(), 19);
            "2026-11-13T10:00:00.000Z"
        }
    };
    assert_eq!(s.query("select min(due_at) from results").await, oldest);
    assert_eq!(s.query("select max(due_at) from results").await, "2026-11-23T10:00:00.000Z");
    assert_eq!(keep_house(&mut s, &keep).await, [], "there is nothing left to do");
    // What has gone does not come back.
    let again = s.store.write(&crate::stage::batch("log", 30, &lines), &keep).await.unwrap();
    let store::Written::Committed(counts) = again else { panic!() };
    assert_eq!(counts.too_old, 20);
    assert_eq!(s.query("select min(due_at) from results").await, oldest);
}

#[tokio::test]
async fn status_tells_what_is_there() {
    let mut s = stage().await;
    let empty = s.store.status().await.unwrap();
    assert_eq!((empty.oldest, empty.newest, empty.dead.len(), empty.targets), (None, None, 0, 0));
    s.follow("log", &[line(1, -2 * DAY, ""), line(2, 0, ""), "{".to_owned(), "{}".to_owned()]).await;
    let status = s.store.status().await.unwrap();
    let times = [status.oldest, status.newest].map(|time| time.unwrap().to_string());
    assert_eq!(times, ["2026-11-21T10:00:00.000Z", "2026-11-23T10:00:00.000Z"]);
    assert_eq!((status.targets, status.locations, status.copies, status.gaps), (2, 1, 2, 0));
    let dead: Vec<_> = status.dead.iter().map(|dead| (&*dead.reason, dead.waiting, dead.resolved)).collect();
    assert_eq!(dead, [("not_a_result", 1, 0), ("not_json", 1, 0)]);
    assert!(status.bytes > 10_000);
    match super::super::KIND {
        Kind::Sqlite => assert_eq!((status.rows, status.partitions.len()), (Rows::Counted(2), 0)),
        // The 21st, and today with the days ahead.
        Kind::Postgres => assert_eq!(status.partitions.iter().filter(|p| p.is_attached).count(), 4),
    }
}
