//! Secrets are nowhere: not in what is printed, not in what is logged at full length, not in a byte of the database files.

use crate::at_work::{LIMIT, Lapwing, program, stop};
use std::path::Path;
use testkit::{Output, Site, Tls, pki, step::*, until};

const SECRETS: [&str; 9] = [
    "hunter2-user-info",
    "hunter2-query",
    "hunter2-header",
    "hunter2-bearer",
    "hunter2-password",
    "hunter2-from-file",
    "hunter2-environment",
    "hunter2-location",
    // base64 of `user:hunter2-password`
    "dXNlcjpodW50ZXIyLXBhc3N3b3Jk",
];

/// Targets that hold a secret wherever one may be, at sites that send back what they were sent.
fn config(site: &Site, tls: &Site) -> String {
    let host = |path: &str| format!("http://me:hunter2-user-info@127.0.0.1:{}{path}?token=hunter2-query", site.port());
    let missed = "expect: {status: 299, headers: {x-echo: nothing-like-it}, body: nothing-like-it}";
    format!(
        "targets:\n\
         - {{id: url, interval: 1s, url: \"{0}\", {missed}}}\n\
         - {{id: header, interval: 1s, url: \"{1}\", {missed}, request: {{headers: {{x-api-key: hunter2-header, x-env: \"${{TOKEN}}\"}}}}}}\n\
         - {{id: bearer, interval: 1s, url: \"{1}\", {missed}, request: {{bearer_token: hunter2-bearer}}}}\n\
         - {{id: basic, interval: 1s, url: \"{1}\", {missed}, request: {{basic_auth: {{username: user, password: hunter2-password}}}}}}\n\
         - {{id: file, interval: 1s, url: \"{1}\", {missed}, request: {{bearer_token_file: token.txt, body_file: token.txt, method: POST}}}}\n\
         - {{id: redirected, interval: 1s, url: \"{2}\", {missed}}}\n\
         - {{id: refused, interval: 1s, url: \"http://me:hunter2-user-info@127.0.0.1:1/?hunter2-query\"}}\n\
         - {{id: secure, interval: 1s, url: \"https://me:hunter2-user-info@127.0.0.1:{3}/?a=hunter2-query\", request: {{bearer_token: hunter2-bearer, tls: {{verify: false}}}}}}\n",
        host("/echo"),
        site.url("/echo"),
        host("/moved"),
        tls.port(),
    )
}

/// Sends the request's head and body back: in a header, and as the body.
fn echo(request: &testkit::Request) -> Vec<Step> {
    if request.target.starts_with("/moved") {
        return vec![redirect(302, "http://u:hunter2-user-info@127.0.0.1:1/?x=hunter2-location")];
    }
    let said: String = request.headers.iter().map(|(n, v)| format!("{n}={v} ")).collect();
    let body = [request.head.as_slice(), request.body.as_slice()].concat();
    vec![resp_with(200, &[("x-echo", &format!("{} {said}", request.target))], body)]
}

use testkit::Step;

#[track_caller]
fn hidden_in(what: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).position(|w| w == secret.as_bytes());
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(200)..(at + secret.len() + 40).min(bytes.len())];
            panic!("{secret} is in {what}: …{}…", String::from_utf8_lossy(around));
        }
    }
}

#[track_caller]
fn hidden(arguments: &[&str], output: &Output) {
    hidden_in(&format!("stdout of {arguments:?}"), output.stdout.as_bytes());
    hidden_in(&format!("stderr of {arguments:?}"), output.stderr.as_bytes());
}

#[test]
fn check_prints_none_at_any_verbosity() {
    let site = Site::answer(echo);
    let tls = Site::setup().tls(Tls::with(&pki().good)).answer(echo);
    for rust_log in [None, Some("trace")] {
        let mut program = program().env("TOKEN", "hunter2-environment").env("RUST_BACKTRACE", "1");
        if let Some(level) = rust_log {
            program = program.env("RUST_LOG", level);
        }
        program.write("lapwing.yaml", config(&site, &tls));
        program.write("token.txt", "hunter2-from-file\n");
        for form in [&["check"][..], &["check", "--json"], &["check", "--log-format", "json"]] {
            for loud in [&[][..], &["-v", "-v"]] {
                let arguments = [form, loud].concat();
                let output = program.run(&arguments);
                assert_eq!(output.code, 1, "{output}");
                hidden(&arguments, &output);
            }
        }
        for id in ["url", "header", "bearer", "basic", "file", "redirected", "refused", "secure"] {
            let arguments = ["check", "-vv", "--target", id];
            hidden(&arguments, &program.run(&arguments));
        }
        hidden(&["config", "show"], &program.run(&["config", "show"]));
        hidden(&["config", "check"], &program.run(&["config", "check", "-vv"]));
    }
    // The sites were sent what the others must not see.
    let sent: Vec<u8> = site.requests().iter().flat_map(|r| [r.head.clone(), r.body.clone()].concat()).collect();
    for secret in
        ["hunter2-query", "hunter2-header", "hunter2-bearer", "hunter2-from-file", "hunter2-environment", SECRETS[8]]
    {
        assert!(sent.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} was not even sent");
    }
}

#[test]
fn flags_of_a_bare_url_are_not_printed() {
    let site = Site::answer(echo);
    let url = format!("http://me:hunter2-user-info@127.0.0.1:{}/echo?token=hunter2-query", site.port());
    for url in
        [url.as_str(), "http://me:hunter2-user-info@127.0.0.1:1/?hunter2-query", "ftp://me:hunter2-user-info@a.test/"]
    {
        for form in [&["check", "-vv"][..], &["check", "--json"]] {
            let arguments =
                [form, &["--header", "x-api-key: hunter2-header", "--match", "nothing-like-it", url]].concat();
            hidden(form, &program().env("RUST_LOG", "trace").run(&arguments));
        }
    }
    let bad_header = program().run(&["check", "--header", "x-api-key: hunter2-header\u{1}", "http://127.0.0.1:1/"]);
    assert_eq!(bad_header.code, 2);
    hidden(&["--header"], &bad_header);
}

#[test]
fn a_url_in_a_wrong_place_is_told_without_its_secrets() {
    let url = "http://me:hunter2-user-info@a.test/?token=hunter2-query";
    for arguments in [
        &[url][..],
        &["run", url],
        &["config", "check", url],
        &["-c", url, "config", "check"],
        &["--log-format", url, "run"],
        &["completions", url],
        &["dead", "list", "--older-than", url],
        &["check", "--timeout", url, "http://127.0.0.1:1/"],
        &["check", &format!("--status={url}"), "http://127.0.0.1:1/"],
        &["check", "--ca-file", url, "http://127.0.0.1:1/"],
    ] {
        let ended = program().run(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended}");
        assert!(ended.stderr.contains("***@a.test/"), "{arguments:?}: {ended}");
        hidden(arguments, &ended);
    }
}

fn every_byte_of_the_files(folder: &Path) {
    let mut databases = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("lapwing") && name.contains(".db") {
            databases += usize::from(!name.ends_with(".lock"));
            hidden_in(&name, &std::fs::read(path).unwrap());
        }
    }
    assert!(databases >= 2, "the store and the queue were read");
}

#[test]
fn run_logs_and_stores_none() {
    let site = Site::answer(echo);
    let tls = Site::setup().tls(Tls::with(&pki().good)).answer(echo);
    let mut lapwing = Lapwing::with(&config(&site, &tls));
    lapwing.program = lapwing.program.env("TOKEN", "hunter2-environment").env("RUST_LOG", "trace");
    lapwing.program.write("token.txt", "hunter2-from-file\n");
    let running = lapwing.program.spawn(&["run", "-vv"]);
    for id in ["url", "header", "bearer", "basic", "file", "redirected", "refused", "secure"] {
        lapwing.wait_for_results(id, 1);
    }
    // A configuration with a mistake beside every secret: the words about it show none.
    let broken = config(&site, &tls).replace("interval: 1s", "interval: 1s, tiemout: 1s").replace("299", "x");
    lapwing.configure(&broken);
    until("the broken one is met", LIMIT, || running.stderr().contains("the old one stays in force"));
    every_byte_of_the_files(lapwing.program.folder());
    hidden_in("/metrics", lapwing.get("/metrics").unwrap().body.as_bytes());
    let output = stop(running);
    assert_eq!(output.code, 0);
    hidden(&["run", "-vv"], &output);
    every_byte_of_the_files(lapwing.program.folder());
}
