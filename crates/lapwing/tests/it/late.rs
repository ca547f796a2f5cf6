//! Too much to do: what could not begin before its next slot is `unknown`, `late`, and dead hosts make no healthy one late.

use crate::at_work::{LIMIT, Lapwing, every_second, most_at_once, ms, stop, targets};
use crate::ledger::is_slot;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Site, step::*, until};

#[test]
fn a_slot_that_no_place_was_free_for_is_unknown_late_and_never_the_targets_failure() {
    let slow = Site::serve([pause(800), resp(200, "fine")]);
    let ids = ["a", "b", "c"];
    let lapwing = Lapwing::with(&format!("probe: {{concurrency: 1}}\n{}", targets(ids.map(|id| (id, slow.url("/"))))));
    let running = lapwing.start();
    let mut late = Vec::new();
    until("two late results are stored", LIMIT, || {
        late = ids.iter().flat_map(|id| lapwing.results(id)).filter(|row| row["reason"] == "late").collect();
        late.len() >= 2
    });
    for row in &late {
        assert_eq!((&row["verdict"], &row["phase"], &row["attempts"]), (&json!("unknown"), &Value::Null, &json!(0)));
        for column in ["started_at", "total_us", "connect_us", "wait_us", "status", "peer", "lag_us"] {
            assert_eq!(row[column], Value::Null, "{column} of {row:?}");
        }
        assert!(is_slot(row) && row["message"].as_str().is_some_and(|m| !m.is_empty()), "{row:?}");
    }
    let output = stop(running);
    assert_eq!(most_at_once(&slow, Duration::from_millis(800)), 1, "probe.concurrency is obeyed");
    let all: Vec<_> = ids.iter().flat_map(|id| lapwing.results(id)).collect();
    assert!(all.iter().any(|row| row["verdict"] == "up"), "{output}");
    assert!(all.iter().all(|row| row["verdict"] != "down"), "{all:?}");
}

#[test]
fn per_host_bounds_what_one_host_and_port_gets_at_once() {
    let (slow, other) = (Site::serve([pause(400), resp(200, "fine")]), Site::serve([pause(400), resp(200, "fine")]));
    let ids: Vec<_> = (0..8).map(|n| format!("t{n}")).collect();
    let url = |n: usize| if n.is_multiple_of(2) { slow.url("/") } else { other.url("/") };
    let list = ids.iter().enumerate().map(|(n, id)| (id.as_str(), url(n)));
    let lapwing = Lapwing::with(&format!("probe: {{per_host: 2}}\n{}", targets(list)));
    let running = lapwing.start();
    for id in &ids {
        lapwing.wait_for_results(id, 1);
    }
    for site in [slow, other] {
        assert_eq!(most_at_once(&site, Duration::from_millis(400)), 2);
    }
    assert_eq!(stop(running).code, 0);
}

#[test]
fn dead_hosts_delay_no_healthy_one() {
    let dead: Vec<_> = (0..8).map(|_| Site::serve([hold()])).collect();
    let healthy = Site::serve([resp(200, "fine")]);
    let lines: String =
        dead.iter().enumerate().map(|(n, site)| every_second(&format!("dead{n}"), &site.url("/"))).collect();
    let healthy_line = every_second("healthy", &healthy.url("/"));
    let lapwing = Lapwing::with(&format!("probe: {{concurrency: 4}}\ntargets:\n{lines}{healthy_line}"));
    let running = lapwing.start();
    until("each dead host has been met", LIMIT, || dead.iter().all(|site| site.connections() >= 1));
    // What was in flight when the last one was met has timed out two slots later.
    let met = lapwing.results("healthy").len();
    let results = lapwing.wait_for_results("healthy", met + 5);
    let settled = &results[met + 2..];
    for row in settled {
        assert_eq!(row["verdict"], "up", "{row:?}");
        assert!(row["lag_us"].as_i64().unwrap() < 500_000, "a dead host delayed it: {row:?}");
    }
    assert!(settled.windows(2).all(|w| ms(&w[1], "due_at") - ms(&w[0], "due_at") == 1000), "{settled:?}");
    assert!(dead.iter().all(|site| site.connections() >= 1), "and the dead ones are still looked at");
    assert_eq!(stop(running).code, 0);
}
