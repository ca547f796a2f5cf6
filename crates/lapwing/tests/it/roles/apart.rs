//! Several of a role: they share the work, and one that goes is replaced.

use super::stage::{Role, Stage};
use crate::at_work::{LIMIT, every_second, stop};
use testkit::{Site, step::*, until};

/// How many partitions a writer reads.
fn partitions(writer: &Role) -> usize {
    writer.at.get("/metrics").unwrap().body.matches("lapwing_consumer_lag_records{").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_share_the_partitions_and_one_that_is_killed_is_replaced() {
    let site = Site::serve([resp(200, "fine")]);
    let stage = Stage::new().await;
    let lines: String = (0..12).map(|n| every_second(&format!("t{n}"), &site.url("/"))).collect();
    let prober = stage.prober(&format!("targets:\n{lines}"));
    let probing = prober.started();
    let (one, two) = (stage.writer(), stage.writer());
    let (first, second) = (one.started(), two.started());
    until("both have partitions", LIMIT, || {
        partitions(&one) > 0 && partitions(&two) > 0 && partitions(&one) + partitions(&two) == 3
    });
    drop(first.kill9());
    until("the other one has all", LIMIT, || partitions(&two) == 3);
    stage.wait_for_rows(100).await;
    assert_eq!(stop(probing).code, 0);
    stage.all_is_stored().await;
    let twice = stage.select("select due_at from results group by due_at, target having count(*) > 1").await;
    assert_eq!(twice, []);
    assert_eq!(stop(second).code, 0);
}
