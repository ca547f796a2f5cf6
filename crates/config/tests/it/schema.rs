//! The JSON Schema says what the loader says, as far as a schema can.

use crate::helper::{Folder, samples, target};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Value, json};

/// YAML as an editor's validator sees it: by the core schema of YAML 1.2.
fn as_json(yaml: &str) -> Value {
    let mut events = Parser::new_from_str(yaml).map(|e| e.expect("YAML").0);
    loop {
        match events.next().expect("a document") {
            Event::StreamStart | Event::DocumentStart(_) => {}
            first => return node(first, &mut events),
        }
    }
}

fn node<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => plain(&text),
        Event::Scalar(text, ..) => json!(text),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match events.next().expect("an end") {
                    Event::SequenceEnd => return Value::Array(list),
                    item => list.push(node(item, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = serde_json::Map::new();
            loop {
                match events.next().expect("an end") {
                    Event::MappingEnd => return Value::Object(map),
                    Event::Scalar(key, ..) => {
                        let value = events.next().expect("a value");
                        map.insert(key.into_owned(), node(value, events));
                    }
                    other => panic!("no key: {other:?}"),
                }
            }
        }
        other => panic!("not for these tests: {other:?}"),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => json!(true),
        "false" => json!(false),
        _ => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .unwrap_or_else(|_| json!(text)),
    }
}

fn complaints(yaml: &str) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&config::schema()).expect("a schema");
    validator.iter_errors(&as_json(yaml)).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn the_schema_is_one() {
    jsonschema::draft202012::meta::validate(&config::schema()).expect("valid against the meta-schema");
}

#[test]
fn it_accepts_the_files_that_we_hand_out() {
    for sample in samples() {
        let text = std::fs::read_to_string(&sample).expect("a sample");
        assert_eq!(complaints(&text), [""; 0], "{sample:?}");
    }
    assert_eq!(complaints(config::starter()), [""; 0]);
}

#[test]
fn it_accepts_the_example_of_the_contract() {
    let yaml = include_str!("contract.yaml");
    assert_eq!(complaints(yaml), [""; 0]);
}

#[test]
fn it_accepts_every_way_to_write_what_is_right() {
    for lines in [
        &[
            "interval: ${I}",
            "retries: '${N}'",
            "enabled: \"${E}\"",
            "request: {tls: {verify: '${V}'}, max_body: '${M}'}",
        ][..],
        &["expect: {status: 404}", "locations: home", "warn: {status: ['${S}', 200-299]}"],
        &["expect: {body: text, certificate: 33.3%}", "warn: {body: {matches: one}}"],
        &["request: null", "expect: {body: null, status: null}", "interval: null", "labels: {a: null}"],
        &["name: 404", "group: true", "labels: {a: 1.5}", "id: 7"],
        &["request: {http: 1.1, ip: 4, tls: {min_version: 1.2}}", "incident: {locations: 2}"],
        &["request: {http: '1.1', ip: auto, tls: {min_version: '1.3'}}", "incident: {locations: all}"],
        &["request: {basic_auth: {username: u}, bearer_token: null}", "retries: '1'"],
        &["request: {headers: {accept: [a, b], x: 1}}"],
    ] {
        let yaml = target(lines);
        assert_eq!(complaints(&yaml), [""; 0], "{yaml}");
        let folder = Folder::new(&yaml).variables(&[
            ("I", "1m"),
            ("N", "1"),
            ("E", "true"),
            ("V", "false"),
            ("M", "1MiB"),
            ("S", "200"),
        ]);
        assert_eq!(folder.mistakes(), [""; 0], "the loader agrees");
    }
    for yaml in [
        "targets: http://h/",
        "targets: []",
        "targets: ['${URL}']",
        "kafka: null\ntargets: []",
        "include: x\nguard: {deny: 10.0.0.0/8}\nqueue: null",
    ] {
        assert_eq!(complaints(yaml), [""; 0], "{yaml}");
    }
}

#[test]
fn it_refuses_what_the_loader_refuses() {
    let of_targets = [
        "intervall: 30s",
        "interval: 5",
        "interval: 5 s",
        "interval: ''",
        "interval: [5s]",
        "retries: two",
        "retries: -1",
        "enabled: maybe",
        "id: Shop",
        "locations: []",
        "labels: [a]",
        "labels: {a: [b]}",
        "request: {max_body: 10 bananas}",
        "request: {http: 3}",
        "request: {tls: {verifi: true}}",
        "request: {tls: {min_version: 1.7}}",
        "request: {headers: {content-length: 5}}",
        "request: {basic_auth: 'u:p'}",
        "request: {basic_auth: {username: u}, bearer_token: x}",
        "request: {body: a, body_file: b}",
        "request: {resolver: nonsense}",
        "request: {proxy: 'ftp://p/'}",
        "request: {proxy: 'https://p:1'}",
        "expect: {status: [2000]}",
        "expect: {status: 20}",
        "expect: {status: []}",
        "expect: {body: [a]}",
        "expect: {body: {match: x}}",
        "warn: {certificate: 30}",
        "warn: {time: 1}",
        "incident: {after: 0}",
        "incident: {locations: most}",
        "request: []",
    ];
    let of_configs = [
        "lokation: x\ntargets: []",
        "defaults: {id: x}\ntargets: []",
        "defaults: {url: 'http://h/'}\ntargets: []",
        "targets:\n  - id: x",
        "targets: null",
        "targets: ['ftp://h/']",
        "targets: [h.example]",
        "guard: {private: maybe}",
        "guard: {deny: localhost}",
        "probe: {concurrency: 0}",
        "web: {listen: 8080}",
        "store: lapwing.db",
        "retention: {checks: 30}",
        "kafka: {topic: x}",
        "kafka: {brokers: []}",
        "kafka: {brokers: ['b:1'], properties: {acks: all}}",
        "kafka: {brokers: ['b:1'], replication: 0}",
        "location: Home",
        "- a",
    ];
    for yaml in of_targets.iter().map(|l| target(&[l])).chain(of_configs.iter().map(|s| (*s).to_owned())) {
        assert_ne!(Folder::new(&yaml).mistakes(), [""; 0], "the loader accepts\n{yaml}");
        assert_ne!(complaints(&yaml), [""; 0], "the schema accepts\n{yaml}");
    }
}
