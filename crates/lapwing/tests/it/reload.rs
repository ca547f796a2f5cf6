//! A changed configuration is taken over as a difference; a broken one never is.

use crate::at_work::{LIMIT, Lapwing, WITHIN_5_S, every_second, most_at_once, ms, stop, targets};
use crate::tables::Row;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use testkit::{
    Running, Signal, Site,
    step::{pause, resp},
    until,
};

const IN_FORCE: &str = "was read again and is in force";
const BROKEN: &str = "the old one stays in force";

fn site() -> Site {
    Site::serve([resp(200, "fine")])
}

/// Watches `kept` and `gone` at two sites, and has looked at both.
fn watching(kept: &Site, gone: &Site) -> (Lapwing, Running) {
    let lapwing = Lapwing::with(&targets([("kept", kept.url("/")), ("gone", gone.url("/"))]));
    let running = lapwing.start();
    until("both are looked at", LIMIT, || kept.connections() > 0 && gone.connections() > 0);
    (lapwing, running)
}

/// From now on nobody asks this site: within two of its slots nothing comes.
#[track_caller]
fn is_left_alone(site: &Site, by: &Site) {
    let (asked, others) = (site.connections(), by.connections());
    until("two slots pass", LIMIT, || by.connections() >= others + 2);
    assert!(site.connections() <= asked, "a removed target is still checked");
}

fn wait_for(running: &Running, text: &str) -> String {
    running.wait_for_line(LIMIT, |line| line.contains(text))
}

#[test]
fn a_file_written_in_place_is_taken_over_as_a_difference() {
    let (kept, gone, new) = (site(), site(), site());
    let (lapwing, running) = watching(&kept, &gone);
    let changed = Instant::now();
    lapwing.configure(&targets([("new", new.url("/")), ("kept", kept.url("/"))]));
    until("the new target is checked", WITHIN_5_S, || new.connections() > 0);
    assert!(changed.elapsed() >= Duration::from_millis(500), "it is read once it stands still");
    let line = wait_for(&running, IN_FORCE);
    assert!(line.contains("added=1 changed=0 removed=1"), "{line}");
    is_left_alone(&gone, &new);
    let due: Vec<_> = lapwing.wait_for_results("kept", 4).iter().map(|row| ms(row, "due_at")).collect();
    assert!(due.windows(2).all(|w| w[1] - w[0] == 1000), "the slots of an unchanged target go on: {due:?}");
    assert_eq!(lapwing.metric("lapwing_config_last_reload_successful"), 1.0);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_file_replaced_by_another_is_read() {
    let (kept, gone, new) = (site(), site(), site());
    let (lapwing, running) = watching(&kept, &gone);
    let text = lapwing.text(&targets([("kept", kept.url("/")), ("new", new.url("/"))]));
    let beside = lapwing.program.write("lapwing.yaml.new", text);
    std::fs::rename(beside, lapwing.program.folder().join("lapwing.yaml")).unwrap();
    until("the new target is checked", WITHIN_5_S, || new.connections() > 0);
    is_left_alone(&gone, &new);
    assert_eq!(stop(running).code, 0);
}

/// As a mounted ConfigMap is changed: a link in the way to the file is pointed elsewhere. Files of equal size and time, so that only
/// which file it is tells them apart.
#[test]
fn a_changed_symbolic_link_in_the_way_to_the_file_is_a_change_of_it() {
    let (kept, gone) = (site(), site());
    let lapwing = Lapwing::with("targets: []");
    let [old, new] = [("gone", &gone), ("kept", &kept)].map(|(id, site)| lapwing.text(&targets([(id, site.url("/"))])));
    assert_eq!(old.len(), new.len());
    let time = std::time::SystemTime::now();
    for (name, text) in [("v1/lapwing.yaml", old), ("v2/lapwing.yaml", new)] {
        let file = std::fs::File::options().write(true).open(lapwing.program.write(name, text)).unwrap();
        file.set_modified(time).unwrap();
    }
    let folder = lapwing.program.folder();
    symlink("v1", folder.join("current")).unwrap();
    let running = lapwing.program.spawn(&["run", "-c", "current/lapwing.yaml"]);
    until("the first file is in force", LIMIT, || gone.connections() > 0);
    symlink("v2", folder.join("next")).unwrap();
    std::fs::rename(folder.join("next"), folder.join("current")).unwrap();
    until("the second file is in force", WITHIN_5_S, || kept.connections() > 0);
    is_left_alone(&gone, &kept);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn an_included_file_that_changes_comes_or_goes_is_a_change() {
    let (one, two, three) = (site(), site(), site());
    let lapwing = Lapwing::with("include: [targets/*.yaml]\n");
    lapwing.program.write("targets/a.yaml", targets([("one", one.url("/"))]));
    let running = lapwing.start();
    until("the included target is checked", LIMIT, || one.connections() > 0);
    lapwing.program.write("targets/a.yaml", targets([("one", one.url("/")), ("two", two.url("/"))]));
    until("what was added to the file is checked", WITHIN_5_S, || two.connections() > 0);
    lapwing.program.write("targets/b.yaml", targets([("three", three.url("/"))]));
    until("what the new file names is checked", WITHIN_5_S, || three.connections() > 0);
    std::fs::remove_file(lapwing.program.folder().join("targets/a.yaml")).unwrap();
    running.wait_for_line(LIMIT, |line| line.contains(IN_FORCE) && line.contains("removed=2"));
    is_left_alone(&one, &three);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn sighup_reads_at_once_also_what_has_not_changed() {
    let (kept, gone) = (site(), site());
    let (_lapwing, mut running) = watching(&kept, &gone);
    running.signal(Signal::HUP);
    wait_for(&running, "was read again; nothing has changed");
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_broken_file_keeps_the_old_one_in_force_and_every_mistake_is_named() {
    let (kept, gone, new) = (site(), site(), site());
    let (lapwing, running) = watching(&kept, &gone);
    lapwing.configure(&format!("lokation: x\n{}  - {{url: \"ftp://127.0.0.1/\"}}\n", targets([("new", new.url("/"))])));
    wait_for(&running, BROKEN);
    running.wait_for_lines(2, LIMIT, |line| line.starts_with("lapwing.yaml:"));
    let told = running.stderr();
    assert!(told.contains("lapwing.yaml:3: lokation: ") && told.contains("lapwing.yaml:6: targets[1].url: "), "{told}");
    assert_eq!(lapwing.metric("lapwing_config_last_reload_successful"), 0.0);
    let asked = (kept.connections(), gone.connections());
    until("both are still checked", LIMIT, || kept.connections() > asked.0 + 1 && gone.connections() > asked.1 + 1);
    assert_eq!(new.connections(), 0);
    assert_eq!(lapwing.readiness().0, 200, "it works, if by the old configuration");
    lapwing.configure(&targets([("new", new.url("/"))]));
    until("the mended file is in force", WITHIN_5_S, || new.connections() > 0);
    assert_eq!(lapwing.metric("lapwing_config_last_reload_successful"), 1.0);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_broken_include_is_read_again_when_it_alone_is_mended() {
    let (kept, new) = (site(), site());
    let lapwing = Lapwing::with(&targets([("kept", kept.url("/"))]));
    let running = lapwing.start();
    until("it is looked at", LIMIT, || kept.connections() > 0);
    lapwing.program.write("more.yaml", "targets: [{url: nonsense}]");
    lapwing.configure(&format!("include: [more.yaml]\n{}", targets([("kept", kept.url("/"))])));
    wait_for(&running, BROKEN);
    lapwing.program.write("more.yaml", targets([("new", new.url("/"))]));
    until("the mended file is in force", WITHIN_5_S, || new.connections() > 0);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn an_empty_file_is_a_mistake_and_an_empty_list_stops_all_checks() {
    let (kept, gone) = (site(), site());
    let (lapwing, running) = watching(&kept, &gone);
    lapwing.program.write("lapwing.yaml", "");
    wait_for(&running, BROKEN);
    let asked = kept.connections();
    until("it is still checked", LIMIT, || kept.connections() > asked);
    lapwing.configure("targets: []\n");
    let line = wait_for(&running, IN_FORCE);
    assert!(line.contains("removed=2"), "{line}");
    let asked = (kept.connections(), gone.connections());
    std::thread::sleep(Duration::from_millis(1500)); // nothing is left that could be waited for
    assert_eq!((kept.connections(), gone.connections()), asked);
    assert_eq!(lapwing.readiness().0, 200);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_file_that_was_missing_is_noticed_when_it_comes() {
    let (kept, gone, new) = (site(), site(), site());
    let (lapwing, running) = watching(&kept, &gone);
    let target = format!(
        "targets: [{{id: new, url: \"{}\", interval: 1s, request: {{bearer_token_file: later.txt}}}}]",
        new.url("/")
    );
    lapwing.configure(&target);
    let said = running.wait_for_line(LIMIT, |line| line.contains("later.txt"));
    assert!(said.contains("bearer_token_file"), "{said}");
    lapwing.program.write("later.txt", "token");
    until("the new target is checked", LIMIT, || new.connections() > 0);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn keys_that_need_a_restart_are_named_and_the_rest_is_in_force() {
    let (kept, gone, new) = (site(), site(), site());
    let (lapwing, running) = watching(&kept, &gone);
    let rest = targets([("new", new.url("/"))]);
    lapwing.program.write(
        "lapwing.yaml",
        format!(
            "location: test\nweb: {{listen: \"127.0.0.1:1\"}}\nmetrics: {{listen: \"127.0.0.1:2\"}}\nstore: sqlite:other.db\n\
             queue: {{path: other-queue.db}}\ndata_dir: elsewhere\n{rest}"
        ),
    );
    let line = wait_for(&running, "need a restart");
    for key in ["store", "queue", "data_dir", "web.listen", "metrics.listen"] {
        assert!(line.contains(key), "{key} is not in {line}");
    }
    until("the new target is checked", LIMIT, || new.connections() > 0);
    lapwing.wait_for_results("new", 1);
    assert_eq!(lapwing.readiness().0, 200, "it listens where it did");
    assert!(!lapwing.program.folder().join("elsewhere").exists());
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_burst_of_writes_is_read_once_it_stands_still() {
    let (kept, gone, new) = (site(), site(), site());
    let (lapwing, running) = watching(&kept, &gone);
    let whole = lapwing.text(&targets([("kept", kept.url("/")), ("new", new.url("/"))]));
    for n in 1..=15 {
        // Every part but the last one is broken or lacks something.
        lapwing.program.write("lapwing.yaml", &whole[..whole.len() * n / 15]);
        std::thread::sleep(Duration::from_millis(100));
    }
    until("the new target is checked", WITHIN_5_S, || new.connections() > 0);
    let output = stop(running);
    assert_eq!((output.stderr.matches(IN_FORCE).count(), output.stderr.matches(BROKEN).count()), (1, 0), "{output}");
}

#[test]
fn a_changed_target_is_not_checked_twice_at_one_slot_nor_twice_at_once() {
    let slow = Site::serve([pause(1500), resp(200, "fine")]);
    let line = |name: &str| {
        format!("targets: [{{id: t, name: {name}, url: \"{}\", interval: 3s, timeout: 2s}}]", slow.url("/"))
    };
    let lapwing = Lapwing::with(&line("Old"));
    let running = lapwing.start();
    until("its check runs", LIMIT, || slow.connections() == 1);
    lapwing.configure(&line("New"));
    wait_for(&running, IN_FORCE);
    let results = lapwing.wait_for_results("t", 2);
    assert_eq!(most_at_once(&slow, Duration::from_millis(1500)), 1);
    let due: Vec<_> = results.iter().map(|row: &Row| ms(row, "due_at")).collect();
    assert!(due.windows(2).all(|w| w[1] - w[0] == 3000), "{due:?}");
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_change_while_lapwing_waits_for_a_locked_store_is_not_missed_and_a_hangup_then_ends_nothing() {
    let (old, new) = (site(), site());
    let (lapwing, running) = watching(&old, &old);
    assert_eq!(stop(running).code, 0);
    let locked = crate::tables::Locked::hold(&lapwing.store());
    let mut running = lapwing.start();
    until("it waits", LIMIT, || lapwing.readiness().0 == 503);
    lapwing.configure(&format!("targets:\n{}", every_second("new", &new.url("/"))));
    running.signal(Signal::HUP);
    drop(locked);
    until("the changed file is in force", LIMIT, || new.connections() > 0);
    assert!(running.lives());
    assert_eq!(stop(running).code, 0);
}
