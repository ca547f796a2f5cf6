//! A start that can't be: the cause is named, exit code 3, nothing is overwritten and nothing checked. A start that has to wait, waits.

use crate::at_work::{LIMIT, Lapwing, WITHIN_5_S, stop, targets};
use crate::tables::{self, Locked};
use std::path::Path;
use testkit::{Output, Running, Site, step::resp, until};

fn site() -> Site {
    Site::serve([resp(200, "fine")])
}

fn watching(site: &Site) -> Lapwing {
    Lapwing::with(&targets([("t", site.url("/"))]))
}

/// Exit code 3, every one of the texts on stderr, and nothing checked.
#[track_caller]
fn fails(running: Running, site: &Site, texts: &[&str]) -> Output {
    let asked = site.connections();
    let output = running.wait(LIMIT);
    assert_eq!((output.code, output.stdout.as_str()), (3, ""), "{output}");
    for text in texts {
        assert!(output.stderr.contains(text), "{text:?} is not on stderr: {output}");
    }
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert_eq!(site.connections(), asked, "nothing is checked");
    output
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out_and_nothing_is_checked() {
    let (site, taken) = (site(), site());
    let lapwing = watching(&site);
    let address = taken.address().to_string();
    let running = lapwing.program.spawn(&["run", "--listen", &address]);
    fails(running, &site, &[&address, "--listen", "web.listen"]);
    assert_eq!(taken.connections(), 0);
}

#[test]
fn listen_on_the_command_line_wins_over_the_file() {
    let (site, taken) = (site(), site());
    let lapwing = watching(&site);
    let address = format!("127.0.0.1:{}", lapwing.port);
    lapwing.program.write("lapwing.yaml", format!("web: {{listen: \"{}\"}}\ntargets: []", taken.address()));
    let running = lapwing.program.spawn(&["run", "--listen", &address]);
    lapwing.wait_until_ready();
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_data_dir_that_can_not_be_made_is_named() {
    let site = site();
    let lapwing = watching(&site);
    lapwing.configure(&format!("data_dir: file/data\n{}", targets([("t", site.url("/"))])));
    lapwing.program.write("file", "in the way");
    fails(lapwing.start(), &site, &["file/data"]);
}

#[test]
fn a_data_dir_that_is_missing_is_made() {
    let site = site();
    let lapwing = watching(&site);
    lapwing.configure(&format!("data_dir: new/data\n{}", targets([("t", site.url("/"))])));
    let running = lapwing.started();
    assert!(lapwing.program.folder().join("new/data/lapwing.db").exists());
    assert_eq!(stop(running).code, 0);
}

/// Starts over what the function has made of a file; it is left as it is, byte for byte.
#[track_caller]
fn refuses(lapwing: &Lapwing, site: &Site, file: &Path, spoil: impl Fn(&Path), texts: &[&str]) {
    spoil(file);
    let before = std::fs::read(file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let mut named = vec![name];
    named.extend(texts);
    fails(lapwing.start(), site, &named);
    assert!(std::fs::read(file).unwrap() == before, "{name} was changed");
    let beside = file.with_file_name(format!("{name}-wal"));
    assert!(!beside.exists() || std::fs::read(beside).unwrap().is_empty(), "{name} was written to");
}

/// Files of a Lapwing that has worked.
fn with_files(site: &Site) -> Lapwing {
    let lapwing = watching(site);
    let running = lapwing.start();
    lapwing.wait_for_results("t", 1);
    assert_eq!(stop(running).code, 0);
    lapwing
}

#[test]
fn a_damaged_store_or_queue_is_named_and_not_touched() {
    let site = site();
    for file in [Lapwing::store, Lapwing::queue] {
        let lapwing = with_files(&site);
        let garbage = |file: &Path| std::fs::write(file, "this is no database ".repeat(500)).unwrap();
        refuses(&lapwing, &site, &file(&lapwing), garbage, &["damaged", "move it away"]);
    }
}

#[test]
fn a_store_with_one_spoilt_page_is_named_and_not_touched() {
    let site = site();
    let lapwing = with_files(&site);
    let spoil = |file: &Path| {
        let mut bytes = std::fs::read(file).unwrap();
        let page = tables::value(file, "select rootpage from sqlite_schema where name = 'checks'").as_u64().unwrap();
        let start = (usize::try_from(page).unwrap() - 1) * 4096;
        bytes[start..start + 4096].fill(0xa5);
        std::fs::write(file, bytes).unwrap();
    };
    refuses(&lapwing, &site, &lapwing.store(), spoil, &["damaged"]);
}

#[test]
fn a_file_of_a_newer_version_is_named_and_not_touched() {
    let site = site();
    for file in [Lapwing::store, Lapwing::queue] {
        let lapwing = with_files(&site);
        let newer = |file: &Path| tables::execute(file, "pragma user_version = 1000");
        refuses(&lapwing, &site, &file(&lapwing), newer, &["newer", "1000"]);
    }
}

#[test]
fn a_database_of_another_program_is_not_touched() {
    let site = site();
    let lapwing = watching(&site);
    let theirs = |file: &Path| {
        std::fs::write(file, "").unwrap();
        tables::execute(file, "create table theirs (x); insert into theirs values (1)");
    };
    refuses(&lapwing, &site, &lapwing.store(), theirs, &["not a store"]);
}

#[test]
fn no_migrate_refuses_to_make_a_store() {
    let site = site();
    let lapwing = watching(&site);
    let running = lapwing.program.spawn(&["run", "--no-migrate"]);
    fails(running, &site, &["lapwing.db", "--no-migrate"]);
}

#[test]
fn files_that_another_lapwing_holds_are_named_with_its_pid_and_that_one_goes_on() {
    let site = site();
    let first = watching(&site);
    let running = first.started();
    let folder = first.program.folder().to_str().unwrap().to_owned();
    let pid = format!("pid {}", running.pid());
    let others = [
        format!("data_dir: {folder}\n"),
        format!("queue: {{path: {folder}/lapwing-queue.db}}\n"),
        format!("store: sqlite:{folder}/lapwing.db\n"),
    ];
    let second_site = self::site();
    for place in others {
        let second = Lapwing::with(&format!("{place}{}", targets([("t", second_site.url("/"))])));
        fails(second.start(), &second_site, &[&pid, "another Lapwing"]);
    }
    let seen = first.results("t").len();
    first.wait_for_results("t", seen + 2);
    assert_eq!(stop(running).code, 0);
}

/// Waits, and says so, for as long as somebody else has the store.
#[track_caller]
fn waits_for_the_store(lapwing: &Lapwing, running: &Running) {
    let mut said = String::new();
    until("/readyz says 503 and names the store", WITHIN_5_S, || {
        let (status, body) = lapwing.readiness();
        said = body;
        status == 503 && said.contains("store") && said.contains("locked")
    });
    assert!(said.starts_with(r#"{"ready":false,"lacks":[""#), "{said}");
    assert_eq!(lapwing.get("/healthz").unwrap().status, 200);
    running.wait_for_line(LIMIT, |line| line.contains("lapwing.db") && line.contains("locked"));
}

#[test]
fn a_store_that_another_program_has_locked_is_waited_for_and_a_stop_meanwhile_is_a_clean_one() {
    let site = site();
    let lapwing = with_files(&site);
    let locked = Locked::hold(&lapwing.store());
    let running = lapwing.start();
    waits_for_the_store(&lapwing, &running);
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
    drop(locked);
}

#[test]
fn checks_go_on_while_a_locked_store_is_waited_for_and_the_queue_holds_their_results() {
    let site = site();
    let lapwing = with_files(&site);
    let before = lapwing.results("t").len();
    let locked = Locked::hold(&lapwing.store());
    let running = lapwing.start();
    waits_for_the_store(&lapwing, &running);
    until("three results wait in the queue", LIMIT, || lapwing.metric("lapwing_queue_results") >= 3.0);
    drop(locked);
    until("/readyz says 200 again", WITHIN_5_S, || lapwing.readiness().0 == 200);
    lapwing.wait_for_results("t", before + 3);
    assert_eq!(stop(running).code, 0);
}

#[test]
fn a_queue_that_another_program_has_locked_is_waited_for() {
    let site = site();
    let lapwing = with_files(&site);
    let locked = Locked::hold(&lapwing.queue());
    let running = lapwing.start();
    until("/readyz says 503 and names the queue", WITHIN_5_S, || {
        let (status, body) = lapwing.readiness();
        status == 503 && body.contains("queue")
    });
    let asked = site.connections();
    drop(locked);
    until("/readyz says 200", WITHIN_5_S, || lapwing.readiness().0 == 200);
    until("the site is asked", LIMIT, || site.connections() > asked);
    assert_eq!(stop(running).code, 0);
}
