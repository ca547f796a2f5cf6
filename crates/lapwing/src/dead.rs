//! `lapwing dead`: records that can't be stored, for people who look after them. What is made due here, the writer tries again.

use crate::{
    cli::{DeadCommand, DeadListArgs, DeadPurgeArgs, DeadReplayArgs, DeadShowArgs, Shared},
    exit::{self, Exit},
    opening,
    reload::Source,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{UnixMs, batch::DeadReason, text};
use serde_json::{Map, Value, json};
use std::{fmt::Write as _, process::ExitCode, time::SystemTime};
use store::{Letter, Select, Store};

/// Letters that are read at once.
const PAGE: u32 = 100;

pub fn dead(shared: &Shared, command: &DeadCommand) -> Result<ExitCode, Exit> {
    let now = UnixMs::from_system(SystemTime::now());
    let wish = Wish::of(command, now).map_err(Exit::usage)?;
    let config = Source::of(shared).load().map_err(Exit::usage)?;
    opening::with_store(&config.store, opening::beside(), async |store, _| wish.run(store, now).await)?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be done, with which letters.
struct Wish {
    select: Select,
    deed: Deed,
    as_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    List,
    Show,
    Replay { dry_run: bool },
    Purge,
}

impl Wish {
    /// # Errors
    /// A value that is none, or no selection where one is needed.
    fn of(command: &DeadCommand, now: UnixMs) -> Result<Self, String> {
        Ok(match command {
            DeadCommand::List(DeadListArgs { reason, target, older_than, all, json }) => Self {
                select: Select {
                    reason: reason.as_deref().map(known_reason).transpose()?,
                    target: target.clone(),
                    before: before(older_than.as_deref(), now)?,
                    resolved: (!all).then_some(false),
                    ..Select::default()
                },
                deed: Deed::List,
                as_json: *json,
            },
            DeadCommand::Show(DeadShowArgs { id, json }) => {
                let select = Select { ids: Some(vec![*id]), ..Select::default() };
                Self { select, deed: Deed::Show, as_json: *json }
            }
            DeadCommand::Replay(DeadReplayArgs { ids, reason, all, dry_run, json }) => {
                if ids.is_empty() && reason.is_none() && !all {
                    return Err("dead replay: name letters by their ids, or say --reason or --all".into());
                }
                let select = Select {
                    ids: (!ids.is_empty()).then(|| ids.clone()),
                    reason: reason.as_deref().map(known_reason).transpose()?,
                    resolved: Some(false),
                    ..Select::default()
                };
                Self { select, deed: Deed::Replay { dry_run: *dry_run }, as_json: *json }
            }
            DeadCommand::Purge(DeadPurgeArgs { ids, older_than, resolved, json }) => {
                if ids.is_empty() && older_than.is_none() && !resolved {
                    return Err("dead purge: name letters by their ids, or say --older-than or --resolved".into());
                }
                let select = Select {
                    ids: (!ids.is_empty()).then(|| ids.clone()),
                    before: before(older_than.as_deref(), now)?,
                    resolved: resolved.then_some(true),
                    ..Select::default()
                };
                Self { select, deed: Deed::Purge, as_json: *json }
            }
        })
    }

    async fn run(self, store: &mut Store, now: UnixMs) -> Result<(), Exit> {
        let Self { select, deed, as_json } = self;
        are_there(store, &select).await?;
        let count = match deed {
            Deed::Replay { dry_run: false } if !as_json => store.make_due(&select, now).await.map_err(Exit::failed)?,
            Deed::Purge if !as_json => store.purge(&select).await.map_err(Exit::failed)?,
            _ => page_by_page(store, &select, deed, as_json, now).await?,
        };
        let letters = if count == 1 { "1 letter".to_owned() } else { format!("{count} letters") };
        match deed {
            Deed::Replay { dry_run: true } => exit::tell(&format!("{letters} would be due; nothing was changed")),
            Deed::Replay { dry_run: false } => {
                exit::tell(&format!("{letters} made due; a writer at work tries them now"));
            }
            Deed::Purge => exit::tell(&format!("{letters} deleted")),
            Deed::List | Deed::Show => {}
        }
        Ok(())
    }
}

/// Tells of each letter what it is, before anything is done with it. Returns how many there were.
async fn page_by_page(store: &mut Store, select: &Select, deed: Deed, as_json: bool, now: UnixMs) -> Result<u64, Exit> {
    if deed == Deed::List && !as_json {
        exit::print(HEAD)?;
    }
    let (mut after, mut count) = (0, 0_u64);
    loop {
        let page = store.letters(select, after, PAGE).await.map_err(Exit::failed)?;
        let Some(last) = page.last() else { return Ok(count) };
        (after, count) = (last.id, count + page.len() as u64);
        let mut text = String::new();
        for letter in &page {
            match deed {
                _ if as_json => text += &format!("{}\n", as_json_object(letter)),
                Deed::Show => text += &shown(letter),
                Deed::List => text += &line(letter),
                Deed::Replay { .. } | Deed::Purge => {}
            }
        }
        exit::print(&text)?;
        let ids = page.iter().map(|letter| letter.id).collect();
        let page = Select { ids: Some(ids), ..select.clone() };
        match deed {
            Deed::Replay { dry_run: false } => drop(store.make_due(&page, now).await.map_err(Exit::failed)?),
            Deed::Purge => drop(store.purge(&page).await.map_err(Exit::failed)?),
            Deed::List | Deed::Show | Deed::Replay { dry_run: true } => {}
        }
    }
}

/// Every letter that was named by its id must be there, before anything is done.
async fn are_there(store: &mut Store, select: &Select) -> Result<(), Exit> {
    let Some(ids) = &select.ids else { return Ok(()) };
    let mut missing: Vec<i64> = ids.clone();
    for part in ids.chunks(PAGE as usize) {
        let named = Select { ids: Some(part.to_vec()), ..Select::default() };
        let there = store.letters(&named, i64::MIN, PAGE).await.map_err(Exit::failed)?;
        missing.retain(|id| there.iter().all(|letter| letter.id != *id));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = missing.iter().map(i64::to_string).collect();
    Err(Exit::usage(format!("there is no dead letter {}; nothing was changed", ids.join(", "))))
}

fn known_reason(text: &str) -> Result<String, String> {
    let words = DeadReason::ALL.map(DeadReason::word);
    match words.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("--reason: {text:?} is none of {}", words.join(", "))),
    }
}

fn before(older_than: Option<&str>, now: UnixMs) -> Result<Option<UnixMs>, String> {
    let Some(text) = older_than else { return Ok(None) };
    let age = config::duration(text).map_err(|e| format!("--older-than: {text:?} {e}"))?;
    Ok(Some(UnixMs(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))))
}

const HEAD: &str =
    "      id  failed                    reason         tries  from                              what is wrong\n";

fn line(letter: &Letter) -> String {
    let Letter { id, failed_at, reason, attempts, topic, partition, offset, message, resolved_at, .. } = letter;
    let from = format!("{topic}/{partition}@{offset}");
    let resolved = resolved_at.map_or("", |_| "(resolved) ");
    format!("{id:>8}  {failed_at}  {reason:<13}  {attempts:>5}  {from:<32}  {resolved}{message}\n")
}

fn shown(letter: &Letter) -> String {
    let Letter { id, reason, message, topic, partition, offset, key, value, headers, failed_at, attempts, .. } = letter;
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}"); // a String takes everything
    };
    put("letter", &id.to_string());
    put("reason", reason);
    put("message", message);
    put("from", &format!("{topic}, partition {partition}, offset {offset}"));
    put("failed", &failed_at.to_string());
    put("attempts", &attempts.to_string());
    match (letter.resolved_at, letter.next_retry_at) {
        (Some(at), _) => put("resolved", &at.to_string()),
        (None, Some(at)) => put("next try", &at.to_string()),
        (None, None) => put("next try", "not by itself (lapwing dead replay)"),
    }
    if let Some(key) = key {
        put("key", &readable(key));
    }
    for (name, value) in headers {
        put("header", &format!("{name}: {}", readable(value)));
    }
    put("record", &format!("{} bytes", text::thousands(value.len() as u64)));
    text + "\n" + &readable(value) + "\n"
}

/// As text where it is text that a terminal can take, else in base64.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => text.to_owned(),
        _ => format!("base64 {}", BASE64_STANDARD.encode(bytes)),
    }
}

/// The table's columns; bytes as text where they are UTF-8, else as `*_base64`; headers as an array of [name, base64].
fn as_json_object(letter: &Letter) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("id", letter.id.into());
    put("reason", letter.reason.clone().into());
    put("message", letter.message.clone().into());
    put("topic", letter.topic.clone().into());
    put("partition", letter.partition.into());
    put("offset", letter.offset.into());
    for (name, bytes) in [("key", letter.key.as_deref()), ("value", Some(&*letter.value))] {
        match bytes.map(std::str::from_utf8) {
            None => put(name, Value::Null),
            Some(Ok(text)) => put(name, text.into()),
            Some(Err(_)) => put(&format!("{name}_base64"), BASE64_STANDARD.encode(bytes.unwrap_or_default()).into()),
        }
    }
    let headers = letter.headers.iter().map(|(name, value)| json!([name, BASE64_STANDARD.encode(value)]));
    put("headers", headers.collect());
    let time = |at: Option<UnixMs>| at.map_or(Value::Null, |at| at.to_string().into());
    put("failed_at", letter.failed_at.to_string().into());
    put("attempts", letter.attempts.into());
    put("next_retry_at", time(letter.next_retry_at));
    put("resolved_at", time(letter.resolved_at));
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text_where_a_terminal_can_take_them() {
        assert_eq!(readable("ä {\n}".as_bytes()), "ä {\n}");
        assert_eq!(readable(b"\x1b[2J"), "base64 G1sySg==");
        assert_eq!(readable(&[0xff]), "base64 /w==");
    }
}
