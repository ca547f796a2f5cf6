//! `lapwing db migrate|status|prune`: the database, for people who look after it.

use crate::{
    cli::{PruneArgs, Shared, StatusArgs},
    exit::{self, Exit},
    opening,
    reload::Source,
};
use anyhow::Context;
use config::Config;
use model::{UnixMs, text::thousands};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    process::ExitCode,
    time::{Duration, SystemTime},
};
use store::{Dead, Expired, Keep, Partition, Rows, Settings, Status, Step, Store, StoredOffset};
use tokio::time::sleep;

/// Before another process that keeps the house is asked again.
const ELSEWHERE: Duration = Duration::from_secs(2);

pub fn migrate(shared: &Shared) -> Result<ExitCode, Exit> {
    let config = Source::of(shared).load().map_err(Exit::usage)?;
    std::fs::create_dir_all(&config.data_dir).with_context(|| format!("make {}", config.data_dir.display()))?;
    opening::with_store(&config.store, Settings::default(), async |store, _| {
        // So that a writer who does not own the tables can begin today.
        store.make_days(&keep(&config)).await.map_err(Exit::failed)?;
        exit::print(&format!("{}: up to date\n", opening::shown(&config.store)))
    })?;
    Ok(ExitCode::SUCCESS)
}

pub fn prune(shared: &Shared, args: &PruneArgs) -> Result<ExitCode, Exit> {
    let config = Source::of(shared).load().map_err(Exit::usage)?;
    opening::with_store(&config.store, opening::beside(), async |store, stop| {
        let keep = keep(&config);
        if args.dry_run {
            return exit::print(&would_go(&store.expired(&keep).await.map_err(Exit::failed)?));
        }
        tokio::select! {
            done = prune_all(store, &keep) => done,
            () = stop.cancelled() => Err(Exit::failure("lapwing: stopped; what is left goes the next time")),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Step by step, until there is nothing more to do.
async fn prune_all(store: &mut Store, keep: &Keep) -> Result<(), Exit> {
    let (mut rows, mut shrunk, mut waits) = (0, 0, false);
    loop {
        match store.upkeep(keep).await.map_err(Exit::failed)? {
            Step::Dropped { partition, bytes } => exit::print(&format!("{partition} is dropped ({})\n", size(bytes)))?,
            Step::Indexed { partition } => exit::print(&format!("{partition} has its index by target\n"))?,
            Step::Restored { partition } => exit::print(&format!("{partition} is kept after all\n"))?,
            Step::Deleted { rows: more } => rows += more,
            Step::Shrunk { bytes } => shrunk += bytes,
            Step::Nothing => break,
            Step::NotAllowed => {
                let why = "this user does not own the tables; run it with the URL of the user who has made them";
                return Err(Exit::failure(format!("lapwing: {why}")));
            }
            Step::Elsewhere => {
                if !std::mem::replace(&mut waits, true) {
                    exit::tell("another Lapwing keeps house in this database; waiting until it is done");
                }
                sleep(ELSEWHERE).await;
            }
        }
    }
    if let Some([first, last]) = store.make_days(keep).await.map_err(Exit::failed)? {
        let [first, last] = [first, last].map(|day| day.to_string()[..10].to_owned());
        exit::print(&format!("each day from {first} to {last} has its partition\n"))?;
    }
    if rows > 0 {
        exit::print(&format!("{} results are deleted\n", thousands(rows)))?;
    }
    if shrunk > 0 {
        exit::print(&format!("the file is {} smaller\n", size(shrunk)))?;
    }
    exit::print(&format!("every result that is left was due at {} or later\n", keep.since()))
}

fn keep(config: &Config) -> Keep {
    Keep { now: now(), checks: config.retention.checks }
}

fn would_go(expired: &Expired) -> String {
    let Expired { partitions, rows, bytes, before } = expired;
    let mut text = String::new();
    for partition in partitions {
        let _ = writeln!(text, "{partition} would be dropped"); // a String takes everything
    }
    let about = if bytes.is_some() { "about " } else { "" };
    let bytes = bytes.map_or(String::new(), |bytes| format!(", {}", size(bytes)));
    text + &format!("{about}{} results, due before {before}{bytes}, would go; nothing was changed\n", thousands(*rows))
}

pub fn status(shared: &Shared, args: &StatusArgs) -> Result<ExitCode, Exit> {
    let config = Source::of(shared).load().map_err(Exit::usage)?;
    opening::with_store(&config.store, opening::beside(), async |store, _| {
        let seen = Seen {
            status: store.status().await.map_err(Exit::failed)?,
            offsets: store.offsets().await.map_err(Exit::failed)?,
            topic: topic(&config).await,
        };
        exit::print(&if args.json { seen.as_json(&config) } else { seen.as_text(&config) })
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where the topic ends, or why that is not known; `None`: there is no Kafka.
type Ends = Option<Result<Vec<(model::batch::Source, i64)>, String>>;

#[cfg(feature = "kafka")]
async fn topic(config: &Config) -> Ends {
    let kafka = config.kafka.as_ref()?;
    Some(match bus::kafka::peek(kafka).await {
        Ok(Some(topic)) => Ok(topic.partitions.into_iter().map(|p| (p.source, p.end)).collect()),
        Ok(None) => Err(format!("there is no topic {} yet", kafka.topic)),
        Err(e) => Err(e.to_string()),
    })
}

#[cfg(not(feature = "kafka"))]
async fn topic(_: &Config) -> Ends {
    None
}

struct Seen {
    status: Status,
    offsets: Vec<StoredOffset>,
    topic: Ends,
}

impl Seen {
    /// How many records a stored offset is behind; `None`: not known, or not of this topic.
    fn lag(&self, offset: &StoredOffset) -> Option<i64> {
        let ends = self.topic.as_ref()?.as_ref().ok()?;
        let (_, end) = ends.iter().find(|(source, _)| *source == offset.source)?;
        Some((end - offset.next).max(0))
    }

    /// Partitions of which nothing is stored, with how many records wait in each.
    fn unread(&self) -> impl Iterator<Item = (&model::batch::Source, i64)> {
        let ends = self.topic.as_ref().and_then(|ends| ends.as_ref().ok());
        ends.into_iter().flatten().filter_map(|(source, end)| {
            let is_stored = self.offsets.iter().any(|stored| stored.source == *source);
            (!is_stored && *end > 0).then_some((source, *end))
        })
    }

    fn as_text(&self, config: &Config) -> String {
        let Status { server_version, schema_version, bytes, rows, oldest, newest, .. } = &self.status;
        let mut text = String::new();
        let mut put = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<12} {value}"); // a String takes everything
        };
        put("store", &opening::shown(&config.store));
        put("version", &format!("{server_version}, schema {schema_version}"));
        put("size", &size(*bytes));
        put(
            "results",
            &match rows {
                Rows::Counted(n) => thousands(*n),
                Rows::About(n) => format!("about {}", thousands(*n)),
            },
        );
        if let (Some(oldest), Some(newest)) = (oldest, newest) {
            put("due", &format!("{oldest} to {newest}"));
        }
        let Status { targets, locations, facts, dead, copies, gaps, partitions, .. } = &self.status;
        put("targets", &format!("{}, from {locations} locations", thousands(*targets)));
        put("facts", &thousands(*facts));
        for Dead { reason, waiting, resolved } in dead {
            put("dead", &format!("{reason}: {} waiting, {} resolved", thousands(*waiting), thousands(*resolved)));
        }
        if dead.is_empty() {
            put("dead", "no letters");
        }
        if config.kafka.is_some() && *copies > 0 {
            put("", &format!("{} not yet in the dead topic", thousands(*copies)));
        }
        if *gaps > 0 {
            put("gaps", &format!("{} (table gaps says which records had expired)", thousands(*gaps)));
        }
        if let Some(Err(why)) = &self.topic {
            put("lag", &format!("not known: {why}"));
        }
        if !self.offsets.is_empty() || self.unread().next().is_some() {
            let _ = writeln!(text, "\n{:<32} {:>9} {:>14} {:>10}", "log", "partition", "next offset", "lag");
        }
        for offset in &self.offsets {
            let lag = self.lag(offset).map_or("-".to_owned(), |lag| lag.to_string());
            let (source, next) = (&offset.source, offset.next);
            let _ = writeln!(text, "{:<32} {:>9} {next:>14} {lag:>10}", source.name, source.partition);
        }
        for (source, end) in self.unread() {
            let _ = writeln!(text, "{:<32} {:>9} {:>14} {end:>10}", source.name, source.partition, "not read");
        }
        if !partitions.is_empty() {
            let _ = writeln!(text, "\n{:<32} {:>14} {:>14}", "day", "about rows", "size");
        }
        for Partition { name, rows, bytes, is_indexed, is_attached } in partitions {
            let note = match (is_attached, is_indexed) {
                (false, _) => "  detached",
                (true, true) => "  indexed by target",
                (true, false) => "",
            };
            let _ = writeln!(text, "{name:<32} {:>14} {:>14}{note}", thousands(*rows), size(*bytes));
        }
        text
    }

    fn as_json(&self, config: &Config) -> String {
        let status = &self.status;
        let time = |at: Option<UnixMs>| at.map_or(Value::Null, |at| at.to_string().into());
        let (rows, is_exact) = match status.rows {
            Rows::Counted(n) => (n, true),
            Rows::About(n) => (n, false),
        };
        let offsets = self.offsets.iter().map(|offset| {
            let source = &offset.source;
            json!({
                "topic": &*source.name, "partition": source.partition, "next": offset.next, "log": &*source.log,
                "lag": self.lag(offset),
            })
        });
        let unread = self.unread().map(|(source, end)| {
            json!({"topic": &*source.name, "partition": source.partition, "next": null, "log": &*source.log, "lag": end})
        });
        let partitions = status.partitions.iter().map(|p| {
            json!({"name": p.name, "rows": p.rows, "bytes": p.bytes, "indexed": p.is_indexed, "attached": p.is_attached})
        });
        let dead = status
            .dead
            .iter()
            .map(|dead| json!({"reason": dead.reason, "waiting": dead.waiting, "resolved": dead.resolved}));
        let object = json!({
            "store": opening::shown(&config.store),
            "server_version": status.server_version,
            "schema_version": status.schema_version,
            "bytes": status.bytes,
            "results": rows,
            "results_exact": is_exact,
            "oldest": time(status.oldest),
            "newest": time(status.newest),
            "targets": status.targets,
            "locations": status.locations,
            "facts": status.facts,
            "dead_letters": dead.collect::<Value>(),
            "dead_copies_waiting": status.copies,
            "gaps": status.gaps,
            "lag_unknown": self.topic.as_ref().and_then(|ends| ends.as_ref().err()),
            "offsets": offsets.chain(unread).collect::<Value>(),
            "partitions": partitions.collect::<Value>(),
        });
        format!("{object}\n")
    }
}

fn now() -> UnixMs {
    UnixMs::from_system(SystemTime::now())
}

/// For people: `12.3 MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    let scaled = bytes as f64 / f64::from(1 << (10 * (power - 1))) / 1024.0;
    format!("{scaled:.1} {}", UNITS[power as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_that_people_read() {
        let sizes = [0, 1023, 1024, 1536, 10 << 20, 3 << 30, 5 << 40, u64::MAX].map(size);
        let read = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10.0 MiB", "3.0 GiB", "5.0 TiB", "16777216.0 TiB"];
        assert_eq!(sizes, read);
    }
}
