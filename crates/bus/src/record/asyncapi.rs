//! The topics for who reads them, as an AsyncAPI document (3.0): what Lapwing sends and receives, with which key and headers.

use super::{kinds::ID_PATTERN, schema};
use model::{batch::DeadReason, kafka};
use serde_json::{Map, Value, json};

/// The topics are those that a configuration has when it does not name its own.
pub fn asyncapi() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lapwing",
            "version": "1",
            "description": "The results of a website monitor, on Kafka. `version` is that of the record (field `v`). The addresses are \
                those of a configuration that does not name others (`kafka.topic`, `kafka.dead_topic`).",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": {
            "results": channel(
                kafka::RESULTS_TOPIC,
                "Every result, once or more: of several records with one identity the first stands. The key is the target's id, so the \
                 results of one target are in order while the number of partitions stays.",
                "result",
            ),
            "dead": channel(
                kafka::DEAD_TOPIC,
                "Copies of the records that were not stored, at least once each, with their own key, value and headers.",
                "deadLetter",
            ),
        },
        "operations": {
            "sendResult": operation("send", "results", "result", "A prober sends what a check found."),
            "receiveResult": operation("receive", "results", "result", "A writer stores it in the database."),
            "sendDeadLetter": operation("send", "dead", "deadLetter", "A writer puts aside what it can't store."),
        },
        "components": {
            "messages": { "result": result(), "deadLetter": dead_letter() },
            "schemas": { "result": schema::body() },
        },
    })
}

fn channel(topic: &str, description: &str, message: &str) -> Value {
    json!({
        "address": topic,
        "description": description,
        "messages": { message: { "$ref": format!("#/components/messages/{message}") } },
        "bindings": { "kafka": { "topic": topic, "bindingVersion": "0.5.0" } },
    })
}

fn operation(action: &str, channel: &str, message: &str, summary: &str) -> Value {
    json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{channel}") },
        "summary": summary,
        "messages": [{ "$ref": format!("#/channels/{channel}/messages/{message}") }],
    })
}

fn result() -> Value {
    json!({
        "name": "result",
        "title": "What a check found",
        "contentType": "application/json",
        "headers": headers(&own_headers(), &[]),
        "payload": { "$ref": "#/components/schemas/result" },
        "bindings": key(&json!({ "type": "string", "pattern": ID_PATTERN, "description": "The target's id." })),
        "examples": [{
            "name": "down",
            "headers": { "content-type": "application/json", "lapwing-version": "1", "lapwing-seq": "7f3c9d52a1e04b68/1042" },
            "payload": schema::example(),
        }],
    })
}

fn dead_letter() -> Value {
    let why = dead_headers();
    let mut all = own_headers();
    all.append(&mut why.clone());
    let required: Vec<_> = why.keys().map(String::as_str).collect();
    json!({
        "name": "deadLetter",
        "title": "A record that could not be stored",
        "contentType": "application/octet-stream",
        "headers": headers(&all, &required),
        "payload": { "description": "The value of the record as it was: any bytes, or none." },
        "bindings": key(&json!({ "description": "The key of the record as it was: any bytes, or none." })),
    })
}

fn key(schema: &Value) -> Value {
    json!({ "kafka": { "key": schema, "bindingVersion": "0.5.0" } })
}

/// Others may be there too: a reader passes over what it does not know.
fn headers(properties: &Map<String, Value>, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// What a prober adds to a result. Readers judge the value alone.
fn own_headers() -> Map<String, Value> {
    described([
        ("content-type", json!({ "const": "application/json" }), "What the value is."),
        ("lapwing-version", json!({ "const": "1" }), "The version of the record, as its field `v`."),
        (
            "lapwing-seq",
            json!({ "pattern": "^[^/]+/[0-9]+$" }),
            "The id of the prober's queue and the record's number in it, which counts up by one: a gap is a loss.",
        ),
    ])
}

/// What a writer adds to a record that it can't store.
fn dead_headers() -> Map<String, Value> {
    let reasons: Vec<_> = DeadReason::ALL.iter().map(|r| r.word()).collect();
    let whole = || json!({ "pattern": "^[0-9]+$" });
    described([
        ("lapwing-dead-reason", json!({ "enum": reasons }), "Why it was not stored."),
        ("lapwing-dead-topic", json!({}), "The topic that it was read from."),
        ("lapwing-dead-partition", whole(), "The partition that it was read from."),
        ("lapwing-dead-offset", whole(), "Its offset there."),
        ("lapwing-dead-at", json!({ "format": "date-time" }), "When it was put aside."),
        ("lapwing-dead-attempts", whole(), "How often it had been tried."),
    ])
}

fn described<const N: usize>(headers: [(&str, Value, &str); N]) -> Map<String, Value> {
    let one = |(name, keywords, doc): (&str, Value, &str)| {
        let mut schema = Map::from_iter([("type".to_owned(), json!("string")), ("description".to_owned(), json!(doc))]);
        schema.extend(super::kinds::keywords(keywords));
        (name.to_owned(), Value::Object(schema))
    };
    headers.into_iter().map(one).collect()
}
