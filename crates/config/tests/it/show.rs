//! The effective config.

use crate::helper::{Folder, target};

#[test]
fn what_is_shown_has_every_default_and_says_nothing_twice() {
    let folder = Folder::new(
        "location: home\ndefaults: {interval: 30s, expect: {body: ok}}\ntargets: [{url: 'https://h/a', retries: 1}]",
    );
    let shown = folder.shown();
    for line in [
        "location: home",
        "shutdown_grace: 10s",
        "  concurrency: 1000",
        "    id: h-a",
        "    interval: 30s",
        "    timeout: 10s",
        "    retries: 1",
        "    enabled: true",
        "      max_body: 10MiB",
        "        verify: true",
        "      status: [200-299]",
        "        matches: [ok]",
        "      after: 2",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line:?} is not in\n{shown}");
    }
    assert!(!shown.contains("defaults") && !shown.contains("kafka") && !shown.contains("include"), "{shown}");
}

#[test]
fn what_is_shown_is_a_config_that_means_the_same() {
    let yaml = "location: home\ninclude: more/*.yaml\ndefaults: {interval: 30s, labels: {a: '1'}, request: {headers: {Accept: a, x: null}}, expect: {body: {not_matches: ['a$$$$ $']}}, group: 'a$${b} $$$$ $'}\n\
                guard: {private: deny, allow: [10.0.0.0/8]}\nprobe: {per_host: 2}\nweb: {title: 'No: \"1\" # é'}\ntargets:\n  - http://h/a\n  - {url: 'http://h/b', name: 'null', timeout: null, request: {redirects: 0, headers: {accept: null}}, expect: {certificate: 20%}}\n  - {url: 'http://h/c', enabled: false, group: \"x\\\\\\ty\\u2028z\".}\n";
    let yaml = yaml.replace("\"x\\\\\\ty\\u2028z\".", "'x\\ty'");
    let folder = Folder::new(&yaml)
        .with("more/t.yaml", "targets: [{url: 'http://h/d', request: {body_file: b}}]")
        .with("more/b", "body");
    let shown = folder.shown();
    let again = Folder::new(&shown);
    let (before, after) = (folder.good(), again.good());
    assert_eq!(before.targets, after.targets, "{shown}");
    let difference = config::difference(&before, &after);
    assert!(difference.is_empty(), "{difference:?}\n{shown}");
    assert_eq!(again.shown(), shown);
}

#[test]
fn secrets_are_stars() {
    let yaml = "store: postgres://lapwing:hunter2@127.0.0.1/db?sslmode=require
kafka: {brokers: ['127.0.0.1:9'], sasl: {mechanism: PLAIN, username: u, password: hunter2}, properties: {ssl.key.password: hunter2, linger.ms: 5}}
targets:
  - url: http://user:hunter2@127.0.0.1:1/?token=hunter2
    id: t
    request:
      headers: {authorization: Bearer hunter2, x-api-key: hunter2, Accept: text/html}
      proxy: http://u:hunter2@p:1
      basic_auth: {username: u, password: '${PW}'}
  - {url: 'http://h/', request: {bearer_token: hunter2}}
  - {url: 'http://i/', request: {bearer_token_file: tok}}
";
    let folder = Folder::new(yaml).with("tok", "hunter2\n").variables(&[("PW", "hunter2")]);
    let shown = folder.shown();
    assert!(!shown.contains("hunter2"), "{shown}");
    for part in [
        "http://***@127.0.0.1:1/?token=***",
        "postgres://***@127.0.0.1/db",
        "password: \"***\"",
        "linger.ms: \"5\"",
        "accept: [text/html]",
        "x-api-key: [\"***\"]",
        "bearer_token: \"***\"",
        "topic: lapwing.results",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(shown.contains("proxy: \"http://***@p:1/\""), "{shown}");
}

#[test]
fn nothing_is_shown_of_what_is_wrong() {
    let folder = Folder::new(&target(&["interval: 5"]));
    assert!(config::parse(&folder.path("lapwing.yaml"), &folder.environment).is_err());
}
