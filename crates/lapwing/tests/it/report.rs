//! What `lapwing check` shows people: one target in full, several as a table.

use crate::at_work::program;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use testkit::{Output, Refused, Site, Tls, pki, step::*};

/// The line of the report that begins with this word.
#[track_caller]
fn line<'o>(output: &'o Output, word: &str) -> &'o str {
    let found = output.stdout.lines().find(|line| line.trim_start().starts_with(word));
    found.unwrap_or_else(|| panic!("no line begins with {word:?}: {output}"))
}

#[track_caller]
fn shows(output: &Output, texts: &[&str]) {
    for text in texts {
        assert!(output.stdout.contains(text), "{text:?} is not shown: {output}");
    }
}

#[test]
fn the_report_of_a_site_shows_what_came_each_phase_and_each_expectation() {
    let site = Site::routes([
        ("/old", vec![redirect(301, "/new")]),
        ("/new", vec![pause(900), resp_with(200, &[("content-type", "text/html")], "welcome")]),
    ]);
    let program = program();
    program.write(
        "lapwing.yaml",
        format!(
            "targets:\n- id: shop\n  url: \"{}\"\n  expect: {{status: 200, headers: {{content-type: html}}, body: {{matches: \
             wel+come, not_matches: goodbye}}, time: 5s}}\n  warn: {{time: 100ms}}\n",
            site.at("localhost", "/old")
        ),
    );
    let output = program.run(&["check"]);
    assert_eq!(output.code, 0, "degraded is no failure: {output}");
    shows(&output, &["degraded", "slow", "GET ", "/old", "200, HTTP/1.1 from 127.0.0.1:", "1, to ", "/new", "7 bytes"]);
    for phase in ["dns", "connect", "wait", "transfer"] {
        assert!(line(&output, phase).contains('█'), "{phase} has a bar: {output}");
    }
    assert!(line(&output, "wait").contains("ms") && line(&output, "total").contains("ms"), "{output}");
    let bar = |phase| line(&output, phase).matches('█').count();
    assert!(bar("wait") > bar("connect") && bar("wait") > bar("transfer"), "{output}");
    shows(
        &output,
        &[
            "ok   status: 200; got 200",
            "wel+come",
            "goodbye",
            "content-type",
            "got \"text/html\"",
            "warn time (warn): ",
        ],
    );
    assert_eq!(output.stdout.lines().filter(|l| l.starts_with("  ok ")).count(), 5, "{output}");
}

#[test]
fn each_expectation_that_is_missed_is_shown_with_expected_and_got() {
    let site = Site::serve([resp_with(503, &[("x-health", "ill")], "closed for repairs")]);
    let program = program();
    program.write(
        "lapwing.yaml",
        format!(
            "targets:\n- {{id: t, url: \"{}\", expect: {{status: [200-299], headers: {{x-health: well}}, body: basket, cel: 'body.json.ok'}}, \
             warn: {{cel: status == 200}}}}",
            site.url("/")
        ),
    );
    let output = program.run(&["check"]);
    assert_eq!(output.code, 1, "{output}");
    shows(
        &output,
        &[
            "down",
            "MISS status: 200-299; got 503",
            "MISS header x-health",
            "well",
            "got \"ill\"",
            "MISS ",
            "basket",
            "MISS cel: body.json.ok; got an error: the body is not JSON",
            "warn cel (warn): status == 200; got false",
        ],
    );
    assert_eq!(output.stdout.matches("MISS").count(), 4, "{output}");
}

#[test]
fn the_report_of_a_failing_tls_site_shows_the_certificate() {
    for (identity, reason, says) in [
        (&pki().expired, "tls_expired", "expired 365 days ago"),
        (&pki().wrong_host, "tls_wrong_host", "days left"),
        (&pki().unknown_ca, "tls_untrusted", "days left"),
        (&pki().self_signed, "tls_untrusted", "days left"),
    ] {
        let site = Site::tls(Tls::with(identity), [resp(200, "never")]);
        let program = program();
        pki().write(program.folder());
        let output = program.run(&["check", "--ca-file", "root.pem", &site.url("/")]);
        assert_eq!(output.code, 1, "{output}");
        shows(&output, &["down", reason, "CN=localhost", "issued by ", "valid from 20", says]);
        assert!(line(&output, "answer").contains("none (asked 127.0.0.1:"), "{output}");
        assert!(line(&output, "tls").contains("CN=localhost"), "{output}");
        assert!(!output.stdout.contains("wait"), "it was not entered: {output}");
    }
}

#[test]
fn the_report_of_a_refused_connection_says_what_is_not_known() {
    let refused = Refused::new();
    let output = program().run(&["check", "--match", "welcome", &refused.url("/")]);
    assert_eq!(output.code, 1);
    shows(
        &output,
        &["connect_refused", "answer     none (asked 127.0.0.1:", "?    status: 200-299", "did not come that far"],
    );
    assert!(!output.stdout.contains("; got the answer"), "{output}");
}

#[test]
fn several_targets_are_a_table_with_a_count_at_its_end() {
    let (site, refused) = (Site::serve([resp(200, "welcome")]), Refused::new());
    let program = program();
    let output = program.run(&["check", &site.url("/"), &refused.url("/"), &site.url("/")]);
    assert_eq!(output.code, 1);
    let lines: Vec<_> = output.stdout.lines().collect();
    let words = |n: usize| lines[n].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0), ["target", "verdict", "status", "time", "why"]);
    assert_eq!(words(1)[..3], [&format!("127.0.0.1-{}", site.port()), "up", "200"]);
    assert_eq!(words(2)[..3], [&format!("127.0.0.1-{}", refused.port()), "down", "-"]);
    assert!(lines[2].contains("connect_refused: "), "{output}");
    assert_eq!(words(3)[0], format!("127.0.0.1-{}-2", site.port()), "one site twice: two ids");
    assert_eq!(lines[lines.len() - 1], "2 up, 1 down");
    assert!(!output.stdout.contains('\x1b'), "colours are for terminals: {output}");
    let columns: Vec<_> = lines[..4].iter().map(|l| l.find("verdict").or(l.find("up ")).or(l.find("down"))).collect();
    assert!(columns.windows(2).all(|w| w[0] == w[1]), "{output}");
}

/// What a person at a terminal sees.
fn on_a_terminal(command: &mut Command) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(terminal).stderr(Stdio::null()).spawn().unwrap();
    *command = Command::new("true"); // lets go of the terminal: its end is what ends the reading
    let mut seen = Vec::new();
    let _ = File::from(master).read_to_end(&mut seen); // Linux ends it with EIO
    child.wait().unwrap();
    String::from_utf8(seen).unwrap()
}

#[test]
fn colours_are_for_terminals_and_no_color_is_obeyed() {
    let site = Site::serve([resp(200, "welcome")]);
    for (no_color, coloured) in [(None, true), (Some(""), true), (Some("1"), false)] {
        let program = program();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
        command.args(["check", &site.url("/")]).current_dir(program.folder()).env_remove("NO_COLOR");
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let seen = on_a_terminal(&mut command);
        assert!(seen.contains("up") && seen.contains('\x1b') == coloured, "{no_color:?}: {seen:?}");
    }
}
