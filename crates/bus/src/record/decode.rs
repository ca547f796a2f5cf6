//! A record becomes a result, or is told what it is instead. The judgements and their order are the contract's paragraph
//! "What a reader accepts as a result".

use super::json::{self, Json};
use model::{
    Location, TargetId, UnixMs, Verdict,
    batch::{Content, DeadLetter, DeadReason},
    record::{Record, RecordTls},
};
use std::borrow::Cow;

/// A text may not be longer, in bytes of UTF-8.
const LONGEST_TEXT: usize = 64 << 10;
/// How far ahead of `now` a result may be due: a day, for clocks that are wrong.
const AHEAD_MS: i64 = 86_400_000;

/// Says what a record is. `now` judges `due_at`; the key and headers of a dead letter are the log's to add.
pub fn decode(value: &[u8], now: UnixMs) -> Content {
    match read(value, now) {
        Ok(content) => content,
        Err((reason, message)) => Content::Dead(Box::new(DeadLetter {
            reason,
            message,
            key: None,
            value: value.to_vec(),
            headers: Vec::new(),
        })),
    }
}

fn read(value: &[u8], now: UnixMs) -> Result<Content, (DeadReason, String)> {
    let json = json::parse(behind_prefix(value))
        .map_err(|e| (DeadReason::NotJson, format!("not JSON: {} at byte {}", e.why, e.at)))?;
    let refused = |message| (DeadReason::NotAResult, message);
    let Json::Object(fields) = json else { return Err(refused("not a result: no object".to_owned())) };
    let present = |key| fields.iter().find(|(k, v)| k == key && *v != Json::Null).map(|(_, v)| v);
    if let Some(Json::Number(v)) = present("v")
        && v.parse::<f64>().is_ok_and(|v| v > 1.0)
    {
        return Err((DeadReason::NewerVersion, format!("version {v:.20} of the record; this program knows 1")));
    }
    if present("kind").is_some() {
        return Ok(Content::UnknownKind);
    }
    let record = Draft::read(fields, now).and_then(Draft::complete);
    record.map(|record| Content::Result(Box::new(record.into()))).map_err(|why| refused(format!("not a result: {why}")))
}

/// A schema registry's five bytes: a zero, which no JSON begins with, and the number of a schema.
fn behind_prefix(value: &[u8]) -> &[u8] {
    match value {
        [0, _, _, _, _, json @ ..] => json,
        _ => value,
    }
}

/// The fields as far as they were read.
#[derive(Default)]
struct Draft {
    version: Option<i32>,
    target: Option<TargetId>,
    name: Option<String>,
    group: Option<String>,
    url: Option<String>,
    location: Option<Location>,
    due_at: Option<UnixMs>,
    started_at: Option<UnixMs>,
    interval_ms: Option<i32>,
    verdict: Option<Verdict>,
    reason: Option<String>,
    phase: Option<String>,
    message: Option<String>,
    attempts: Option<i32>,
    status: Option<i32>,
    http: Option<String>,
    peer: Option<String>,
    final_url: Option<String>,
    redirects: Option<i32>,
    dns_us: Option<i32>,
    connect_us: Option<i32>,
    tls_us: Option<i32>,
    wait_us: Option<i32>,
    transfer_us: Option<i32>,
    total_us: Option<i32>,
    body_bytes: Option<i32>,
    tls: Option<RecordTls>,
    rtt_us: Option<i32>,
    retransmits: Option<i32>,
    lag_us: Option<i32>,
}

type Fields<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Draft {
    fn read(fields: Fields<'_>, now: UnixMs) -> Result<Self, String> {
        let mut d = Self::default();
        for (key, value) in fields {
            if value == Json::Null {
                continue;
            }
            d.field(&key, value).map_err(|want| format!("`{key}` is not {want}"))?;
        }
        if d.due_at.is_some_and(|due| !(0..=now.0.saturating_add(AHEAD_MS)).contains(&due.0)) {
            return Err("`due_at` is before 1970 or more than a day ahead".to_owned());
        }
        Ok(d)
    }

    /// Takes one field; the error says what it should be.
    fn field(&mut self, key: &str, value: Json<'_>) -> Result<(), &'static str> {
        match key {
            "v" => self.version = Some(version(&value)?),
            "target" => self.target = Some(TargetId::new(&text(value)?).map_err(|_| AN_ID)?),
            "name" => self.name = Some(text(value)?),
            "group" => self.group = Some(text(value)?),
            "url" => self.url = Some(text(value)?),
            "location" => self.location = Some(Location::new(&text(value)?).map_err(|_| AN_ID)?),
            "due_at" => self.due_at = Some(time(value)?),
            "started_at" => self.started_at = Some(time(value)?),
            "interval_ms" => self.interval_ms = Some(number(&value)?),
            "verdict" => self.verdict = Some(Verdict::from_word(&text(value)?).ok_or("up, degraded, down or unknown")?),
            "reason" => self.reason = Some(text(value)?),
            "phase" => self.phase = Some(text(value)?),
            "message" => self.message = Some(text(value)?),
            "attempts" => self.attempts = Some(number(&value)?),
            "status" => self.status = Some(status(&value)?),
            "http" => self.http = Some(text(value)?),
            "peer" => self.peer = Some(text(value)?),
            "final_url" => self.final_url = Some(text(value)?),
            "redirects" => self.redirects = Some(number(&value)?),
            "dns_us" => self.dns_us = Some(number(&value)?),
            "connect_us" => self.connect_us = Some(number(&value)?),
            "tls_us" => self.tls_us = Some(number(&value)?),
            "wait_us" => self.wait_us = Some(number(&value)?),
            "transfer_us" => self.transfer_us = Some(number(&value)?),
            "total_us" => self.total_us = Some(number(&value)?),
            "body_bytes" => self.body_bytes = Some(number(&value)?),
            "tls" => self.tls = Some(tls(value)?),
            "rtt_us" => self.rtt_us = Some(number(&value)?),
            "retransmits" => self.retransmits = Some(number(&value)?),
            "lag_us" => self.lag_us = Some(number(&value)?),
            _ => {} // unknown fields are not judged
        }
        Ok(())
    }

    fn complete(self) -> Result<Record, String> {
        let missing = |field| format!("`{field}` is missing");
        self.version.ok_or_else(|| missing("v"))?;
        if self.reason.as_deref() != Some("late") {
            self.interval_ms.ok_or_else(|| missing("interval_ms"))?;
            self.started_at.ok_or_else(|| missing("started_at"))?;
        }
        Ok(Record {
            target: self.target.ok_or_else(|| missing("target"))?,
            name: self.name,
            group: self.group,
            url: self.url,
            location: self.location.ok_or_else(|| missing("location"))?,
            due_at: self.due_at.ok_or_else(|| missing("due_at"))?,
            started_at: self.started_at,
            interval_ms: self.interval_ms,
            verdict: self.verdict.ok_or_else(|| missing("verdict"))?,
            reason: self.reason,
            phase: self.phase,
            message: self.message,
            attempts: self.attempts,
            status: self.status,
            http: self.http,
            peer: self.peer,
            final_url: self.final_url,
            redirects: self.redirects,
            dns_us: self.dns_us,
            connect_us: self.connect_us,
            tls_us: self.tls_us,
            wait_us: self.wait_us,
            transfer_us: self.transfer_us,
            total_us: self.total_us,
            body_bytes: self.body_bytes,
            tls: self.tls,
            rtt_us: self.rtt_us,
            retransmits: self.retransmits,
            lag_us: self.lag_us,
        })
    }
}

const AN_ID: &str = "an id ([a-z0-9][a-z0-9._-]{0,127})";
const A_NUMBER: &str = "a whole number from 0 to 2147483647";

fn text(value: Json<'_>) -> Result<String, &'static str> {
    match value {
        Json::Text(text) if text.len() > LONGEST_TEXT => Err("a text of at most 64 KiB"),
        Json::Text(text) if text.contains('\0') => Err("a text without NUL"),
        Json::Text(text) => Ok(text.into_owned()),
        Json::Null | Json::Number(_) | Json::Object(_) | Json::Other => Err("a text"),
    }
}

fn number(value: &Json<'_>) -> Result<i32, &'static str> {
    match value {
        // Digits alone: a fraction, an exponent or a sign is no whole number, even where its value is one.
        Json::Number(digits) => digits.parse().ok().filter(|&n| n >= 0 && !digits.starts_with('-')).ok_or(A_NUMBER),
        Json::Null | Json::Text(_) | Json::Object(_) | Json::Other => Err(A_NUMBER),
    }
}

fn status(value: &Json<'_>) -> Result<i32, &'static str> {
    number(value).ok().filter(|status| (100..=999).contains(status)).ok_or("a whole number from 100 to 999")
}

fn version(value: &Json<'_>) -> Result<i32, &'static str> {
    number(value).ok().filter(|&v| v == 1).ok_or("1")
}

fn time(value: Json<'_>) -> Result<UnixMs, &'static str> {
    let refused = "a time like 2026-11-23T10:00:20.732Z";
    match value {
        Json::Text(text) => text.parse().map_err(|_| refused),
        Json::Null | Json::Number(_) | Json::Object(_) | Json::Other => Err(refused),
    }
}

fn tls(value: Json<'_>) -> Result<RecordTls, &'static str> {
    let Json::Object(fields) = value else { return Err("an object") };
    let mut tls = RecordTls::default();
    for (key, value) in fields {
        if value == Json::Null {
            continue;
        }
        let refused = |_| "an object with texts `version issuer subject` and times `not_before not_after`";
        match &*key {
            "version" => tls.version = Some(text(value).map_err(refused)?),
            "issuer" => tls.issuer = Some(text(value).map_err(refused)?),
            "subject" => tls.subject = Some(text(value).map_err(refused)?),
            "not_before" => tls.not_before = Some(time(value).map_err(refused)?),
            "not_after" => tls.not_after = Some(time(value).map_err(refused)?),
            _ => {}
        }
    }
    Ok(tls)
}
