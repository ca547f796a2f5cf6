//! What has happened, as the topic and the database tell it, and whether it may be.

use super::super::stage::{Role, Stage, as_row, present};
use crate::ledger::counted;
use crate::tables::{self, Row};
use std::collections::{BTreeMap, BTreeSet};
use testkit::OnWire;
use tokio::task::block_in_place;

/// Partition and offset.
type Place = (i64, i64);

/// Target, location and slot.
type Identity = [String; 3];

#[derive(Clone)]
pub struct History {
    /// All that is in the topic, each partition's in their order.
    pub records: Vec<OnWire>,
    /// What else is in it, by partition and offset.
    pub poison: Vec<Place>,
    pub rows: Vec<Row>,
    /// Where the dead letters came from, and those in the dead topic.
    pub letters: Vec<Place>,
    pub copies: Vec<Place>,
    /// How far each queue has counted.
    pub queues: BTreeMap<String, i64>,
}

impl History {
    /// After everything in the topic was stored, and the probers were stopped in good order.
    pub async fn of(stage: &Stage, records: Vec<OnWire>, probers: &[&Role]) -> Self {
        let letters = stage.select("select partition, \"offset\" from dead_letters").await;
        let letters = letters.iter().map(|row| ["partition", "offset"].map(|key| row[key].as_i64().unwrap()).into());
        let copies = stage.dead_topic().all();
        let copies = copies.iter().map(|copy| ["partition", "offset"].map(|name| dead_header(copy, name)).into());
        let (records, others): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| !is_poison(record));
        let poison = others.iter().map(|record| (record.partition.into(), record.offset)).collect();
        let (letters, copies) = (letters.collect(), copies.collect());
        let queues = block_in_place(|| probers.iter().map(|prober| queue(prober)).collect());
        Self { records, poison, rows: rows(stage).await, letters, copies, queues }
    }

    /// Every result that a queue has held is in the topic, and each identity in the topic is one row, that of its first record. What
    /// is no result is one letter, and has a copy in the dead topic. Otherwise what is wrong.
    pub fn verify(&self) -> Result<(), String> {
        let mut wrong = self.never_came();
        let mut firsts: BTreeMap<Identity, Row> = BTreeMap::new();
        for row in self.records.iter().map(as_row) {
            firsts.entry(identity(&row)).or_insert(row);
        }
        let mut rows: BTreeMap<Identity, Row> = BTreeMap::new();
        rows.extend(self.rows.iter().map(|row| (identity(row), present(row))));
        let mut must_be_none = |what: &str, found: Vec<String>| {
            if let Some(first) = found.first() {
                wrong.push(format!("{} {what}, such as {first}", found.len()));
            }
        };
        let missing = |of: &BTreeMap<Identity, Row>, among: &BTreeMap<Identity, Row>| {
            of.keys().filter(|identity| !among.contains_key(*identity)).map(|i| format!("{i:?}")).collect()
        };
        must_be_none("lost", missing(&firsts, &rows));
        must_be_none("rows of no record", missing(&rows, &firsts));
        let mut seen = BTreeSet::new();
        let again = self.rows.iter().map(identity).filter(|identity| !seen.insert(identity.clone()));
        must_be_none("rows too many", again.map(|identity| format!("{identity:?}")).collect());
        let other = rows.iter().filter(|(identity, row)| firsts.get(*identity).is_some_and(|first| first != *row));
        let other = other.map(|(identity, row)| format!("{} instead of {}", json(row), json(&firsts[identity])));
        must_be_none("not as its first record", other.collect());
        // A machine that can't keep up may say so of itself, not of the sites: they are well.
        let ill = rows.values().filter(|row| row["verdict"] != "up" && row["verdict"] != "unknown");
        must_be_none("not up", ill.map(json).collect());
        let mut letters = self.letters.clone();
        letters.sort_unstable();
        if letters != self.poison {
            wrong.push(format!("{} dead letters of {} records that are no results", letters.len(), self.poison.len()));
        }
        let (letters, copies): (BTreeSet<_>, BTreeSet<_>) = (letters.iter().collect(), self.copies.iter().collect());
        if letters != copies {
            wrong.push(format!("{} letters, and copies of {}", letters.len(), copies.len()));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Each number that a queue has given is in the topic, once or several times.
    fn never_came(&self) -> Vec<String> {
        let mut came: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for (queue, n) in self.records.iter().map(OnWire::sequence) {
            came.entry(queue).or_default().insert(n);
        }
        let mut wrong = Vec::new();
        for (queue, counted) in &self.queues {
            let came = came.remove(queue).unwrap_or_default();
            let missing: Vec<_> = (0..*counted).filter(|n| !came.contains(n)).collect();
            if let Some(first) = missing.first() {
                wrong.push(format!("of queue {queue} {} never came: {first}", missing.len()));
            }
            if let Some(more) = came.range(counted..).next() {
                wrong.push(format!("queue {queue} has counted to {counted}, and {more} came"));
            }
        }
        wrong.extend(came.keys().map(|queue| format!("queue {queue} is nobody's")));
        wrong
    }
}

/// What is in the view.
pub async fn rows(stage: &Stage) -> Vec<Row> {
    stage.select("select * from results").await
}

/// Who the queue of a prober is, and how far it has counted.
fn queue(prober: &Role) -> (String, i64) {
    let file = prober.at.queue();
    let id = tables::value(&file, "select id from queue");
    (id.as_str().unwrap().to_owned(), counted(&file) as i64)
}

/// Records that are no results, as the test puts them.
pub const POISON: &[u8] = b"poison";

fn is_poison(record: &OnWire) -> bool {
    record.value.as_deref() == Some(POISON)
}

/// Where a copy says that its letter came from.
fn dead_header(copy: &OnWire, part: &str) -> i64 {
    let name = format!("lapwing-dead-{part}");
    let (_, value) = copy.headers.iter().find(|(header, _)| *header == name).unwrap();
    String::from_utf8(value.clone().unwrap()).unwrap().parse().unwrap()
}

fn identity(row: &Row) -> Identity {
    ["target", "location", "due_at"].map(|key| row[key].as_str().unwrap().to_owned())
}

fn json(row: &Row) -> String {
    serde_json::to_string(row).unwrap()
}
