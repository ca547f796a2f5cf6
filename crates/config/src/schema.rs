//! The JSON Schema of a config (draft 2020-12), for editors: from the same tables as the checks.

use crate::{
    grammar::{Key, Kind, Names, Numbers, Rule, Shape, keys::CONFIG},
    units::{DURATION_PATTERN, SIZE_PATTERN},
};
use serde_json::{Map, Value, json};

/// The schema of the file. What only the loader can know (files, sums of times, equal ids) is not in it.
pub fn schema() -> Value {
    let mut definitions = Definitions::default();
    let mut root = definitions.shape(&CONFIG);
    let mut whole = Map::new();
    whole.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    whole.insert("title".into(), json!("Lapwing"));
    whole.append(&mut root);
    whole.insert("$defs".into(), Value::Object(definitions.0));
    Value::Object(whole)
}

/// Shapes by their names, each once.
#[derive(Default)]
struct Definitions(Map<String, Value>);

impl Definitions {
    fn shape(&mut self, shape: &'static Shape) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("description".into(), json!(shape.doc));
        out.insert("type".into(), json!("object"));
        let properties = shape.keys.iter().map(|k| (k.name.to_owned(), self.key(k))).collect();
        out.insert("properties".into(), Value::Object(properties));
        out.insert("additionalProperties".into(), json!(false));
        let required: Vec<_> = shape.keys.iter().filter(|k| k.required).map(|k| k.name).collect();
        if !required.is_empty() {
            out.insert("required".into(), json!(required));
        }
        let exclusive: Vec<_> = shape.exclusive.iter().flat_map(|group| pairs(group)).collect();
        if !exclusive.is_empty() {
            out.insert("allOf".into(), json!(exclusive));
        }
        out
    }

    fn reference(&mut self, shape: &'static Shape) -> Value {
        if !self.0.contains_key(shape.name) {
            self.0.insert(shape.name.to_owned(), Value::Null); // keeps its place while what is in it is made
            let made = self.shape(shape);
            self.0.insert(shape.name.to_owned(), Value::Object(made));
        }
        json!({ "$ref": format!("#/$defs/{}", shape.name) })
    }

    fn key(&mut self, key: &'static Key) -> Value {
        let mut forms = self.forms(&key.kind);
        if !key.required && key.name != "targets" {
            forms.push(json!({ "type": "null" })); // as if it were not there; in a target it removes a default
        }
        let mut out = one_of(forms);
        out.insert("description".into(), json!(key.doc));
        if let Some(default) = key.default {
            out.insert("default".into(), typed(default, &key.kind));
        }
        Value::Object(out)
    }

    /// The ways to write a value.
    fn forms(&mut self, kind: &'static Kind) -> Vec<Value> {
        let mut forms = match kind {
            Kind::Bool => vec![json!({ "type": "boolean" }), text("^(true|false)$")],
            Kind::Whole { min, max } => {
                vec![json!({ "type": "integer", "minimum": min, "maximum": max }), text("^[0-9]+$")]
            }
            Kind::Duration { .. } => vec![text(DURATION_PATTERN)],
            Kind::Size { .. } => vec![text(SIZE_PATTERN)],
            Kind::OneOf(words) => vec![json!({ "enum": spellings(words) })],
            Kind::Text(rule) => return with_reference(rule_forms(rule), rule.pattern.is_some()),
            Kind::BodyPattern | Kind::HeaderPattern | Kind::Cel => return vec![any_text()],
            Kind::File(_) => return vec![json!({ "type": "string", "minLength": 1 })],
            Kind::List { of, min } => return self.list(of, *min),
            Kind::Map(shape) => return vec![self.reference(shape)],
            Kind::Short { key, shape } => {
                let short = shape.key(key).map(|k| self.forms(&k.kind)).unwrap_or_default();
                let short = short.into_iter().filter(|form| form.get("type") != Some(&json!("array")));
                return short.chain([self.reference(shape)]).collect();
            }
            Kind::Named(names) => return vec![self.named(names)],
        };
        forms.push(reference_form());
        forms
    }

    fn list(&mut self, of: &'static Kind, min: usize) -> Vec<Value> {
        let single = self.forms(of);
        let mut array = Map::new();
        array.insert("type".into(), json!("array"));
        array.insert("items".into(), Value::Object(one_of(single.clone())));
        if min > 0 {
            array.insert("minItems".into(), json!(min));
        }
        let mut forms = vec![Value::Object(array)];
        forms.extend(single);
        forms
    }

    fn named(&mut self, names: &'static Names) -> Value {
        let mut forms = self.forms(&names.values);
        forms.push(json!({ "type": "null" }));
        let mut out = json!({ "type": "object", "additionalProperties": one_of(forms) });
        if let Some(refused) = names.refused {
            out["propertyNames"] = json!({ "not": { "enum": refused } });
        }
        out
    }
}

fn rule_forms(rule: &Rule) -> Vec<Value> {
    let mut forms = match (rule.pattern, rule.numbers) {
        (None, Numbers::Any) => return vec![any_text()],
        (None, Numbers::No | Numbers::Within(..)) => vec![json!({ "type": "string" })],
        (Some(pattern), _) => vec![text(pattern)],
    };
    match rule.numbers {
        Numbers::No => {}
        Numbers::Any => forms.push(json!({ "type": "number" })),
        Numbers::Within(min, max) => forms.push(json!({ "type": "integer", "minimum": min, "maximum": max })),
    }
    forms
}

/// Every scalar is its text.
fn any_text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn with_reference(mut forms: Vec<Value>, is_spelled: bool) -> Vec<Value> {
    if is_spelled {
        forms.push(reference_form());
    }
    forms
}

/// A text with a variable in it may turn out to be anything.
fn reference_form() -> Value {
    text(r"\$\{")
}

fn one_of(mut forms: Vec<Value>) -> Map<String, Value> {
    match (forms.len(), forms.pop()) {
        (1, Some(Value::Object(only))) => only,
        (_, last) => {
            forms.extend(last);
            Map::from_iter([("anyOf".to_owned(), Value::Array(forms))])
        }
    }
}

/// Words, and numbers where they look like some.
fn spellings(words: &[&str]) -> Vec<Value> {
    let number = |w: &&str| serde_json::from_str::<serde_json::Number>(w).ok().map(Value::Number);
    words.iter().map(|w| json!(w)).chain(words.iter().filter_map(number)).collect()
}

/// A default as the reader of the schema would write it in JSON.
fn typed(default: &str, kind: &Kind) -> Value {
    match kind {
        Kind::Bool | Kind::Whole { .. } => serde_json::from_str(default).unwrap_or_else(|_| json!(default)),
        _ => json!(default),
    }
}

/// No two of the group may be written, `null` aside.
fn pairs(group: &'static [&'static str]) -> Vec<Value> {
    let mut out = Vec::new();
    for (i, a) in group.iter().enumerate() {
        for b in &group[i + 1..] {
            let written = json!({ "not": { "type": "null" } });
            out.push(json!({ "not": { "required": [a, b], "properties": { *a: written, *b: written } } }));
        }
    }
    out
}
