//! The store can't be written for a while: checks go on, results wait, it is said, and all arrives when it is over.

use crate::at_work::{LIMIT, Lapwing, WITHIN_5_S, stop, targets};
use crate::ledger::{Ledger, TALKATIVE};
use crate::tables::{self, Locked};
use std::path::PathBuf;
use std::time::Instant;
use testkit::{Running, Site, step::resp, until};

fn wait_until_not_ready(lapwing: &Lapwing, because: &str) {
    until(&format!("/readyz says 503 and names the {because}"), WITHIN_5_S, || {
        let (status, body) = lapwing.readiness();
        status == 503 && body.contains(because)
    });
}

fn wait_until_ready_again(lapwing: &Lapwing) {
    until("/readyz says 200 again", WITHIN_5_S, || lapwing.readiness().0 == 200);
}

fn lines(running: &Running, text: &str) -> usize {
    running.stderr().matches(text).count()
}

#[test]
fn a_locked_store_stops_no_check_is_told_and_gets_everything_later() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&targets((["a", "b", "c"]).map(|id| (id, site.url("/")))));
    let running = lapwing.program.spawn(&TALKATIVE);
    lapwing.wait_for_results("a", 1);
    let locked = Locked::hold(&lapwing.store());
    let begun = Instant::now();
    let (asked, stored) = (site.requests().len(), lapwing.results("a").len());
    wait_until_not_ready(&lapwing, "store");
    // Long enough for several vain attempts of a second each.
    until("twelve more requests have reached the site", LIMIT, || site.requests().len() >= asked + 12);
    assert_eq!(lapwing.results("a").len(), stored, "the store is locked");
    assert_eq!(lapwing.get("/healthz").unwrap().status, 200);
    assert!(lapwing.metric("lapwing_queue_results") >= 9.0);
    assert!(lapwing.metric("lapwing_queue_oldest_seconds") >= 1.0);
    let said = lines(&running, "be stored; they wait");
    let most = 1 + begun.elapsed().as_secs() / 10;
    assert!(said >= 1 && said as u64 <= most, "said {said} times in {:?}\n{}", begun.elapsed(), running.stderr());
    drop(locked);
    wait_until_ready_again(&lapwing);
    running.wait_for_line(LIMIT, |line| line.contains("results can be stored again"));
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let mut ledger = Ledger::default();
    ledger.add(&output, &lapwing.queue());
    ledger.verify(&lapwing.store()).unwrap();
}

#[test]
fn beyond_max_size_the_oldest_results_go_counted_and_said_loudly() {
    let site = Site::serve([resp(200, "fine")]);
    let ids: Vec<_> = (0..20).map(|n| format!("t{n}")).collect();
    let config = format!("queue: {{max_size: 4KiB}}\n{}", targets(ids.iter().map(|id| (id.as_str(), site.url("/")))));
    let lapwing = Lapwing::with(&config);
    let running = lapwing.program.spawn(&TALKATIVE);
    lapwing.wait_for_results("t0", 1);
    assert_eq!(lapwing.metric("lapwing_queue_dropped_total"), 0.0);
    let locked = Locked::hold(&lapwing.store());
    until("results are dropped", LIMIT, || lapwing.metric("lapwing_queue_dropped_total") >= 10.0);
    wait_until_not_ready(&lapwing, "queue");
    assert!(lapwing.metric("lapwing_queue_bytes") <= 4096.0);
    let line = running.wait_for_line(LIMIT, |line| line.contains("oldest results are dropped"));
    assert!(line.contains("ERROR") && line.contains("queue.max_size"), "{line}");
    assert_eq!(lines(&running, "oldest results are dropped"), 1, "at most once in 10 s");
    drop(locked);
    wait_until_ready_again(&lapwing);
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let numbers = "select next, dropped from queue";
    let queue = &tables::select(&lapwing.queue(), numbers)[0];
    let stored = tables::value(&lapwing.store(), "select count(*) from results").as_i64().unwrap();
    let next = tables::value(&lapwing.store(), "select next from offsets").as_i64().unwrap();
    let dropped = queue["dropped"].as_i64().unwrap();
    assert!(dropped >= 10, "{queue:?}");
    assert_eq!(stored + dropped, next, "every result is stored or counted");
    assert_eq!(output.stderr.matches("\"checked\"").count() as i64, next);
}

#[test]
fn a_queue_that_is_locked_stops_no_check_and_gets_everything_later() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&targets((["a", "b"]).map(|id| (id, site.url("/")))));
    let running = lapwing.program.spawn(&TALKATIVE);
    lapwing.wait_for_results("a", 1);
    let locked = Locked::hold(&lapwing.queue());
    let asked = site.requests().len();
    wait_until_not_ready(&lapwing, "queue");
    until("six more requests have reached the site", LIMIT, || site.requests().len() >= asked + 6);
    assert_eq!(lines(&running, "results wait in memory"), 1, "{}", running.stderr());
    drop(locked);
    wait_until_ready_again(&lapwing);
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let mut ledger = Ledger::default();
    ledger.add(&output, &lapwing.queue());
    ledger.verify(&lapwing.store()).unwrap();
    assert_eq!(ledger.acknowledged(), output.stderr.matches("\"checked\"").count());
}

/// A copy of the store, made by another program.
fn backup(lapwing: &Lapwing) -> PathBuf {
    let copy = lapwing.program.folder().join("backup.db");
    tables::execute(&lapwing.store(), &format!("vacuum into '{}'", copy.display()));
    copy
}

#[test]
fn a_store_that_others_read_and_back_up_meanwhile_is_an_ordinary_file() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&targets([("t", site.url("/"))]));
    let running = lapwing.start();
    lapwing.wait_for_results("t", 2);
    let copy = backup(&lapwing);
    assert_eq!(tables::value(&copy, "pragma integrity_check"), "ok");
    let there = lapwing.results("t").len();
    assert!(tables::value(&copy, "select count(*) from results").as_u64().unwrap() >= 2);
    lapwing.wait_for_results("t", there + 2);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_copy_that_was_made_at_work_takes_the_place_of_a_lost_store() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&targets([("t", site.url("/"))]));
    let running = lapwing.start();
    lapwing.wait_for_results("t", 2);
    let copy = backup(&lapwing);
    let kept = tables::value(&copy, "select count(*) from results").as_u64().unwrap() as usize;
    lapwing.wait_for_results("t", kept + 2);
    assert_eq!(stop(running).code, 0);
    // The queue stays: it knows what the lost store had.
    for lost in ["lapwing.db", "lapwing.db-wal", "lapwing.db-shm"] {
        std::fs::remove_file(lapwing.program.folder().join(lost)).ok();
    }
    std::fs::rename(&copy, lapwing.store()).unwrap();
    let running = lapwing.started();
    lapwing.wait_for_results("t", kept + 2);
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let twice = "select count(*) from (select due_at from results group by due_at having count(*) > 1)";
    assert_eq!(tables::value(&lapwing.store(), twice), 0);
}
