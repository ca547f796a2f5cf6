//! `lapwing check`: looks once, in the order given, and says by its exit code whether all is well.

use crate::at_work::{LIMIT, most_at_once, program};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::names::{NameServer, Reply};
use testkit::{Output, Program, Refused, Running, Signal, Site, Tls, pki, step::*, until};

fn fine() -> Site {
    Site::serve([resp(200, "welcome")])
}

/// Records by one field.
fn each(output: &Output, field: &str) -> Vec<Value> {
    output.json().iter().map(|record| record[field].clone()).collect()
}

#[test]
fn a_bare_url_needs_no_configuration() {
    let site = fine();
    let output = program().run(&["check", "--json", &site.url("/")]);
    assert_eq!(output.code, 0, "{output}");
    let record = &output.json()[0];
    assert_eq!(record["target"], format!("127.0.0.1-{}", site.port()));
    assert_eq!((&record["v"], &record["location"], &record["verdict"]), (&json!(1), &json!("default"), &json!("up")));
    assert_eq!((&record["due_at"], &record["lag_us"]), (&record["started_at"], &json!(0)));
    assert_eq!(output.stderr, "");
}

#[test]
fn the_flags_of_a_bare_url_ask_and_expect_as_told() {
    let site = Site::routes([
        ("/", vec![resp(200, "welcome")]),
        ("/gone", vec![resp(404, "lost")]),
        ("/silent", vec![hold()]),
    ]);
    let check = |path: &str, flags: &[&str], want: [&str; 2]| {
        let url = site.url(path);
        let output = program().run(&[&["check", "--json"][..], flags, &[url.as_str()]].concat());
        let record = &output.json()[0];
        let got = [&record["verdict"], &record["reason"]].map(|v| v.as_str().unwrap_or("-").to_owned());
        assert_eq!(got, want, "{flags:?}: {output}");
        assert_eq!(output.code, i32::from(want[0] == "down"), "{flags:?}: {output}");
    };
    check("/", &["--match", "wel+come", "--match", "^w"], ["up", "-"]);
    check("/", &["--match", "bye"], ["down", "body_no_match"]);
    check("/", &["--not-match", "come"], ["down", "body_match"]);
    check("/gone", &[], ["down", "status"]);
    check("/gone", &["--status", "404"], ["up", "-"]);
    check("/gone", &["--status", "200-299", "--status", "400-499"], ["up", "-"]);
    check("/silent", &["--timeout", "1500ms"], ["down", "timeout"]);
    check("/", &["--method", "HEAD", "--header", "X-One: 1", "--header", "x-two: 2"], ["up", "-"]);
    let asked = site.requests().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.header("x-one"), asked.header("x-two")), ("HEAD", Some("1"), Some("2")));
}

#[test]
fn insecure_and_ca_file_say_whom_to_trust() {
    let site = Site::tls(Tls::with(&pki().good), [resp(200, "welcome")]);
    let program = program();
    pki().write(program.folder());
    let verdict = |flags: &[&str]| {
        let url = site.url("/");
        let output = program.run(&[&["check", "--json"][..], flags, &[url.as_str()]].concat());
        output.json()[0]["verdict"].clone()
    };
    assert_eq!(verdict(&[]), "down");
    assert_eq!(verdict(&["--insecure"]), "up");
    assert_eq!(verdict(&["--ca-file", "root.pem"]), "up");
    assert_eq!(verdict(&["--ca-file", "other_root.pem"]), "down");
}

#[test]
fn a_resolver_that_is_named_is_asked() {
    let site = fine();
    let names = NameServer::new(|q| Reply::Records(vec![(q.name.clone(), "127.0.0.1".to_owned())]));
    let resolver = format!("127.0.0.1:{}", names.port);
    let output = program().run(&["check", "--json", "--resolver", &resolver, &site.at("shop.test", "/")]);
    assert_eq!((output.code, names.names()), (0, vec!["shop.test".to_owned()]), "{output}");
}

#[test]
fn records_come_in_the_order_given_though_all_are_asked_at_once() {
    let site = Site::routes([
        ("/slow", vec![pause(900), resp(200, "")]),
        ("/slower", vec![pause(900), resp(200, "")]),
        ("/quick", vec![resp(200, "")]),
    ]);
    let urls = ["/slow", "/quick", "/slower"].map(|path| site.url(path));
    let started = Instant::now();
    let output = program().run(&["check", "--json", &urls[0], &urls[1], &urls[2]]);
    assert_eq!(each(&output, "url"), urls);
    assert_eq!(output.code, 0, "{output}");
    assert!(most_at_once(&site, Duration::from_millis(900)) >= 2, "asked one after the other");
    assert!(started.elapsed() < LIMIT);
}

#[test]
fn one_that_is_down_among_several_makes_the_exit_code_1() {
    let (site, refused) = (fine(), Refused::new());
    let output = program().run(&["check", "--json", &site.url("/"), &refused.url("/")]);
    assert_eq!(each(&output, "verdict"), ["up", "down"]);
    assert_eq!(output.code, 1);
}

/// A configuration of three targets, `one` to `three`, at paths of the site.
fn configured(site: &Site, more: &str) -> Program {
    let program = program();
    let line = |id: &str| format!("  - {{id: {id}, url: \"{}\", timeout: 2s}}\n", site.url(&format!("/{id}")));
    let lines: String = ["one", "two", "three"].iter().map(|id| line(id)).collect();
    program.write("lapwing.yaml", format!("location: office\n{more}targets:\n{lines}"));
    program
}

#[test]
fn without_urls_the_targets_of_the_configuration_are_checked_or_those_named() {
    let site = fine();
    let program = configured(&site, "");
    assert_eq!(each(&program.run(&["check", "--json"]), "target"), ["one", "two", "three"]);
    let output = program.run(&["check", "--json", "--target", "three", "--target", "one"]);
    assert_eq!(each(&output, "target"), ["three", "one"]);
    assert_eq!(each(&output, "location"), ["office", "office"]);
    assert_eq!(site.requests().len(), 5);
}

#[test]
fn locations_and_enabled_are_ignored_by_check() {
    let site = fine();
    let program = program();
    let (a, b) = (site.url("/a"), site.url("/b"));
    program.write(
        "lapwing.yaml",
        format!(
            "targets:\n- {{id: a, url: \"{a}\", enabled: false}}\n- {{id: b, url: \"{b}\", locations: [elsewhere]}}"
        ),
    );
    assert_eq!(each(&program.run(&["check", "--json"]), "verdict"), ["up", "up"]);
}

#[test]
fn a_configuration_that_is_there_holds_for_urls_too() {
    let site = fine();
    let program = configured(&site, "defaults: {expect: {body: goodbye}}\nguard: {deny: [127.0.0.2]}\n");
    let output = program.run(&["check", "--json", &site.url("/")]);
    assert_eq!(each(&output, "reason"), ["body_no_match"], "its defaults apply");
    assert_eq!(each(&output, "location"), ["office"]);
    let output = program.run(&["check", "--json", &format!("http://127.0.0.2:{}/", site.port())]);
    assert_eq!(each(&output, "reason"), ["blocked"], "its guard applies");
    program.write("lapwing.yaml", "lokation: x\ntargets: []\n");
    let output = program.run(&["check", "--json", &site.url("/")]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "a broken one is a mistake: {output}");
    assert!(output.stderr.contains("lapwing.yaml:1: lokation"), "{output}");
}

#[test]
fn concurrency_and_per_host_are_obeyed_by_check() {
    for (setting, most) in [("concurrency: 1", 1), ("per_host: 2", 2), ("per_host: 3", 3)] {
        let site = Site::serve([pause(300), resp(200, "")]);
        let program = configured(&site, &format!("probe: {{{setting}}}\n"));
        assert_eq!(program.run(&["check", "--json"]).code, 0);
        assert_eq!(most_at_once(&site, Duration::from_millis(300)), most, "{setting}");
    }
}

#[test]
fn a_failure_while_none_of_the_places_to_be_online_can_be_reached_is_our_own() {
    let (target, place) = (Refused::new(), Refused::new());
    let program = program();
    program.write(
        "lapwing.yaml",
        format!("probe: {{online_check: \"127.0.0.1:{}\"}}\ntargets: [\"{}\"]", place.port(), target.url("/")),
    );
    let output = program.run(&["check", "--json"]);
    assert_eq!((output.code, each(&output, "reason")), (1, vec![json!("prober_offline")]));
    assert_eq!((each(&output, "verdict"), each(&output, "phase")), (vec![json!("unknown")], vec![Value::Null]));
}

/// Some targets that take a while, checked by a process that may have few open files although it was told to look at all at once.
fn with_few_files(site: &Site, program: &Program) {
    let line = |n: usize| format!("  - {{id: t{n}, url: \"{}\"}}\n", site.url(&format!("/{n}")));
    let lines: String = (0..50).map(line).collect();
    program.write("lapwing.yaml", format!("probe: {{concurrency: 1000, per_host: 1000}}\ntargets:\n{lines}"));
}

#[test]
fn with_few_open_files_fewer_are_checked_at_once_and_all_are_up() {
    let site = Site::serve([pause(200), resp(200, "")]);
    let program = program().open_files(80);
    with_few_files(&site, &program);
    let output = program.run(&["check", "--json"]);
    assert_eq!((output.code, output.json().len()), (0, 50), "{output}");
    assert!(site.most_open() <= 16, "{} at once", site.most_open());
    assert!(output.stderr.contains("2064 open files") && output.stderr.contains("at most 8"), "{output}");
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let site = Site::serve([resp(200, "")]);
    let program = program();
    with_few_files(&site, &program);
    let mut shell = Command::new("/bin/sh");
    let script = "ulimit -Sn 80 && ulimit -Hn 4096 && exec \"$@\"";
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_lapwing"), "check", "--json"]).current_dir(program.folder());
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("open files"), "{said}");
}

/// One check hangs, one waits behind it; then it is interrupted, and ends.
fn interrupted(arguments: &[&str]) -> Output {
    let site = Site::serve([hold()]);
    let program = configured(&site, "shutdown_grace: 100ms\nprobe: {concurrency: 1}\ndefaults: {interval: 10m}\n");
    let text = program.read("lapwing.yaml").replace("timeout: 2s", "timeout: 60s");
    program.write("lapwing.yaml", text);
    let mut running: Running = program.spawn(arguments);
    until("the first check has begun", LIMIT, || site.requests().len() == 1);
    running.signal(Signal::INT);
    let output = running.wait(Duration::from_secs(10));
    assert_eq!(output.code, 1, "{output}");
    output
}

#[test]
fn an_interrupted_check_reports_what_it_gave_up_and_what_it_had_not_begun() {
    let output = interrupted(&["check", "--json"]);
    assert_eq!(each(&output, "target"), ["one", "two", "three"]);
    assert_eq!(each(&output, "verdict"), ["unknown"; 3]);
    assert_eq!(each(&output, "reason"), ["stopping"; 3]);
    let mut attempts = each(&output, "attempts");
    attempts.sort_by_key(Value::as_i64);
    assert_eq!(attempts, [0, 0, 1]);
    for record in output.json() {
        let started_at = record["started_at"].as_str();
        assert!(started_at.is_some() && record["due_at"].as_str() == started_at, "{record}");
        assert!(record.get("phase").is_none() && record.get("status").is_none(), "{record}");
    }
}

#[test]
fn an_interrupted_check_tells_people_too() {
    let output = interrupted(&["check"]);
    assert_eq!(output.stdout.matches("stopping").count(), 3, "{output}");
    assert!(output.stdout.contains("3 unknown"), "{output}");
}

#[test]
fn a_check_that_ends_within_the_grace_is_reported_as_it_ended() {
    let site = Site::serve([pause(800), resp(200, "welcome")]);
    let program = configured(&site, "");
    let mut running = program.spawn(&["check", "--json"]);
    until("all checks have begun", LIMIT, || site.requests().len() == 3);
    running.signal(Signal::TERM);
    let output = running.wait(LIMIT);
    assert_eq!(each(&output, "verdict"), ["up"; 3], "{output}");
    assert_eq!(output.code, 1, "it was interrupted: {output}");
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let site = fine();
    let program = configured(&site, "");
    for form in [&["check", "--json"][..], &["check"], &["config", "schema"], &["completions", "bash"], &["man"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lapwing"))
            .args(form)
            .current_dir(program.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // As `| head -1` does.
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = child.wait().unwrap();
        assert!(!line.is_empty(), "{form:?}");
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{form:?}");
    }
}
