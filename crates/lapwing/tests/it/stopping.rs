//! How `lapwing run` ends: what was checked is stored, what is in flight may end within the grace, nobody waits longer.

use crate::at_work::{LIMIT, Lapwing, stop, targets};
use crate::ledger::{Ledger, TALKATIVE};
use crate::tables::{self, Row};
use std::time::{Duration, Instant};
use testkit::{Running, Signal, Site, step::*, until};

/// What hangs here would hang for a quarter of an hour.
const SOON: Duration = Duration::from_secs(60);

fn ends_in_good_order(signal: Signal) {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&targets(
        (0..10).map(|n| (["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"][n], site.url("/"))),
    ));
    let mut running = lapwing.program.spawn(&TALKATIVE);
    // In the middle of its work: some of what was checked is not stored yet.
    running.wait_for_lines(15, LIMIT, |line| line.contains("\"checked\""));
    running.signal(signal);
    let output = running.wait(LIMIT);
    assert_eq!(output.code, 0, "{output}");
    let checked = output.stderr.matches("\"checked\"").count();
    assert_eq!(tables::value(&lapwing.store(), "select count(*) from results"), checked, "{output}");
    let mut ledger = Ledger::default();
    ledger.add(&output, &lapwing.queue());
    ledger.verify(&lapwing.store()).unwrap();
}

#[test]
fn sigterm_ends_with_0_and_all_that_was_checked_is_stored() {
    ends_in_good_order(Signal::TERM);
}

#[test]
fn sigint_ends_with_0_and_all_that_was_checked_is_stored() {
    ends_in_good_order(Signal::INT);
}

/// One target that is due once an hour; started, and asked.
fn asked(site: &Site, config: &str) -> (Lapwing, Running) {
    let url = site.url("/");
    let lapwing = Lapwing::with(&format!("{config}targets: [{{url: \"{url}\", id: t, interval: 1h, timeout: 15m}}]"));
    let running = lapwing.start();
    until("the check has begun", LIMIT, || site.requests().len() == 1);
    (lapwing, running)
}

#[test]
fn a_check_that_ends_within_the_grace_is_stored() {
    let site = Site::serve([pause(1500), resp(200, "late but fine")]);
    let (lapwing, running) = asked(&site, "");
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let verdicts: Vec<_> = lapwing.results("t").iter().map(|row| row["verdict"].clone()).collect();
    assert_eq!(verdicts, ["up"], "{output}");
}

#[test]
fn a_check_that_does_not_end_within_the_grace_is_given_up_and_not_reported() {
    let site = Site::serve([hold()]);
    let (lapwing, running) = asked(&site, "shutdown_grace: 500ms\n");
    let stopped = Instant::now();
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let took = stopped.elapsed();
    assert!(took >= Duration::from_millis(500) && took < SOON, "{took:?}");
    assert!(
        output.stderr.contains("given_up=1 checks were still in flight") || output.stderr.contains("given up"),
        "{output}"
    );
    assert_eq!(lapwing.results("t"), [] as [Row; 0]);
    // The slot is still to be checked by another start.
    site.change([resp(200, "fine")]);
    let running = lapwing.start();
    assert_eq!(lapwing.wait_for_results("t", 1)[0]["verdict"], "up");
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    let site = Site::serve([hold()]);
    let (_lapwing, mut running) = asked(&site, "shutdown_grace: 10m\n");
    let started = Instant::now();
    // Two signals of one kind may become one while nobody looks: the second one is repeated until it is met.
    while running.lives() && started.elapsed() < LIMIT {
        running.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = running.wait(Duration::from_secs(1));
    assert_eq!(output.code, 0, "{output}");
}

#[test]
fn a_stop_is_over_soon_after_the_grace_also_when_a_check_hangs_and_the_store_is_locked() {
    let site = Site::serve([hold()]);
    let (lapwing, running) = asked(&site, "shutdown_grace: 1500ms\n");
    let locked = tables::Locked::hold(&lapwing.store());
    let quick = Site::serve([resp(200, "fine")]);
    lapwing.configure(&format!(
        "shutdown_grace: 1500ms\ntargets:\n  - {{url: \"{}\", id: t, interval: 1h, timeout: 15m}}\n  - {{url: \"{}\", id: quick}}\n",
        site.url("/"),
        quick.url("/")
    ));
    until("a result waits in the queue", LIMIT, || lapwing.metric("lapwing_queue_results") >= 1.0);
    let stopped = Instant::now();
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    let took = stopped.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < SOON, "{took:?}\n{output}");
    drop(locked);
    assert_eq!(lapwing.results("quick"), [] as [Row; 0]);
    let _running = lapwing.start();
    lapwing.wait_for_results("quick", 1);
}
