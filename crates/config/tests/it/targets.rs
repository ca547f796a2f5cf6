//! What is written, as meant: every default filled in.

use crate::helper::{Folder, load, target};
use config::StoreSetting;
use model::{
    Target,
    target::{CertificateLimit, Family, Http, IncidentRule, Quorum, StatusSet, TlsVersion},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

fn one(lines: &[&str]) -> Target {
    only(&target(lines))
}

fn only(yaml: &str) -> Target {
    let config = load(yaml);
    assert_eq!(config.targets.len(), 1);
    Target::clone(&config.targets[0])
}

fn status(limits: &model::target::Limits) -> String {
    limits.status.as_ref().map(StatusSet::to_string).unwrap_or_default()
}

#[test]
fn a_url_is_a_whole_target() {
    let t = only("targets: [https://Example.org/]");
    assert_eq!((t.id.as_str(), &*t.name, t.url.as_str()), ("example.org", "example.org", "https://example.org/"));
    assert_eq!((t.interval_ms, t.timeout, t.retries), (60_000, Duration::from_secs(10), 0));
    assert_eq!((t.enabled, t.group, t.locations, t.labels.len()), (true, None, None, 0));
    assert_eq!((t.request.method.as_str(), t.request.redirects, t.request.max_body), ("GET", 10, 10 << 20));
    assert!(t.request.headers.is_empty() && t.request.body.is_none() && t.request.authorization.is_none());
    assert_eq!(*t.request.tls, model::target::TlsSettings::default());
    assert_eq!((status(&t.expect), status(&t.warn)), ("200-299".into(), String::new()));
    assert!(t.patterns.is_none());
    assert_eq!(t.incident, IncidentRule { after: 2, recover: 1, locations: Quorum::Majority });
}

#[test]
fn every_key_of_a_target_has_its_effect() {
    let t = only(
        "targets:
  - url: https://shop.example.org/cart
    id: shop-cart
    name: Shop cart
    group: Shop
    labels: {team: checkout, tier: 1}
    enabled: false
    locations: [home, office]
    interval: 30s
    timeout: 5s
    retries: 1
    request:
      method: post
      headers: {Accept: text/html, X-Key: k}
      body: \"a\\nb\"
      redirects: 0
      http: 1.1
      ip: 6
      resolver: [10.0.0.53:53, '[::1]:5353']
      tls: {verify: false, server_name: name, min_version: 1.3}
      max_body: 2047MiB
    expect:
      status: [200-299, 304]
      body: {matches: [a, b], not_matches: c}
      headers: {Content-Type: ^text/html}
      time: 2s
      certificate: 7d
    warn: {time: 800ms, certificate: 33%, body: {matches: [b], not_matches: [d]}}
    incident: {after: 3, recover: 2, locations: 2}
",
    );
    assert_eq!((t.id.as_str(), &*t.name, t.group.as_deref()), ("shop-cart", "Shop cart", Some("Shop")));
    assert_eq!(t.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["team=checkout", "tier=1"]);
    assert!(!t.enabled);
    assert_eq!(
        t.locations.as_deref().map(|l| l.iter().map(model::Location::as_str).collect::<Vec<_>>()),
        Some(vec!["home", "office"])
    );
    assert_eq!((t.interval_ms, t.timeout.as_millis(), t.retries), (30_000, 5000, 1));
    let r = &t.request;
    assert_eq!(
        (r.method.as_str(), r.body.as_deref(), r.redirects, r.max_body),
        ("POST", Some(&b"a\nb"[..]), 0, 2047 << 20)
    );
    let headers: Vec<_> = r.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().expect("text"))).collect();
    assert_eq!(headers, [("accept", "text/html"), ("x-key", "k")]);
    assert_eq!(r.http, Http::V1_1);
    let resolvers: Vec<_> = r.lookup.resolvers.iter().map(ToString::to_string).collect();
    assert_eq!((r.lookup.family, resolvers), (Family::V6, vec!["10.0.0.53:53".to_owned(), "[::1]:5353".to_owned()]));
    assert_eq!(
        (r.tls.verify, r.tls.server_name.as_deref(), r.tls.min_version),
        (false, Some("name"), TlsVersion::V1_3)
    );
    assert_eq!(status(&t.expect), "200-299, 304");
    let texts = t.patterns.as_ref().expect("patterns").texts();
    let named = |list: &[usize]| list.iter().map(|&i| texts[i].as_str()).collect::<Vec<_>>().join(" ");
    assert_eq!((named(&t.expect.matches), named(&t.expect.not_matches)), ("a b".into(), "c".into()));
    assert_eq!((named(&t.warn.matches), named(&t.warn.not_matches)), ("b".into(), "d".into()));
    assert_eq!(texts.len(), 4, "an equal pattern stands once: {texts:?}");
    assert_eq!(
        t.expect.headers.iter().map(|(n, p)| format!("{n} {}", p.text())).collect::<Vec<_>>(),
        ["content-type ^text/html"]
    );
    assert_eq!((t.expect.time, t.warn.time), (Some(Duration::from_secs(2)), Some(Duration::from_millis(800))));
    assert_eq!(t.expect.certificate, Some(CertificateLimit::Remaining(Duration::from_secs(7 * 86_400))));
    assert_eq!(t.warn.certificate, Some(CertificateLimit::Share(33.0)));
    assert_eq!(t.incident, IncidentRule { after: 3, recover: 2, locations: Quorum::Number(2) });
}

#[test]
fn versions_of_http_are_words_or_numbers() {
    for (line, want) in [
        ("{}", Http::Auto),
        ("{http: auto}", Http::Auto),
        ("{http: 1.1}", Http::V1_1),
        ("{http: '1.1'}", Http::V1_1),
        ("{http: 2}", Http::V2),
    ] {
        assert_eq!(one(&[&format!("request: {line}")]).request.http, want, "{line}");
    }
}

#[test]
fn a_proxy_is_a_place_and_perhaps_credentials() {
    let proxy = |line: &str| {
        let target = one(&[&format!("request: {{proxy: '{line}'}}")]);
        let proxy = target.request.proxy.clone().expect("a proxy");
        let authorization = proxy.authorization.as_ref().map(|v| v.to_str().expect("text").to_owned());
        assert!(proxy.authorization.as_ref().is_none_or(http::HeaderValue::is_sensitive));
        format!("{} {} {}", proxy.host, proxy.port, authorization.unwrap_or_default())
    };
    assert_eq!(proxy("http://proxy:3128"), "proxy 3128 ");
    assert_eq!(proxy("http://10.0.0.1/"), "10.0.0.1 80 ");
    assert_eq!(proxy("http://[::1]:8080"), "::1 8080 ");
    assert_eq!(proxy("http://us%20er:p%40ss@Proxy:1"), "proxy 1 Basic dXMgZXI6cEBzcw==");
    assert_eq!(only("targets: [http://h/]").request.proxy, None);
}

#[test]
fn a_proxy_of_all_targets_can_be_removed_from_one() {
    let config = load(
        "defaults: {request: {proxy: 'http://p:1'}}\ntargets: [http://a/, {url: 'http://b/', request: {proxy: null}}]",
    );
    let through: Vec<_> = config.targets.iter().map(|t| t.request.proxy.is_some()).collect();
    assert_eq!(through, [true, false]);
}

#[test]
fn an_id_is_a_slug_of_the_name_or_of_host_port_and_path() {
    for (lines, id) in [
        (&["name: ' Café du  Port! '"][..], "caf-du-port"),
        (&["name: API v1.2_beta"], "api-v1.2_beta"),
        (&["id: x", "name: Other"], "x"),
    ] {
        assert_eq!(one(lines).id.as_str(), id);
    }
    for (url, id) in [
        ("https://shop.example.org/cart", "shop.example.org-cart"),
        ("http://user:pw@127.0.0.1:8080/a?token=x&y=1#z", "127.0.0.1-8080-a"),
        ("http://[::1]:81/", "1-81"),
        ("https://h/A%20b/", "h-a-20b"),
        ("https://h:443/A%20b/", "h-443-a-20b"),
        ("http://u:1@h:080/", "h-80"),
        ("http://u:1@h/a:80", "h-a-80"),
        ("http:h:/", "h"),
        ("http://[::1]/", "1"),
    ] {
        assert_eq!(only(&format!("targets: ['{url}']")).id.as_str(), id, "{url}");
    }
}

#[test]
fn a_timeout_that_nobody_wrote_leaves_time_for_every_attempt() {
    for (lines, ms) in [
        (&["interval: 60s"][..], 10_000),
        (&["interval: 5s"], 5000),
        (&["interval: 60s", "retries: 6"], 8571),
        (&["interval: 1s", "retries: 100"], 9),
        (&["interval: 24h", "retries: 100"], 10_000),
    ] {
        assert_eq!(one(lines).timeout.as_millis(), ms, "{lines:?}");
    }
}

#[test]
fn without_redirects_a_redirect_is_an_answer() {
    assert_eq!(status(&one(&["request: {redirects: 0}"]).expect), "200-299, 300-399");
    assert_eq!(status(&one(&["request: {redirects: 0}", "expect: {status: 200}"]).expect), "200");
}

#[test]
fn a_single_value_stands_for_a_list_of_one() {
    let t = one(&["locations: home", "expect: {status: 404, body: {matches: lost, not_matches: found}}"]);
    assert_eq!((status(&t.expect), t.locations.map(|l| l.len())), ("404".into(), Some(1)));
    assert_eq!((t.expect.matches.len(), t.expect.not_matches.len()), (1, 1));
    assert_eq!(only("targets: http://h/").id.as_str(), "h");
    assert_eq!(only("targets: {url: http://h/}").id.as_str(), "h");
    let guard = load("guard: {deny: 127.0.0.0/8, allow: ['::1', 10.0.0.1]}\ntargets: []").guard;
    assert_eq!((guard.deny.len(), guard.allow.len(), guard.private), (1, 2, true));
}

#[test]
fn texts_are_texts_however_they_are_written() {
    let t = one(&["name: 404", "group: no", "labels: {a: 1.10, b: true, c: 0x1F}", "expect: {body: 12345}"]);
    assert_eq!((&*t.name, t.group.as_deref()), ("404", Some("no")));
    assert_eq!(t.labels.values().map(String::as_str).collect::<Vec<_>>(), ["1.10", "true", "0x1F"]);
    assert_eq!(t.patterns.expect("one").texts(), ["12345"]);
    let t = one(&["retries: '1'", "enabled: 'false'", "interval: !!str 30s"]);
    assert_eq!((t.retries, t.enabled, t.interval_ms), (1, false, 30_000));
}

#[test]
fn settings_have_defaults() {
    let folder = Folder::new("targets: []");
    let c = folder.good();
    let data = folder.path("");
    assert_eq!((c.location.as_str(), c.data_dir.join("")), ("default", data.clone()));
    assert_eq!(c.store, StoreSetting::Sqlite(data.join("lapwing.db")));
    assert_eq!((c.queue.path, c.queue.max_size), (data.join("lapwing-queue.db"), 1 << 30));
    assert_eq!((c.web.listen.to_string(), c.web.title.as_str()), ("127.0.0.1:8080".into(), "Status"));
    assert_eq!(
        (c.metrics.of_probe().to_string(), c.metrics.of_write().to_string()),
        ("127.0.0.1:9464".into(), "127.0.0.1:9465".into())
    );
    assert_eq!(c.retention.daily, Duration::from_secs(10 * 365 * 86_400));
    assert_eq!(c.shutdown_grace, Duration::from_secs(10));
    assert_eq!(
        (c.probe.concurrency, c.probe.per_host, c.probe.user_agent.as_str()),
        (1000, 8, concat!("lapwing/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(c.guard, model::guard::Guard::default());
}

#[test]
fn settings_are_what_is_written() {
    let c = load(
        "location: home\nstore: sqlite:/s/a.db\nqueue: {path: q.db, max_size: 64KiB}\ndata_dir: /d\nweb: {listen: ':81', title: T}\n\
         metrics: {listen: '[::1]:9'}\nretention: {checks: 1d}\nshutdown_grace: 0s\nprobe: {concurrency: 2, per_host: 1, user_agent: x/1, resolver: 10.0.0.53:53}\n\
         guard: {private: deny}\ntargets: []",
    );
    assert_eq!((c.location.as_str(), c.data_dir), ("home", PathBuf::from("/d")));
    assert_eq!((c.store, c.queue.path), (StoreSetting::Sqlite("/s/a.db".into()), PathBuf::from("/d/q.db")));
    assert_eq!((c.web.listen.host, c.web.listen.port), (None, 81));
    assert_eq!(
        (c.metrics.of_probe().to_string(), c.metrics.of_write().to_string()),
        ("[::1]:9".into(), "[::1]:9".into())
    );
    assert_eq!((c.retention.checks, c.shutdown_grace), (Duration::from_secs(86_400), Duration::ZERO));
    assert_eq!((c.probe.concurrency, c.probe.per_host, c.probe.user_agent.as_str()), (2, 1, "x/1"));
    assert_eq!(c.probe.resolvers, ["10.0.0.53:53".parse::<std::net::SocketAddr>().unwrap()]);
    assert!(!c.guard.private);
}

#[test]
fn the_data_folder_is_relative_to_the_config_and_the_environment_wins() {
    for (yaml, variable, want) in [
        ("targets: []", None, ""),
        ("data_dir: d\ntargets: []", None, "d/"),
        ("data_dir: d\ntargets: []", Some("e"), "e/"),
        ("data_dir: d\ntargets: []", Some(""), "d/"),
    ] {
        let folder = Folder::new(yaml);
        let variables: Vec<_> = variable.map(|v| ("LAPWING_DATA_DIR", v)).into_iter().collect();
        let folder = folder.variables(&variables);
        assert_eq!(folder.good().store, StoreSetting::Sqlite(folder.path(&format!("{want}lapwing.db"))), "{yaml}");
    }
}

#[test]
fn variables_may_stand_for_numbers_booleans_and_durations() {
    let yaml = target(&[
        "timeout: ${T}",
        "retries: '${N}'",
        "request: {tls: {verify: \"${V}\"}}",
        "expect: {status: ['${S}']}",
        "labels: {a: 'a$${X}$'}",
    ]);
    let folder = Folder::new(&yaml).variables(&[("T", "5s"), ("N", "1"), ("V", "false"), ("S", "204")]);
    let t = folder.good().targets[0].clone();
    let found = (t.timeout.as_millis(), t.retries, t.request.tls.verify, status(&t.expect));
    assert_eq!(found, (5000, 1, false, "204".into()));
    assert_eq!(t.labels["a"], "a${X}$");
    let folder = Folder::new(&target(&["labels: {a: '${A}'}"])).variables(&[("A", "x: {y: z}\nevil: true")]);
    assert!(folder.mistakes()[0].contains("${A}"), "a value never adds keys: {:?}", folder.mistakes());
}

#[test]
fn a_null_variable_is_a_text() {
    let folder = Folder::new(&target(&["name: ${A}"])).variables(&[("A", "null")]);
    assert_eq!(&*folder.good().targets[0].name, "null");
}

#[test]
fn the_env_file_is_read_and_the_environment_wins() {
    let folder = Folder::new(&target(&["name: ${A} ${B}"]))
        .with(".env", "A=file\nexport B='file'\n")
        .variables(&[("B", "real")]);
    assert_eq!(&*folder.good().targets[0].name, "file real");
    let folder = folder.with(".env", "A=1\nhunter2\n");
    assert_eq!(folder.mistakes(), [".env:2: the line is not of the form NAME=value"]);
}

#[test]
fn authorization_is_made_once_and_a_header_beats_it() {
    for (line, want) in [
        ("request: {basic_auth: {username: Aladdin, password: open sesame}}", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("request: {basic_auth: {username: u}}", "Basic dTo="),
        ("request: {bearer_token: abc}", "Bearer abc"),
        ("request: {bearer_token: abc, headers: {Authorization: Token x}}", "Token x"),
    ] {
        let request = one(&[line]).request;
        assert_eq!(request.authorization.as_ref().and_then(|v| v.to_str().ok()), Some(want), "{line}");
        assert!(request.headers.is_empty() && !format!("{request:?}").contains(want), "{line}");
    }
}

#[test]
fn equal_values_are_shared() {
    let config = load(
        "defaults: {labels: {a: b}, request: {headers: {x: y}}, expect: {body: abc}}\ntargets: [http://a/, http://b/, http://c/]",
    );
    let [a, b, _] = &config.targets[..] else { panic!("three") };
    assert!(Arc::ptr_eq(&a.request, &b.request) && Arc::ptr_eq(&a.expect, &b.expect) && Arc::ptr_eq(&a.warn, &b.warn));
    assert!(Arc::ptr_eq(&a.request.tls, &b.request.tls) && Arc::ptr_eq(&a.labels, &b.labels));
    let (Some(p), Some(q)) = (&a.patterns, &b.patterns) else { panic!("patterns") };
    assert!(Arc::ptr_eq(p, q));
}

/// Most are made like one before them.
#[test]
fn among_others_a_target_is_what_it_is_alone() {
    let head = "defaults: {request: {method: POST}, expect: {body: default}, labels: {of: all}}\ntargets:\n";
    let mut lines = Vec::new();
    for url in ["http://a/", "https://a/b?token=secret", "http://user:password@a/"] {
        for name in ["", ", name: Its name"] {
            for request in ["", ", request: {headers: {accept: x}}", ", request: {headers: {accept: x, cookie: y}}"] {
                for expect in [
                    "",
                    ", expect: {body: x}",
                    ", expect: {body: y}",
                    ", expect: {body: {matches: [x]}}",
                    ", expect: {body: null}",
                ] {
                    for rest in ["", ", interval: 20s", ", labels: {of: one}", ", group: g, enabled: false"] {
                        let number = lines.len();
                        lines.push(format!("- {{id: t{number}, url: '{url}'{name}{request}{expect}{rest}}}\n"));
                    }
                }
            }
        }
    }
    let together = load(&format!("{head}{}", lines.concat()));
    assert_eq!(together.targets.len(), 3 * 2 * 3 * 5 * 4);
    for (target, line) in together.targets.iter().zip(&lines) {
        assert!(**target == only(&format!("{head}{line}")), "{line}");
    }
}

#[test]
fn expressions_are_read_and_equal_ones_are_one() {
    let config = load(
        "defaults: {warn: {cel: 'time_ms < 500'}}
targets:
  - {url: 'http://a/', expect: {cel: 'body.json.ok'}}
  - {url: 'http://b/', expect: {cel: 'body.json.ok', time: 1s}, warn: {cel: null}}
",
    );
    let [a, b] = [0, 1].map(|i| &config.targets[i]);
    let texts = |t: &Target| t.expressions().map(|e| e.text().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(a), ["body.json.ok", "time_ms < 500"]);
    assert_eq!(texts(b), ["body.json.ok"]);
    assert!(a.expect != b.expect && Arc::ptr_eq(a.expressions().next().unwrap(), b.expressions().next().unwrap()));
}

#[test]
fn the_places_to_be_online_are_hosts_with_ports() {
    let places = load("probe: {online_check: ['one.example:443', '[::1]:53']}\ntargets: []").probe.online_check;
    assert_eq!(places, [("one.example".to_owned(), 443), ("::1".to_owned(), 53)]);
}
