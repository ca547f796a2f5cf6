//! What a field can hold: how it is read, and how a schema says the same.

use super::json::Json;
use model::{Location, Phase, Reason, TargetId, UnixMs, Verdict, result::HttpVersion};
use serde_json::{Map, Value, json};
use std::marker::PhantomData;

/// The values of a field, but for null, which is an absent field.
pub(super) trait Kind {
    type Value;

    /// The error says what it should be.
    fn read(value: Json<'_>) -> Result<Self::Value, &'static str>;

    /// The keywords of JSON Schema for it; `type` is one word.
    fn schema() -> Map<String, Value>;
}

/// The version of the record.
pub(super) struct Version;
pub(super) struct Target;
pub(super) struct Place;
pub(super) struct Moment;
/// A moment from 1970 on; that it is at most a day ahead is for the reader of the whole record to say.
pub(super) struct Due;
pub(super) struct Whole;
pub(super) struct Status;
pub(super) struct Text;
/// A word of a closed list.
pub(super) struct Conclusion;
/// A text that is mostly a word of a list that may grow.
pub(super) struct Word<List>(PhantomData<List>);

/// A list that may grow.
pub(super) trait List {
    fn known() -> Vec<&'static str>;
}

/// A text may not be longer, in bytes of UTF-8.
const LONGEST_TEXT: usize = 64 << 10;

const AN_ID: &str = "an id ([a-z0-9][a-z0-9._-]{0,127})";
pub(super) const ID_PATTERN: &str = "^[a-z0-9][a-z0-9._-]{0,127}$";
const A_NUMBER: &str = "a whole number from 0 to 2147483647";
const TIME_PATTERN: &str =
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z$";
/// The years of a moment that is not before 1970.
const SINCE_1970: &str = "^(19[7-9][0-9]|[2-9][0-9]{3})-";

impl Kind for Version {
    type Value = i32;

    fn read(value: Json<'_>) -> Result<i32, &'static str> {
        Whole::read(value).ok().filter(|&v| v == 1).ok_or("1")
    }

    fn schema() -> Map<String, Value> {
        keywords(json!({ "type": "integer", "const": 1 }))
    }
}

impl Kind for Target {
    type Value = TargetId;

    fn read(value: Json<'_>) -> Result<TargetId, &'static str> {
        TargetId::new(&Text::read(value)?).map_err(|_| AN_ID)
    }

    fn schema() -> Map<String, Value> {
        keywords(json!({ "type": "string", "pattern": ID_PATTERN }))
    }
}

impl Kind for Place {
    type Value = Location;

    fn read(value: Json<'_>) -> Result<Location, &'static str> {
        Location::new(&Text::read(value)?).map_err(|_| AN_ID)
    }

    fn schema() -> Map<String, Value> {
        Target::schema()
    }
}

impl Kind for Moment {
    type Value = UnixMs;

    fn read(value: Json<'_>) -> Result<UnixMs, &'static str> {
        let refused = "a time like 2026-11-23T10:00:20.732Z";
        match value {
            Json::Text(text) => text.parse().map_err(|_| refused),
            Json::Null | Json::Number(_) | Json::Object(_) | Json::Other => Err(refused),
        }
    }

    fn schema() -> Map<String, Value> {
        keywords(json!({ "type": "string", "format": "date-time", "pattern": TIME_PATTERN }))
    }
}

impl Kind for Due {
    type Value = UnixMs;

    fn read(value: Json<'_>) -> Result<UnixMs, &'static str> {
        Moment::read(value)
    }

    fn schema() -> Map<String, Value> {
        let mut schema = Moment::schema();
        schema.insert("allOf".to_owned(), json!([{ "pattern": SINCE_1970 }]));
        schema
    }
}

impl Kind for Whole {
    type Value = i32;

    fn read(value: Json<'_>) -> Result<i32, &'static str> {
        match value {
            // Digits alone: a fraction, an exponent or a sign is no whole number, even where its value is one.
            Json::Number(digits) => digits.parse().ok().filter(|&n| n >= 0 && !digits.starts_with('-')).ok_or(A_NUMBER),
            Json::Null | Json::Text(_) | Json::Object(_) | Json::Other => Err(A_NUMBER),
        }
    }

    fn schema() -> Map<String, Value> {
        keywords(json!({ "type": "integer", "minimum": 0, "maximum": i32::MAX }))
    }
}

impl Kind for Status {
    type Value = i32;

    fn read(value: Json<'_>) -> Result<i32, &'static str> {
        Whole::read(value).ok().filter(|status| (100..=999).contains(status)).ok_or("a whole number from 100 to 999")
    }

    fn schema() -> Map<String, Value> {
        keywords(json!({ "type": "integer", "minimum": 100, "maximum": 999 }))
    }
}

impl Kind for Text {
    type Value = String;

    fn read(value: Json<'_>) -> Result<String, &'static str> {
        match value {
            Json::Text(text) if text.len() > LONGEST_TEXT => Err("a text of at most 64 KiB"),
            Json::Text(text) if text.contains('\0') => Err("a text without NUL"),
            Json::Text(text) => Ok(text.into_owned()),
            Json::Null | Json::Number(_) | Json::Object(_) | Json::Other => Err("a text"),
        }
    }

    /// Characters, where the reader counts bytes: a schema can count nothing else.
    fn schema() -> Map<String, Value> {
        keywords(json!({ "type": "string", "maxLength": LONGEST_TEXT, "pattern": r"^[^\x00]*$" }))
    }
}

impl Kind for Conclusion {
    type Value = Verdict;

    fn read(value: Json<'_>) -> Result<Verdict, &'static str> {
        Verdict::from_word(&Text::read(value)?).ok_or("up, degraded, down or unknown")
    }

    fn schema() -> Map<String, Value> {
        let words: Vec<_> = Verdict::ALL.iter().map(|v| v.word()).collect();
        keywords(json!({ "type": "string", "enum": words }))
    }
}

impl<L: List> Kind for Word<L> {
    type Value = String;

    fn read(value: Json<'_>) -> Result<String, &'static str> {
        Text::read(value)
    }

    fn schema() -> Map<String, Value> {
        let mut schema = Text::schema();
        schema.insert("examples".to_owned(), json!(L::known()));
        schema
    }
}

impl List for Reason {
    fn known() -> Vec<&'static str> {
        Self::ALL.iter().map(|r| r.word()).collect()
    }
}

impl List for Phase {
    fn known() -> Vec<&'static str> {
        Self::ALL.iter().map(|p| p.word()).collect()
    }
}

impl List for HttpVersion {
    fn known() -> Vec<&'static str> {
        [Self::V1_0, Self::V1_1, Self::V2].map(Self::word).into()
    }
}

pub(super) fn keywords(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(keywords) => keywords,
        other => Map::from_iter([("const".to_owned(), other)]), // never: every caller has an object
    }
}
