//! Every mistake at once, with its line, its path and what to do.

use crate::helper::{Folder, mistakes, target};

/// The only mistake: its line, its path, and words that its message has.
#[track_caller]
fn check(yaml: &str, line: u32, path: &str, words: &[&str]) {
    let found = mistakes(yaml);
    assert_eq!(found.len(), 1, "{found:#?} in\n{yaml}");
    let start = format!("lapwing.yaml:{line}: {path}: ");
    assert!(found[0].starts_with(&start), "{:?} does not begin with {start:?}", found[0]);
    for word in words {
        assert!(found[0][start.len()..].contains(word), "{:?} does not say {word:?}", found[0]);
    }
}

/// The same for one key of a target, which stands in line 3.
#[track_caller]
fn check_target(line: &str, path: &str, words: &[&str]) {
    check(&target(&[line]), 3, &format!("targets[0].{path}"), words);
}

#[test]
fn all_mistakes_are_found_at_once_and_stand_in_the_order_of_the_file() {
    let found = mistakes(
        "lokation: home\nprobe: {concurrency: 0}\nguard: {private: maybe}\ntargets:\n  - url: ftp://h/\n    interval: 5\n  \
         - url: http://h/\n    expect: {body: {matches: ['(']}, status: 2000}\n",
    );
    let places: Vec<_> = found.iter().map(|m| m.splitn(4, ": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    let want = [
        "lapwing.yaml:1 lokation",
        "lapwing.yaml:2 probe.concurrency",
        "lapwing.yaml:3 guard.private",
        "lapwing.yaml:5 targets[0].url",
        "lapwing.yaml:6 targets[0].interval",
        "lapwing.yaml:8 targets[1].expect.body.matches[0]",
        "lapwing.yaml:8 targets[1].expect.status",
    ];
    assert_eq!(places, want, "{found:#?}");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    check("lokation: x\ntargets: []", 1, "lokation", &["`lokation`", "`location`"]);
    check_target("intervall: 30s", "intervall", &["`interval`"]);
    check_target("request: {tls: {verifi: true}}", "request.tls.verifi", &["`verify`"]);
    check_target("expect: {body: {match: x}}", "expect.body.match", &["`matches`"]);
    check_target("Interval: 30s", "Interval", &["`interval`"]);
}

#[test]
fn defaults_have_no_id_name_or_url() {
    for key in ["id", "name", "url"] {
        check(
            &format!("defaults:\n  {key}: x\ntargets: []"),
            2,
            &format!("defaults.{key}"),
            &[key, "every target has its own"],
        );
    }
}

#[test]
fn values_are_of_their_kind() {
    for (line, path, words) in [
        ("interval: 5", "interval", &["\"5\"", "30s"][..]),
        ("interval: 999ms", "interval", &["less than 1s"]),
        ("interval: 25h", "interval", &["more than 1d"]),
        ("interval: {a: b}", "interval", &["a map"]),
        ("interval: [1s]", "interval", &["a list"]),
        ("timeout: 16m", "timeout", &["more than 15m"]),
        ("timeout: 0s", "timeout", &["less than 1ms"]),
        ("retries: two", "retries", &["whole number"]),
        ("retries: -1", "retries", &["whole number"]),
        ("retries: 1.0", "retries", &["whole number"]),
        ("enabled: yes", "enabled", &["true or false"]),
        ("id: Shop", "id", &["a-z"]),
        ("name: ''", "name", &["empty"]),
        ("locations: []", "locations", &["empty list"]),
        ("locations: [home, Home]", "locations[1]", &["\"Home\""]),
        ("labels: [a]", "labels", &["map"]),
        ("labels: {a: [b]}", "labels.a", &["single value"]),
        ("request: {max_body: 10 bananas}", "request.max_body", &["10 bananas", "10MiB"]),
        ("request: {max_body: 2048MiB}", "request.max_body", &["more than 2047MiB"]),
        ("request: {http: 3}", "request.http", &["auto, 1.1, 2"]),
        ("request: {ip: 5}", "request.ip", &["auto, 4, 6"]),
        ("request: {resolver: nonsense}", "request.resolver", &["nonsense"]),
        ("request: {tls: {min_version: '1.7'}}", "request.tls.min_version", &["1.7", "1.2, 1.3"]),
        ("request: {tls: {server_name: 'a b'}}", "request.tls.server_name", &["host name"]),
        ("request: {headers: {'bad name': x}}", "request.headers[\"bad name\"]", &["bad name"]),
        ("request: {headers: {x-a: \"a\\nb\"}}", "request.headers.x-a", &["control character"]),
        ("request: {headers: {content-length: 5}}", "request.headers.content-length", &["from the body"]),
        ("request: {headers: {A: x, a: y}}", "request.headers.a", &["whatever the case"]),
        ("request: {method: 'G T'}", "request.method", &["G T"]),
        ("request: {redirects: many}", "request.redirects", &["many"]),
        ("request: {bearer_token: ''}", "request.bearer_token", &["empty"]),
        ("request: {basic_auth: {username: 'a:b'}}", "request.basic_auth.username", &[":"]),
        ("request: {basic_auth: {password: x}}", "request.basic_auth", &["`username` is missing"]),
        ("request: {basic_auth: 'u:p'}", "request.basic_auth", &["a text"]),
        ("request: {tls: {verify: maybe}}", "request.tls.verify", &["maybe"]),
        ("expect: {status: ['299-200']}", "expect.status[0]", &["299-200", "backwards"]),
        ("expect: {status: [2000]}", "expect.status[0]", &["2000"]),
        ("expect: {status: []}", "expect.status", &["empty list"]),
        ("expect: {body: '('}", "expect.body.matches", &["unclosed group"]),
        ("expect: {body: {not_matches: [a, '[']}}", "expect.body.not_matches[1]", &["unclosed"]),
        ("expect: {body: '((a{1000}){1000}){100}'}", "expect.body.matches", &["too large"]),
        ("expect: {body: [a]}", "expect.body", &["a list"]),
        ("expect: {headers: {x-a: '('}}", "expect.headers.x-a", &["unclosed"]),
        ("expect: {headers: {'a b': x}}", "expect.headers[\"a b\"]", &["name of a header"]),
        ("expect: {time: 0s}", "expect.time", &["less than"]),
        ("expect: {cel: ''}", "expect.cel", &["empty"]),
        ("expect: {cel: 'status =='}", "expect.cel", &["status ==", "no expression"]),
        ("expect: {cel: 'frobnicate(status)'}", "expect.cel", &["`frobnicate`", "function"]),
        ("warn: {cel: 'stattus == 200'}", "warn.cel", &["`stattus`", "nearest known one is `status`"]),
        ("warn: {cel: 'body.json.a.all(x, x.all(y, y > 1))'}", "warn.cel", &["more than once"]),
        ("warn: {certificate: 0%}", "warn.certificate", &["0%"]),
        ("warn: {certificate: 30}", "warn.certificate", &["20%"]),
        ("incident: {after: 0}", "incident.after", &["less than 1"]),
        ("incident: {locations: most}", "incident.locations", &["majority"]),
        ("request:\n      - a", "request", &["a list"]),
    ] {
        let yaml = target(&[line]);
        let at = if line.contains('\n') { 4 } else { 3 };
        check(&yaml, at, &format!("targets[0].{path}"), words);
    }
}

#[test]
fn settings_are_of_their_kind() {
    for (line, path, words) in [
        ("location: Home", "location", &["a-z"][..]),
        ("store: lapwing.db", "store", &["sqlite:FILE"]),
        ("store: mysql://h/db", "store", &["sqlite:FILE"]),
        ("queue: {max_size: 1B}", "queue.max_size", &["less than 4KiB"]),
        ("web: {listen: 8080}", "web.listen", &["127.0.0.1:8080"]),
        ("web: {title: ''}", "web.title", &["empty"]),
        ("metrics: {listen: 'a b:1'}", "metrics.listen", &["a b:1"]),
        ("retention: {checks: 30}", "retention.checks", &["14d"]),
        ("shutdown_grace: soon", "shutdown_grace", &["soon"]),
        ("probe: {per_host: 0}", "probe.per_host", &["less than 1"]),
        ("probe: {resolver: [a]}", "probe.resolver[0]", &["10.0.0.53:53"]),
        ("probe: {online_check: a}", "probe.online_check", &["host:port"]),
        ("probe: {user_agent: ''}", "probe.user_agent", &["empty"]),
        ("guard: {private: maybe}", "guard.private", &["maybe"]),
        ("guard: {deny: 10.0.0.0/33}", "guard.deny", &["10.0.0.0/33"]),
        ("kafka: {topic: x}", "kafka", &["`brokers` is missing"]),
        ("kafka: {brokers: []}", "kafka.brokers", &["empty list"]),
        ("kafka: {brokers: b}", "kafka.brokers", &["host:port"]),
        ("kafka: {brokers: 'b:1', properties: {acks: 1}}", "kafka.properties.acks", &["acks", "rests on it"]),
        ("kafka: {brokers: 'b:1', properties: {group.id: x}}", "kafka.properties[\"group.id\"]", &["group.id"]),
        ("kafka: {brokers: 'b:1', partitions: 0}", "kafka.partitions", &["less than 1"]),
        ("kafka: {brokers: 'b:1', replication: 0}", "kafka.replication", &["auto"]),
        ("kafka: {brokers: 'b:1', sasl: {mechanism: X, username: u}}", "kafka.sasl.mechanism", &["SCRAM-SHA-256"]),
        ("kafka: {brokers: 'b:1', sasl: {mechanism: PLAIN}}", "kafka.sasl", &["`username` is missing"]),
        ("kafka: {brokers: 'b:1', tls: {ca_file: none.pem}}", "kafka.tls.ca_file", &["none.pem", "No such file"]),
        ("store: 'postgres://h/db?sslrootcert=none.pem'", "store", &["sslrootcert", "none.pem"]),
        ("web: []", "web", &["a list"]),
        ("targets: 5", "targets[0].url", &["\"5\"", "URL"]),
        ("include: [[a]]", "include[0]", &["a list"]),
    ] {
        let rest = if line.starts_with("targets") { "" } else { "\ntargets: []" };
        check(&format!("{line}{rest}"), 1, path, words);
    }
}

#[test]
fn a_url_is_http_with_a_host() {
    for (url, words) in [
        ("ftp://h/", &["scheme"][..]),
        ("h.example", &["http://"]),
        ("http://a b/", &["a b", "domain name"]),
        ("http://", &["host"]),
        ("http://h:0/", &["port 0"]),
    ] {
        check(&format!("targets:\n  - '{url}'"), 2, "targets[0].url", words);
        check(&format!("targets:\n  - id: x\n    url: '{url}'"), 3, "targets[0].url", words);
    }
    check("targets:\n  - id: x", 2, "targets[0]", &["`url` is missing"]);
    check("targets:\n  - url:\n    id: x", 2, "targets[0].url", &["is missing"]);
    check("targets:\n  -", 2, "targets[0]", &["empty"]);
}

#[test]
fn times_must_fit_into_the_interval() {
    check(&target(&["interval: 5s", "timeout: 6s"]), 4, "targets[0].timeout", &["6s × (0 + 1)", "5s"]);
    check(&target(&["timeout: 5s", "retries: 2", "interval: 10s"]), 3, "targets[0].timeout", &["5s × (2 + 1)", "10s"]);
    check(
        "defaults: {interval: 10s, timeout: 5s}\ntargets:\n  - url: http://h/\n    retries: 2\n",
        4,
        "targets[0].retries",
        &["10s"],
    );
    // Wrong for all: said once, where it stands.
    check("defaults:\n  timeout: 2m\ntargets: [http://a/, http://b/]", 2, "defaults.timeout", &["2m × (0 + 1)", "60s"]);
    assert_eq!(mistakes(&target(&["interval: 10s", "timeout: 5s", "retries: 1"])), [""; 0]);
    // What is broken is no cause for more.
    check(&target(&["interval: 5", "timeout: 15m"]), 3, "targets[0].interval", &["\"5\""]);
}

#[test]
fn keys_that_exclude_one_another_are_both_named() {
    check(
        &target(&["request:", "  basic_auth: {username: u}", "  bearer_token: x"]),
        5,
        "targets[0].request.bearer_token",
        &["`bearer_token`", "`basic_auth`"],
    );
    let found = Folder::new(&target(&["request: {body: x, body_file: y}"])).with("y", "z").mistakes();
    assert!(found.len() == 1 && found[0].contains("`body_file` and `body` exclude"), "{found:?}");
}

#[test]
fn an_id_stands_for_one_target() {
    let yaml = "targets:\n  - http://h/a\n  - {url: http://h/b, id: h-a}\n  - {url: http://x/, name: H a}\n";
    let found = mistakes(yaml);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("lapwing.yaml:3: targets[1].id: ")
            && found[0].contains("`h-a`")
            && found[0].contains("lapwing.yaml:2"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("lapwing.yaml:4: targets[2].id: ") && found[1].contains("lapwing.yaml:2"),
        "{found:?}"
    );
    check("targets:\n  - url: http://h/\n    name: '!!!'", 3, "targets[0].name", &["slug", "`id`"]);
    check("targets: ['http://[::]/']", 1, "targets[0].url", &["slug", "`id`"]);
}

#[test]
fn of_targets_that_are_alike_each_mistake_is_named_where_it_stands() {
    let long = "{url: 'http://a/', interval: 5s, timeout: 9s}";
    let bad = "{url: 'http://a/', expect: {body: '('}}";
    let lines = [long, "{id: x, url: http://b}", "{id: x, url: http://c}", bad, long, bad, "{id: y, url: 'http://?'}"];
    let found = mistakes(&format!("targets:\n- {}\n", lines.join("\n- ")));
    let begins: Vec<_> = found.iter().map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":")).collect();
    assert_eq!(
        begins,
        [
            "lapwing.yaml:2: targets[0].timeout",
            "lapwing.yaml:4: targets[2].id",
            "lapwing.yaml:5: targets[3].expect.body.matches",
            "lapwing.yaml:6: targets[4].timeout",
            "lapwing.yaml:7: targets[5].id",
            "lapwing.yaml:7: targets[5].expect.body.matches",
            "lapwing.yaml:8: targets[6].url",
        ],
        "{found:?}"
    );
}

#[test]
fn a_key_given_twice_is_named_with_both_lines() {
    check("location: a\nweb: {}\nlocation: b\ntargets: []", 3, "location", &["second time", "line 1"]);
    check_target("labels: {a: 1, b: 2, a: 3}", "labels.a", &["second time", "line 3"]);
}

#[test]
fn an_unquoted_brace_inside_braces_must_be_quoted_and_the_mistake_says_so() {
    for yaml in
        ["request: {basic_auth: {password: ${PW}}}", "expect: {body: a{3}}", "expect: {body: {matches: [\\d{3}]}}"]
    {
        let found = mistakes(&target(&[yaml]));
        assert!(
            found.len() == 1 && found[0].starts_with("lapwing.yaml:3: ") && found[0].contains("must be quoted"),
            "{found:?}"
        );
    }
}

#[test]
fn a_file_with_nothing_in_it_is_a_mistake() {
    for text in ["", "# nothing\n", "---\n", "null\n", "~"] {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].contains("targets: []"), "{text:?}: {found:?}");
    }
    check("location: x\ntargets:\n", 2, "targets", &["targets: []"]);
    assert_eq!(mistakes("targets: []"), [""; 0]);
    assert_eq!(mistakes("location: here"), [""; 0]);
}

#[test]
fn what_is_no_yaml_is_named_with_its_line() {
    for (text, line) in
        [("a: b\n c: d\n", 2), ("a: [b\n", 2), ("targets:\n  - \"x\n", 2), ("a: *x\n", 1), ("- a\n", 1), ("text\n", 1)]
    {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].starts_with(&format!("lapwing.yaml:{line}: ")), "{text:?}: {found:?}");
    }
}

#[test]
fn variables_that_are_not_set_are_named() {
    check(&target(&["name: ${NOT_SET}"]), 3, "targets[0].name", &["${NOT_SET}", "not set"]);
    check(
        &target(&["labels: {a: b}", "expect:", "  body:", "    matches: ['${X']"]),
        6,
        "targets[0].expect.body.matches[0]",
        &["${"],
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = Folder::new("");
    std::fs::remove_file(folder.path("lapwing.yaml")).expect("removed");
    let found = folder.mistakes();
    assert!(
        found.len() == 1 && found[0].starts_with("lapwing.yaml: the file cannot be read: No such file"),
        "{found:?}"
    );
}
