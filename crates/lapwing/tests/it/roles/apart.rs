//! Several of a role: they share the work, and one that goes is replaced.

use super::stage::{Role, Stage};
use crate::at_work::{LIMIT, every_second, stop};
use testkit::{Signal, Site, step::*, until};

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
        one.partitions() > 0 && two.partitions() > 0 && one.partitions() + two.partitions() == 3
    });
    drop(first.kill9());
    until("the other one has all", LIMIT, || two.partitions() == 3);
    stage.wait_for_rows(100).await;
    assert_eq!(stop(probing).code, 0);
    stage.all_is_stored().await;
    let twice = stage.select("select due_at from results group by due_at, target having count(*) > 1").await;
    assert_eq!(twice, []);
    assert_eq!(stop(second).code, 0);
}

/// It is waited for as long as its session lasts, and nothing is read meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_waits_for_one_that_hangs_is_not_ready_and_says_why() {
    let stage = Stage::new().await;
    stage.topic.create(2, &[]).await;
    let patient = stage.kafka_with("properties: {session.timeout.ms: 300000, heartbeat.interval.ms: 500}");
    let one = Role::new("write", &format!("{patient}{}", stage.store()));
    let mut hanging = one.started();
    until("it has both partitions", LIMIT, || one.partitions() == 2);
    hanging.signal(Signal::STOP);
    let two = stage.writer();
    let waiting = two.started();
    until("the other one says why it is not ready", LIMIT, || {
        let (status, lacks) = two.at.readiness();
        status == 503 && lacks.contains("kafka group") && lacks.contains("another member hangs")
    });
    waiting.wait_for_line(LIMIT, |line| line.contains("WARN") && line.contains("the group does not let us in"));
    hanging.signal(Signal::CONT);
    until("both have one", LIMIT, || one.partitions() == 1 && two.partitions() == 1 && two.at.readiness().0 == 200);
    waiting.wait_for_line(LIMIT, |line| line.contains("the group has let us in"));
    for writer in [waiting, hanging] {
        assert_eq!(stop(writer).code, 0);
    }
}
