//! URLs of the command line.

use crate::helper::{Folder, load};
use config::{BareFlags, Config, bare_targets};
use model::Target;
use std::sync::Arc;

fn targets(urls: &[&str], flags: &BareFlags, base: Option<&Config>) -> Vec<Arc<Target>> {
    let urls: Vec<_> = urls.iter().map(|s| (*s).to_owned()).collect();
    bare_targets(&urls, flags, base).unwrap_or_else(|e| panic!("{e}"))
}

fn mistakes(url: &str, flags: &BareFlags) -> Vec<String> {
    let found = bare_targets(&[url.to_owned()], flags, None).err().map(|m| m.to_string());
    found.unwrap_or_default().lines().map(str::to_owned).collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn a_url_alone_has_the_usual_defaults() {
    let t = targets(&["http://127.0.0.1:8080/"], &BareFlags::default(), None).remove(0);
    assert_eq!(
        (t.id.as_str(), &*t.name, t.timeout.as_secs(), t.interval_ms),
        ("127.0.0.1-8080", "127.0.0.1-8080", 10, 60_000)
    );
}

#[test]
fn flags_say_what_keys_say() {
    let folder = Folder::new("").with("ca.pem", "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n");
    let flags = BareFlags {
        timeout: Some("500ms".into()),
        status: strings(&["200-299, 404", "500"]),
        matches: strings(&["a", "${B}"]),
        not_matches: strings(&["c"]),
        headers: strings(&["X-A: 1", "x-a:2", "Authorization: Bearer hunter2"]),
        method: Some("HEAD".into()),
        insecure: true,
        ca_file: Some(folder.path("ca.pem")),
        resolver: Vec::new(),
    };
    let mistaken = mistakes("http://h/", &flags);
    assert!(
        mistaken.len() == 1 && mistaken[0].starts_with("--match: "),
        "a flag is no place for variables: {mistaken:?}"
    );
    let t = targets(&["http://h/"], &BareFlags { matches: strings(&["a"]), ..flags }, None).remove(0);
    assert_eq!(
        (t.timeout.as_millis(), t.expect.status.as_ref().map(ToString::to_string)),
        (500, Some("200-299, 404, 500".into()))
    );
    assert_eq!((t.expect.matches.len(), t.expect.not_matches.len(), t.request.method.as_str()), (1, 1, "HEAD"));
    let headers: Vec<_> = t.request.headers.iter().map(|(n, v)| format!("{n}={}", v.to_str().unwrap())).collect();
    assert_eq!(headers, ["x-a=1", "x-a=2"]);
    assert_eq!(t.request.authorization.as_ref().unwrap(), "Bearer hunter2");
    assert!(t.request.secrets.iter().any(|s| &**s == "hunter2"));
    assert!(!t.request.tls.verify && t.request.tls.ca.is_some());
}

#[test]
fn a_mistake_names_the_flag() {
    for (flags, words) in [
        (BareFlags { timeout: Some("5".into()), ..BareFlags::default() }, &["--timeout: ", "\"5\""][..]),
        (BareFlags { timeout: Some("16m".into()), ..BareFlags::default() }, &["--timeout: ", "15m"]),
        (BareFlags { status: strings(&["2000"]), ..BareFlags::default() }, &["--status: ", "2000"]),
        (BareFlags { matches: strings(&["("]), ..BareFlags::default() }, &["--match: ", "unclosed"]),
        (BareFlags { not_matches: strings(&["["]), ..BareFlags::default() }, &["--not-match: ", "unclosed"]),
        (BareFlags { headers: strings(&["nocolon"]), ..BareFlags::default() }, &["--header: ", "nocolon", "colon"]),
        (BareFlags { headers: strings(&["bad name: x"]), ..BareFlags::default() }, &["--header: ", "bad name"]),
        (BareFlags { headers: strings(&["a: \u{1}"]), ..BareFlags::default() }, &["--header: ", "control character"]),
        (BareFlags { method: Some("G T".into()), ..BareFlags::default() }, &["--method: ", "G T"]),
        (BareFlags { ca_file: Some("no-such.pem".into()), ..BareFlags::default() }, &["--ca-file: ", "no-such.pem"]),
        (BareFlags { resolver: strings(&["nonsense"]), ..BareFlags::default() }, &["--resolver: ", "nonsense"]),
    ] {
        let found = mistakes("http://h/", &flags);
        assert!(
            found.len() == 1 && words.iter().all(|w| found[0].contains(w)) && found[0].starts_with(words[0]),
            "{words:?}: {found:?}"
        );
    }
    for (url, words) in [("h.example", "http://"), ("ftp://u:hunter2@h/?t=hunter2", "scheme"), ("http://a b/", "a b")] {
        let found = mistakes(url, &BareFlags::default());
        assert!(
            found.len() == 1
                && found[0].starts_with("URL: ")
                && found[0].contains(words)
                && !found[0].contains("hunter2"),
            "{found:?}"
        );
    }
    let flags = BareFlags { headers: strings(&["Authorization Bearer hunter2"]), ..BareFlags::default() };
    assert!(!mistakes("http://h/", &flags)[0].contains("hunter2"));
}

#[test]
fn all_mistakes_are_named_at_once() {
    let flags = BareFlags { timeout: Some("5".into()), status: strings(&["x"]), ..BareFlags::default() };
    let found = mistakes("h", &flags);
    assert_eq!(
        found.iter().map(|m| m.split(": ").next().unwrap()).collect::<Vec<_>>(),
        ["--timeout", "--status", "URL"]
    );
}

#[test]
fn equal_slugs_are_numbered() {
    let list = targets(&["http://h/?a", "http://h/?b", "http://h/-2", "http://h/"], &BareFlags::default(), None);
    assert_eq!(list.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), ["h", "h-2", "h--2", "h-3"]);
    let long = format!("http://{}/", vec!["a".repeat(60); 3].join("."));
    let list = targets(&[&long, &long], &BareFlags::default(), None);
    assert_eq!(list.iter().map(|t| t.id.as_str().len()).collect::<Vec<_>>(), [128, 128]);
    assert_eq!(targets(&["http://[::]/"], &BareFlags::default(), None)[0].id.as_str(), "url");
}

#[test]
fn the_defaults_of_a_config_hold_and_flags_win() {
    let folder = Folder::new("defaults: {timeout: 3s, retries: 2, request: {headers: {X-A: 1, x-b: 2}, body_file: b}, expect: {status: 404}}\ntargets: [http://t/]").with("b", "body");
    let base = folder.good();
    let flags = BareFlags { headers: strings(&["x-a: 3"]), status: strings(&["200"]), ..BareFlags::default() };
    let t = targets(&["http://h/"], &flags, Some(&base)).remove(0);
    assert_eq!((t.timeout.as_secs(), t.retries, t.request.body.as_deref()), (3, 2, Some(&b"body"[..])));
    assert_eq!(t.expect.status.as_ref().map(ToString::to_string), Some("200".into()));
    assert_eq!(
        t.request.headers.iter().map(|(n, v)| format!("{n}={}", v.to_str().unwrap())).collect::<Vec<_>>(),
        ["x-a=3", "x-b=2"]
    );
}

#[test]
fn the_interval_grows_with_the_timeout() {
    let flags = |t: &str| BareFlags { timeout: Some(t.into()), ..BareFlags::default() };
    assert_eq!(targets(&["http://h/"], &flags("90s"), None)[0].interval_ms, 90_000);
    assert_eq!(targets(&["http://h/"], &flags("5s"), None)[0].interval_ms, 60_000);
    let base = load("defaults: {interval: 30s, retries: 1}\ntargets: []");
    assert_eq!(targets(&["http://h/"], &flags("5s"), Some(&base))[0].interval_ms, 30_000);
    assert_eq!(targets(&["http://h/"], &flags("20s"), Some(&base))[0].interval_ms, 40_000);
}
