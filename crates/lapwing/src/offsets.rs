//! `lapwing db offsets`: how far each partition is stored, and where reading goes on. The way out when a topic was created anew, or
//! when brokers have lost records.

use crate::{
    cli::{OffsetsArgs, Shared},
    exit::{self, Exit},
    opening,
    reload::Source as ConfigSource,
};
use anyhow::Context;
use config::Config;
use model::batch::Source;
use serde_json::json;
use std::{
    fmt::Write as _,
    io::{self, BufRead, IsTerminal},
    process::ExitCode,
};
use store::{Store, StoredOffset};
use tokio_util::sync::CancellationToken;

pub fn db_offsets(shared: &Shared, args: &OffsetsArgs) -> Result<ExitCode, Exit> {
    let config = ConfigSource::of(shared).load().map_err(Exit::usage)?;
    let wishes = args.set.iter().map(|text| Wish::parse(text)).collect::<Result<Vec<_>, _>>().map_err(Exit::usage)?;
    opening::with_store(&config.store, opening::beside(), async |store, stop| {
        if wishes.is_empty() {
            show(store, args.json).await
        } else {
            set(store, &config, &wishes, args.yes, stop).await
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show(store: &mut Store, as_json: bool) -> Result<(), Exit> {
    let stored = store.offsets().await.map_err(Exit::failed)?;
    let mut text = String::new();
    if !as_json {
        text = format!("{:<32} {:>9} {:>14}  topic id or queue id\n", "topic", "partition", "next offset");
    }
    for StoredOffset { source: Source { log, name, partition }, next } in stored {
        let written = if as_json {
            let line = json!({"topic": &*name, "partition": partition, "next": next, "log": &*log});
            writeln!(text, "{line}")
        } else {
            writeln!(text, "{name:<32} {partition:>9} {next:>14}  {log}")
        };
        written.context("write to memory")?;
    }
    exit::print(&text)
}

/// `0=4711`, `all=earliest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    /// `None`: all.
    partition: Option<i32>,
    to: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Earliest,
    Latest,
    Offset(i64),
}

impl Wish {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("--set: {text:?} is none of PARTITION=OFFSET, like 0=4711, 0=earliest, 0=latest or all=earliest")
        };
        let (partition, to) = text.split_once('=').ok_or_else(wrong)?;
        let number = |text: &str| text.parse().ok().filter(|n| *n >= 0);
        let partition = match partition {
            "all" => None,
            one => Some(number(one).and_then(|n| i32::try_from(n).ok()).ok_or_else(wrong)?),
        };
        let to = match to {
            "earliest" => To::Earliest,
            "latest" => To::Latest,
            offset => To::Offset(number(offset).ok_or_else(wrong)?),
        };
        Ok(Self { partition, to })
    }
}

/// A partition, where the store stands in it, and where it is to go on.
#[derive(Clone, Debug)]
struct Change {
    source: Source,
    from: Option<i64>,
    to: i64,
}

#[cfg(feature = "kafka")]
async fn set(
    store: &mut Store,
    config: &Config,
    wishes: &[Wish],
    yes: bool,
    stop: &CancellationToken,
) -> Result<(), Exit> {
    let Some(kafka) = &config.kafka else {
        return Err(Exit::usage("--set: the configuration has no section `kafka`, so there is no topic to read on in"));
    };
    let topic = bus::kafka::look(kafka, stop)
        .await
        .map_err(Exit::failed)?
        .ok_or_else(|| Exit::failure("lapwing: stopped before Kafka answered"))?;
    let stored = store.offsets().await.map_err(Exit::failed)?;
    let mut changes = Vec::new();
    for wish in wishes {
        let before = changes.len();
        for partition in &topic.partitions {
            if wish.partition.is_some_and(|wanted| wanted != partition.source.partition) {
                continue;
            }
            let to = match wish.to {
                To::Earliest => partition.first,
                To::Latest => partition.end,
                To::Offset(to) if (partition.first..=partition.end).contains(&to) => to,
                To::Offset(to) => {
                    return Err(Exit::usage(format!(
                        "--set: {to} is not in {}/{}, which has records from {} up to {}",
                        kafka.topic, partition.source.partition, partition.first, partition.end
                    )));
                }
            };
            let from = stored.iter().find(|stored| stored.source == partition.source).map(|stored| stored.next);
            changes.push(Change { source: partition.source.clone(), from, to });
        }
        if changes.len() == before {
            let count = topic.partitions.len();
            return Err(Exit::usage(format!("--set: {} has partitions 0 to {}", kafka.topic, count.saturating_sub(1))));
        }
    }
    confirm(&changes, yes)?;
    for Change { source, to, .. } in &changes {
        store.set_offset(source, *to).await.map_err(Exit::failed)?;
    }
    Ok(())
}

#[cfg(not(feature = "kafka"))]
async fn set(_: &mut Store, _: &Config, _: &[Wish], _: bool, _: &CancellationToken) -> Result<(), Exit> {
    Err(Exit::usage("--set: this lapwing was built without Kafka (cargo feature `kafka`)"))
}

/// Says what will change, and asks a person, if there is one.
fn confirm(changes: &[Change], yes: bool) -> Result<(), Exit> {
    for Change { source: Source { name, partition, .. }, from, to } in changes {
        let from = from.map_or("not read yet".to_owned(), |from| from.to_string());
        exit::tell(&format!("{name}/{partition}: {from} -> {to}"));
    }
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Exit::usage("--set: nobody is there to ask; say --yes if that is what you want"));
    }
    exit::tell("Read on there? Type yes:");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Exit::usage("nothing was changed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_names_a_partition_and_where_to_go_on() {
        let parsed = |text| Wish::parse(text).map(|wish| (wish.partition, wish.to));
        assert_eq!(parsed("0=4711"), Ok((Some(0), To::Offset(4711))));
        assert_eq!(parsed("12=latest"), Ok((Some(12), To::Latest)));
        assert_eq!(parsed("all=earliest"), Ok((None, To::Earliest)));
        for wrong in ["", "0", "=1", "x=1", "0=", "0=-1", "-1=0", "0=soon"] {
            assert!(parsed(wrong).is_err_and(|why| why.contains("PARTITION=OFFSET")), "{wrong}");
        }
    }
}
