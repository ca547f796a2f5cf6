//! A prober that could not do its work: stopped, or starved of the processor. It says so, and blames no site.

use crate::at_work::{LIMIT, Lapwing, stop};
use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};
use testkit::{Running, Signal, Site, step::*, until};

/// Healthy targets whose answers take a while, so that checks are in flight at any moment.
fn watching(site: &Site, ids: &[String]) -> (Lapwing, Running) {
    let target = |id: &String| {
        format!("  - {{id: {id}, url: \"{}\", interval: 2s, expect: {{body: fine, time: 1800ms}}}}\n", site.url("/"))
    };
    let lines: String = ids.iter().map(target).collect();
    let lapwing = Lapwing::with(&format!("probe: {{per_host: 100}}\ntargets:\n{lines}"));
    let running = lapwing.started();
    for id in ids {
        lapwing.wait_for_results(id, 1);
    }
    (lapwing, running)
}

fn ids() -> Vec<String> {
    (0..20).map(|n| format!("t{n}")).collect()
}

/// How many results there are of each verdict with its reason.
fn counted(lapwing: &Lapwing, ids: &[String]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for row in ids.iter().flat_map(|id| lapwing.results(id)) {
        let words = ["verdict", "reason"].map(|column| row[column].as_str().unwrap_or_default());
        *counted.entry(words.join(" ").trim().to_owned()).or_default() += 1;
    }
    counted
}

#[track_caller]
fn blames_nobody(lapwing: &Lapwing, ids: &[String]) {
    let counted = counted(lapwing, ids);
    assert!(counted.get("up").is_some_and(|n| *n >= ids.len()), "{counted:?}");
    assert!(counted.keys().all(|words| words == "up" || words.starts_with("unknown ")), "{counted:?}");
}

#[test]
fn a_prober_that_was_stopped_amid_its_checks_blames_no_site() {
    let site = Site::serve([pause(400), resp(200, "fine")]);
    let ids = ids();
    let (lapwing, mut running) = watching(&site, &ids);
    for _ in 0..2 {
        until("checks are in flight", LIMIT, || site.open() > 0);
        running.signal(Signal::STOP);
        sleep(Duration::from_secs(4));
        running.signal(Signal::CONT);
        let before = lapwing.results(&ids[0]).len();
        lapwing.wait_for_results(&ids[0], before + 2);
    }
    assert_eq!(stop(running).code, 0);
    blames_nobody(&lapwing, &ids);
}

/// A program that does nothing, as fast as it can, until it is dropped.
struct Busy(Child);

impl Busy {
    fn new() -> Self {
        let mut command = Command::new("sh");
        Self(command.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "takes the whole machine for half a minute: `make soak` runs it"]
fn twenty_busy_loops_beside_it_make_no_healthy_site_down() {
    let site = Site::serve([pause(400), resp(200, "fine")]);
    let ids = ids();
    let busy: Vec<_> = (0..20).map(|_| Busy::new()).collect();
    let (lapwing, running) = watching(&site, &ids);
    sleep(Duration::from_secs(30));
    let output = stop(running);
    drop(busy);
    assert_eq!(output.code, 0);
    blames_nobody(&lapwing, &ids);
}
