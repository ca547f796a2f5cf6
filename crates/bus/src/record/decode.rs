//! A record becomes a result, or is told what it is instead. The judgements and their order are the contract's paragraph
//! "What a reader accepts as a result".

use super::{
    fields::{Draft, Takes},
    json::{self, Json},
};
use model::{
    UnixMs,
    batch::{Content, DeadLetter, DeadReason},
    record::Record,
};
use std::borrow::Cow;

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

type Fields<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Draft {
    fn read(fields: Fields<'_>, now: UnixMs) -> Result<Self, String> {
        let mut d = Self::default();
        for (key, value) in fields {
            if value == Json::Null {
                continue;
            }
            d.take(&key, value).map_err(|want| format!("`{key}` is not {want}"))?;
        }
        if d.due_at.is_some_and(|due| !(0..=now.0.saturating_add(AHEAD_MS)).contains(&due.0)) {
            return Err("`due_at` is before 1970 or more than a day ahead".to_owned());
        }
        Ok(d)
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
