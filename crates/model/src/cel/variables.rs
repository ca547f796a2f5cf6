//! What an expression is given of an answer, as values of CEL.

use super::{MAX_BODY, Uses};
use crate::answer::{Head, KeptBody};
use cel::common::{
    types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString},
    value::Val,
};
use serde_json::Value as Json;
use std::{collections::HashMap, time::Duration};

type Entries<'v> = HashMap<CelMapKey<'v>, Box<dyn Val + 'v>>;

/// The variables of the contract: `status`, `headers`, `body` (with `text` and `json`) and `time_ms`.
#[derive(Debug)]
pub struct Variables<'a> {
    status: CelInt,
    headers: CelMap<'a>,
    body: CelMap<'a>,
    time_ms: CelInt,
    too_large: bool,
    /// Why `body.json` is not there although it was asked for.
    not_json: Option<String>,
}

impl<'a> Variables<'a> {
    /// Only the parts of the body that are used are made. A body that is not JSON has no `json`.
    pub fn new(head: &Head, body: Option<&'a KeptBody>, total: Duration, uses: Uses) -> Self {
        let mut not_json = None;
        let mut parts = Entries::new();
        if let Some(KeptBody::Whole(bytes)) = body {
            debug_assert!(bytes.len() <= MAX_BODY);
            if uses.text {
                parts.insert("text".into(), Box::new(CelString::from(String::from_utf8_lossy(bytes))));
            }
            if uses.json {
                match serde_json::from_slice(bytes) {
                    Ok(json) => drop(parts.insert("json".into(), value(json))),
                    Err(e) => not_json = Some(e.to_string()),
                }
            }
        }
        Self {
            status: i64::from(head.status).into(),
            headers: headers(head).into(),
            body: parts.into(),
            time_ms: i64::try_from(total.as_millis()).unwrap_or(i64::MAX).into(),
            too_large: matches!(body, Some(KeptBody::TooLarge)),
            not_json,
        }
    }

    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    pub fn not_json(&self) -> Option<&str> {
        self.not_json.as_deref()
    }

    pub fn get(&self, name: &str) -> Option<&(dyn Val + 'a)> {
        match name {
            "status" => Some(&self.status),
            "headers" => Some(&self.headers),
            "body" => Some(&self.body),
            "time_ms" => Some(&self.time_ms),
            _ => None,
        }
    }
}

/// Names in lower case; the values of one that was sent more than once joined.
fn headers(head: &Head) -> Entries<'static> {
    let mut joined: HashMap<String, String> = HashMap::new();
    for (name, value) in head.headers.iter() {
        let value = String::from_utf8_lossy(value);
        joined
            .entry(String::from_utf8_lossy(name).to_ascii_lowercase())
            .and_modify(|all| all.extend([", ", &value]))
            .or_insert_with(|| value.to_string());
    }
    joined.into_iter().map(|(name, all)| (name.into(), Box::new(CelString::from(all)) as Box<dyn Val>)).collect()
}

/// Whole numbers are `int`, so that they can be counted with; others, and those that are too large for it, `double`.
fn value(json: Json) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(b) => Box::new(CelBool::from(b)),
        Json::Number(n) => match n.as_i64() {
            Some(whole) => Box::new(CelInt::from(whole)),
            None => Box::new(CelDouble::from(n.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text)),
        Json::Array(items) => Box::new(CelList::from(items.into_iter().map(value).collect::<Vec<_>>())),
        Json::Object(entries) => {
            let entries: Entries<'_> = entries.into_iter().map(|(key, item)| (key.into(), value(item))).collect();
            Box::new(CelMap::from(entries))
        }
    }
}
