//! What must be stored, told from what a killed process had said: which slots it checked, in which order, and from which sequence
//! number on its results were durable. With `-v` each record is told before it is handed on, and each commit of the queue after it.

use crate::tables::{self, Row};
use model::UnixMs;
use model::slot::Slots;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use testkit::Output;

/// The arguments with which a process tells what the ledger needs.
pub const TALKATIVE: [&str; 4] = ["run", "-v", "--log-format", "json"];

/// Target and slot: with one location the identity of a result.
pub type Identity = (String, String);

/// All that the processes over one queue said, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By sequence number: what the queue holds or has held.
    durable: Vec<Identity>,
    /// Every result below this was acknowledged.
    acknowledged: usize,
    acknowledgements: usize,
}

impl Ledger {
    /// Takes note of what one process said and of the queue that it left.
    ///
    /// Its results have sequence numbers in the order in which they were checked. What it was killed between committing and telling
    /// is durable and was not acknowledged.
    pub fn add(&mut self, output: &Output, queue: &Path) {
        let lines = output.stderr.lines().filter_map(|line| serde_json::from_str::<Row>(line).ok());
        let mut checked = Vec::new();
        for line in lines {
            match line.get("message").and_then(Value::as_str) {
                Some("checked") => checked.push((text(&line, "id"), text(&line, "due_at"))),
                Some("results are durable") => {
                    assert!(number(&line["first"]) >= self.acknowledged, "numbers only grow: {line:?}");
                    self.acknowledged = number(&line["next"]);
                    self.acknowledgements += 1;
                }
                _ => {}
            }
        }
        let next = counted(queue);
        assert!(self.acknowledged <= next, "acknowledged up to {}, the queue counts {next}", self.acknowledged);
        let durable = next - self.durable.len();
        assert!(durable <= checked.len(), "{durable} durable, only {} checked\n{output}", checked.len());
        self.durable.extend(checked.into_iter().take(durable));
    }

    /// How many results were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// In how many commits.
    pub fn acknowledgements(&self) -> usize {
        self.acknowledgements
    }

    /// After a start and a stop in good order: everything acknowledged is stored, once, at its slot, and nothing else is.
    /// Otherwise what is wrong.
    pub fn verify(&self, store: &Path) -> Result<(), String> {
        let rows = tables::select(store, "select target, due_at, interval_ms from results");
        let stored: Vec<Identity> = rows.iter().map(|row| (text(row, "target"), text(row, "due_at"))).collect();
        let unique: BTreeSet<_> = stored.iter().cloned().collect();
        let wanted: BTreeSet<_> = self.durable.iter().cloned().collect();
        let next = tables::value(store, "select sum(next) from offsets");
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        let lost: Vec<_> = wanted.difference(&unique).collect();
        must(lost.is_empty(), format!("{} lost: {:?}", lost.len(), lost.first()));
        let more: Vec<_> = unique.difference(&wanted).collect();
        must(more.is_empty(), format!("{} stored that never were durable: {:?}", more.len(), more.first()));
        must(unique.len() == stored.len(), format!("{} stored twice", stored.len() - unique.len()));
        must(number(&next) == self.durable.len(), format!("read up to {next}, durable up to {}", self.durable.len()));
        let off: Vec<_> = rows.iter().filter(|row| !is_slot(row)).collect();
        must(off.is_empty(), format!("{} not at a slot: {:?}", off.len(), off.first()));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

/// How far a queue has counted, that nobody is using.
pub fn counted(queue: &Path) -> usize {
    let sql = "select max(next, coalesce((select max(first + count) from batches), 0)) from queue";
    number(&tables::value(queue, sql))
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_i64().unwrap()).unwrap()
}

/// Whether a result is of one of its target's slots.
pub fn is_slot(row: &Row) -> bool {
    let due_at: UnixMs = text(row, "due_at").parse().unwrap();
    let interval = u32::try_from(row["interval_ms"].as_i64().unwrap()).unwrap();
    Slots::new(&text(row, "target"), "test", interval).current(due_at) == due_at
}

fn text(row: &Row, key: &str) -> String {
    row[key].as_str().unwrap().to_owned()
}
