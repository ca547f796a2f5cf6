//! The record for its readers, in the words of JSON Schema (draft 2020-12).

use super::fields::{FIELDS, Field};
use serde_json::{Map, Value, json};

/// There whatever the record says.
const REQUIRED: [&str; 5] = ["v", "target", "location", "due_at", "verdict"];

/// What Lapwing's own reader accepts as a result, as far as a schema can say it: not that numbers are written as digits alone,
/// that a text is at most 64 KiB of UTF-8, or that `due_at` is at most a day ahead. Every record that Lapwing writes is valid.
pub fn schema() -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("$id".to_owned(), json!("urn:lapwing:record:1"));
    schema.append(&mut body());
    Value::Object(schema)
}

/// The schema without what makes it a document of its own.
pub(super) fn body() -> Map<String, Value> {
    super::kinds::keywords(json!({
        "title": "Lapwing result",
        "description": "What a check found. Its identity is (target, location, due_at); of several records with one identity the \
            first in the log stands. A field that does not apply is absent, or null. Ignore fields that you don't know; skip a \
            record with a field `kind`, which is something else than a result.",
        "type": "object",
        "properties": all_properties(),
        "required": REQUIRED,
        "if": { "properties": { "reason": { "const": "late" } }, "required": ["reason"] },
        "else": {
            "properties": { "interval_ms": { "type": "integer" }, "started_at": { "type": "string" } },
            "required": ["interval_ms", "started_at"],
        },
        "examples": [example()],
    }))
}

/// The record of the golden file.
pub(super) fn example() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/down.json")).expect("the golden file is a record")
}

fn all_properties() -> Map<String, Value> {
    let mut properties = properties(FIELDS, &REQUIRED);
    let kind = json!({ "type": "null", "description": "A record with this field is no result." });
    properties.insert("kind".to_owned(), kind);
    properties
}

/// Fields that need not be there may be null, which is the same.
pub(super) fn properties(fields: &[Field], required: &[&str]) -> Map<String, Value> {
    let property = |field: &Field| {
        let mut property = Map::from_iter([("description".to_owned(), json!(field.doc()))]);
        property.append(&mut field.schema());
        if !required.contains(&field.name) {
            let or_null = json!([property["type"], "null"]);
            property.insert("type".to_owned(), or_null);
        }
        (field.name.to_owned(), Value::Object(property))
    };
    fields.iter().map(property).collect()
}
