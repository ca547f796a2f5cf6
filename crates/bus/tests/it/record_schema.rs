//! The schema of the record says what the reader says, and what is written is valid by it.

use crate::{
    record_written::any_result,
    results::{DUE, down, late, stopping, timeout, up},
};
use bus::record::{asyncapi, decode, encode, schema};
use jsonschema::Validator;
use model::{CheckResult, Reason, Verdict, batch::Content};
use proptest::{prelude::*, sample::select};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| jsonschema::draft202012::new(&schema()).unwrap());

fn complaints(record: &Value) -> Vec<String> {
    VALIDATOR.iter_errors(record).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

fn written(result: &CheckResult) -> Value {
    let mut line = Vec::new();
    encode(result, &mut line);
    serde_json::from_slice(&line).unwrap()
}

fn is_read(record: &Value) -> bool {
    matches!(decode(record.to_string().as_bytes(), DUE), Content::Result(_))
}

#[test]
fn the_schema_is_one() {
    jsonschema::draft202012::meta::validate(&schema()).unwrap();
}

#[test]
fn every_field_is_explained_and_no_other_is_written() {
    let schema = schema();
    let properties = schema["properties"].as_object().unwrap();
    let tls = properties["tls"]["properties"].as_object().unwrap();
    for (name, property) in properties.iter().chain(tls) {
        assert!(property["description"].as_str().is_some_and(|doc| doc.ends_with('.')), "{name}: {property}");
    }
    for (name, value) in written(&down()).as_object().unwrap() {
        assert!(properties.contains_key(name), "{name}");
        for part in value.as_object().into_iter().flat_map(Map::keys) {
            assert!(tls.contains_key(part), "{name}.{part}");
        }
    }
}

#[test]
fn it_knows_the_words_of_the_lists_and_takes_others_where_a_list_may_grow() {
    let schema = schema();
    let reasons: Vec<_> = Reason::ALL.iter().map(|r| r.word()).collect();
    let verdicts: Vec<_> = Verdict::ALL.iter().map(|v| v.word()).collect();
    assert_eq!(schema["properties"]["reason"]["examples"], json!(reasons));
    assert_eq!(schema["properties"]["verdict"]["enum"], json!(verdicts));
    for key in ["reason", "phase", "http"] {
        let mut record = written(&down());
        record[key] = json!("eclipse");
        assert_eq!(complaints(&record), [""; 0]);
    }
}

#[test]
fn the_examples_are_valid() {
    for result in [down(), up(), timeout(), late(), stopping()] {
        assert_eq!(complaints(&written(&result)), [""; 0]);
    }
}

#[test]
fn what_other_readers_must_pass_over_is_valid_too() {
    let mut record = written(&down());
    for (key, value) in [("unknown", json!({ "a": [null] })), ("group", Value::Null), ("kind", Value::Null)] {
        record[key] = value;
    }
    record["tls"]["unknown"] = json!(1.5);
    record["tls"]["version"] = Value::Null;
    assert_eq!(complaints(&record), [""; 0]);
    assert!(is_read(&record));
}

#[test]
fn another_kind_and_a_newer_version_are_no_results() {
    for (key, value) in [("kind", json!("heartbeat")), ("kind", json!({})), ("v", json!(2)), ("v", json!(1.5))] {
        let mut record = written(&down());
        record[key] = value;
        assert_ne!(complaints(&record), [""; 0], "{record}");
        assert!(!is_read(&record), "{record}");
    }
}

/// Values at the borders of what a field may hold.
fn edge() -> impl Strategy<Value = Value> {
    let numbers = [-1i64, 0, 1, 2, 99, 100, 200, 999, 1000, 2_147_483_647, 2_147_483_648, i64::MAX].map(Value::from);
    let texts = [
        "",
        "a",
        "A",
        "-a",
        "a b",
        "a\0b",
        "a\nb",
        "a\n",
        "late",
        "up",
        "UP",
        "degraded",
        "1.3",
        "é",
        "1970-01-01T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "2026-11-23T10:00:20.732Z",
        "2026-11-23T10:00:20.732Z\n",
        "2026-11-23T10:00:20Z",
        "2026-11-23T24:00:00.000Z",
        "2026-13-23T10:00:00.000Z",
        "2026-11-23T10:00:20.732+00:00",
    ]
    .map(Value::from);
    let long = [128, 129, 65_536, 65_537].map(|n| json!("x".repeat(n)));
    let others = [Value::Null, json!(true), json!([]), json!({}), json!(1.5), json!([1]), json!({ "issuer": 1 })];
    select([&numbers[..], &texts, &long, &others].concat())
}

fn place() -> impl Strategy<Value = (Option<&'static str>, String)> {
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let schema = schema();
    let fields = names(&schema["properties"]).into_iter().chain(["unknown".to_owned()]).map(|name| (None, name));
    let of_tls = names(&schema["properties"]["tls"]["properties"]).into_iter().map(|name| (Some("tls"), name));
    select(fields.chain(of_tls).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn every_record_that_is_written_is_valid(result in any_result()) {
        prop_assert_eq!(complaints(&written(&result)), [""; 0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// A record of which some fields were replaced, or are missing (`None`).
    #[test]
    fn the_schema_and_the_reader_agree(
        of in select(vec![down(), up(), late(), stopping()]),
        changes in proptest::collection::vec((place(), prop::option::weighted(0.9, edge())), 1..4),
    ) {
        let mut record = written(&of);
        for ((inside, name), value) in changes {
            let object = match inside {
                Some(key) => record[key].as_object_mut(),
                None => record.as_object_mut(),
            };
            let Some(object) = object else { continue };
            match value {
                Some(value) => drop(object.insert(name, value)),
                None => drop(object.remove(&name)),
            }
        }
        prop_assert_eq!(complaints(&record).is_empty(), is_read(&record), "{:?}\n{}", complaints(&record), record);
    }
}

#[test]
fn each_topic_has_its_key_its_headers_and_its_record() {
    let document = asyncapi();
    let message = |channel: &str| {
        let messages = document["channels"][channel]["messages"].as_object().unwrap();
        resolved(&document, messages.values().next().unwrap()).clone()
    };
    assert_eq!(document["channels"]["results"]["address"], "lapwing.results");
    assert_eq!(document["channels"]["dead"]["address"], "lapwing.results.dead");
    let result = message("results");
    let headers = jsonschema::draft202012::new(&result["headers"]).unwrap();
    assert!(headers.is_valid(&result["examples"][0]["headers"]));
    assert!(!headers.is_valid(&json!({ "lapwing-seq": "7" })));
    let payload = resolved(&document, &result["payload"]);
    let payload = jsonschema::draft7::new(payload).unwrap(); // what AsyncAPI takes for a schema that does not say
    assert!(payload.is_valid(&written(&late())) && !payload.is_valid(&json!({ "v": 1 })));
    let dead = message("dead");
    for name in ["reason", "topic", "partition", "offset", "at", "attempts"] {
        assert!(dead["headers"]["properties"][format!("lapwing-dead-{name}")].is_object(), "{name}");
    }
}

#[test]
fn every_reference_of_the_asyncapi_document_leads_somewhere() {
    let document = asyncapi();
    let (mut left, mut found) = (vec![&document], 0);
    while let Some(value) = left.pop() {
        match value {
            Value::Object(object) => left.extend(object.values()),
            Value::Array(list) => left.extend(list),
            _ => {}
        }
        if value.get("$ref").is_some_and(Value::is_string) {
            assert!(resolved(&document, value).is_object(), "{value}");
            found += 1;
        }
    }
    assert!(found > 8, "{found} references");
}

fn resolved<'d>(document: &'d Value, reference: &Value) -> &'d Value {
    let path = reference["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
    document.pointer(path).unwrap_or_else(|| panic!("{path} leads nowhere"))
}
