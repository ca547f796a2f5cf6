//! Names and rarely changing facts, by small numbers: what makes a row of `checks` a hundred bytes instead of six hundred.
//!
//! Numbers are given out by statements that are transactions of their own, before the rows that use them: what is remembered
//! here was committed, whatever becomes of the rows. The memory ends with the connection, since behind the next one there may be
//! a server that has forgotten some (a replica that took over).

use super::{
    columns::{Ids, Time},
    error::Fault,
};
use crate::facts::{Mark, Marker, digest};
use model::{Location, TargetId, UnixMs, record::Record};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
};
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

/// So many facts are remembered, a few for each of a hundred thousand targets. Then all are forgotten, and looked up again.
const MOST_FACTS: usize = 1 << 18;
/// A target's `as_of` is written when it is older than this: not with every check.
const AS_OF_MS: i64 = 3_600_000;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// Where in `known` a target stands: it is looked for once a record, which costs more than all else that is done with it.
    targets: HashMap<TargetId, usize>,
    known: Vec<Target>,
    locations: HashMap<Location, i32>,
    facts: HashMap<Mark, i32>,
    hasher: RandomState,
    marker: Marker,
}

/// What is known of a row of `targets`.
#[derive(Clone, Copy, Debug)]
struct Target {
    id: i32,
    /// The texts are those of a result that was due then.
    as_of: UnixMs,
    /// What the table says: `as_of`, or up to an hour less.
    saved_as_of: UnixMs,
    /// Whether `as_of` is known, and not only what the table says.
    sure: bool,
    /// A hash of the texts.
    texts: u64,
}

type Texts<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn texts(record: &Record) -> Texts<'_> {
    (record.name.as_deref(), record.group.as_deref(), record.url.as_deref())
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Names {
    /// The numbers of each record. Looks up what is not known, gives out what there is not, and lets the latest result name its
    /// target.
    pub async fn learn(&mut self, client: &Client, records: &[&Record]) -> Result<Vec<Ids>, Fault> {
        if self.facts.len() >= MOST_FACTS {
            self.facts.clear();
        }
        let marks: Vec<_> = records.iter().map(|record| self.marker.mark(record)).collect();
        self.learn_locations(client, records).await?;
        let facts = self.learn_facts(client, records, &marks).await?;
        let places = self.learn_targets(client, records).await?;
        self.settle_doubts(client, records, &places).await?;
        self.rename(client, records, &places).await?;
        let mut ids = Vec::with_capacity(records.len());
        let mut last: Option<(&Location, i32)> = None;
        for ((record, place), facts) in records.iter().zip(&places).zip(facts) {
            let location = match last.filter(|(location, _)| *location == &record.location) {
                Some((_, id)) => id,
                None => *self.locations.get(&record.location).ok_or_else(gone)?,
            };
            last = Some((&record.location, location));
            ids.push(Ids { target: self.known[*place].id, location, facts });
        }
        Ok(ids)
    }

    /// What is known of the targets' latest results may be outdated: another writer had them for a while.
    pub fn doubt(&mut self) {
        self.known.iter_mut().for_each(|target| target.sure = false);
    }

    async fn learn_locations(&mut self, client: &Client, records: &[&Record]) -> Result<(), Fault> {
        let mut changes: Vec<_> = records.iter().map(|record| &record.location).collect();
        changes.dedup();
        let unknown = changes.into_iter().filter(|location| !self.locations.contains_key(*location));
        let mut unknown: Vec<_> = unknown.map(Location::as_str).collect::<BTreeSet<_>>().into_iter().collect();
        for give_out in [false, true] {
            if unknown.is_empty() {
                break;
            }
            let names: Parameter<'_> = (&unknown, Type::TEXT_ARRAY);
            if give_out {
                let insert = "insert into locations (location) select * from unnest($1) on conflict do nothing";
                client.execute_typed(insert, std::slice::from_ref(&names)).await?;
            }
            let found =
                client.query_typed("select id, location from locations where location = any($1)", &[names]).await?;
            for row in found {
                let name: String = row.try_get(1)?;
                unknown.retain(|unknown| *unknown != name);
                if let Ok(location) = Location::new(&name) {
                    self.locations.insert(location, row.try_get(0)?);
                }
            }
        }
        Ok(())
    }

    /// Where in `known` the records' targets stand.
    async fn learn_targets(&mut self, client: &Client, records: &[&Record]) -> Result<Vec<usize>, Fault> {
        let places: Vec<_> = records.iter().map(|record| self.targets.get(&record.target).copied()).collect();
        // In the order of their ids: two writers that insert the same ones never wait for each other in a circle.
        let mut unknown: BTreeMap<&str, &Record> = BTreeMap::new();
        for (record, _) in records.iter().zip(&places).filter(|(_, place)| place.is_none()) {
            unknown.entry(record.target.as_str()).or_insert(record);
        }
        for give_out in [false, true] {
            if unknown.is_empty() {
                break;
            }
            if give_out {
                insert_targets(client, unknown.values().copied()).await?;
            }
            let names: Vec<_> = unknown.keys().copied().collect();
            let query = r#"select id, as_of, name, "group", url, target from targets where target = any($1)"#;
            for row in client.query_typed(query, &[(&names, Type::TEXT_ARRAY)]).await? {
                let Time(as_of) = row.try_get(1)?;
                let texts: Texts<'_> = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
                let texts = self.hasher.hash_one(texts);
                let Some(record) = unknown.remove(row.try_get::<_, &str>(5)?) else { continue };
                let target = Target { id: row.try_get(0)?, as_of, saved_as_of: as_of, sure: false, texts };
                self.targets.insert(record.target.clone(), self.known.len());
                self.known.push(target);
            }
        }
        let place =
            |(record, place): (&&Record, Option<usize>)| place.or_else(|| self.targets.get(&record.target).copied());
        records.iter().zip(places).map(place).collect::<Option<_>>().ok_or_else(gone)
    }

    /// The numbers of the records' facts.
    async fn learn_facts(&mut self, client: &Client, records: &[&Record], marks: &[Mark]) -> Result<Vec<i32>, Fault> {
        let known: Vec<_> = marks.iter().map(|mark| self.facts.get(mark).copied()).collect();
        let mut unknown: BTreeMap<_, (Mark, &Record)> = BTreeMap::new();
        for ((record, mark), _) in records.iter().zip(marks).zip(&known).filter(|(_, known)| known.is_none()) {
            unknown.insert(digest(record, &[record.retransmits]), (*mark, record));
        }
        for give_out in [false, true] {
            if unknown.is_empty() {
                break;
            }
            let digests: Vec<&[u8]> = unknown.keys().map(|digest| &digest[..]).collect();
            if give_out {
                insert_facts(client, &digests, unknown.values().map(|(_, record)| *record)).await?;
            }
            let query = "select id, digest from facts where digest = any($1)";
            for row in client.query_typed(query, &[(&digests, Type::BYTEA_ARRAY)]).await? {
                if let Some((mark, _)) = unknown.remove(row.try_get::<_, &[u8]>(1)?) {
                    self.facts.insert(mark, row.try_get(0)?);
                }
            }
        }
        let number = |(mark, known): (&Mark, Option<i32>)| known.or_else(|| self.facts.get(mark).copied());
        marks.iter().zip(known).map(number).collect::<Option<_>>().ok_or_else(gone)
    }

    /// Before a target is renamed for the first time on this connection: finds out whether there is a later result than the
    /// table says. Only then, since it reads an hour or two of `checks`.
    async fn settle_doubts(&mut self, client: &Client, records: &[&Record], places: &[usize]) -> Result<(), Fault> {
        let mut doubts: BTreeMap<i64, HashMap<i32, usize>> = BTreeMap::new();
        for (record, place) in records.iter().zip(places) {
            let target = &self.known[*place];
            if !target.sure && record.due_at > target.as_of && self.hasher.hash_one(texts(record)) != target.texts {
                let hour = target.as_of.0.div_euclid(AS_OF_MS);
                doubts.entry(hour).or_default().insert(target.id, *place);
            }
        }
        for (hour, targets) in doubts {
            let ids: Vec<_> = targets.keys().copied().collect();
            let (from, to) = (Time(UnixMs(hour * AS_OF_MS)), Time(UnixMs((hour + 2) * AS_OF_MS)));
            let query = "select target, max(due_at) from checks
                         where due_at >= $1 and due_at < $2 and target = any($3) group by target";
            let times: [Parameter<'_>; 3] =
                [(&from, Type::TIMESTAMPTZ), (&to, Type::TIMESTAMPTZ), (&ids, Type::INT4_ARRAY)];
            for row in client.query_typed(query, &times).await? {
                let Time(latest) = row.try_get(1)?;
                if let Some(place) = targets.get(&row.try_get(0)?) {
                    let target = &mut self.known[*place];
                    target.as_of = target.as_of.max(latest);
                }
            }
            for place in targets.values() {
                self.known[*place].sure = true;
            }
        }
        Ok(())
    }

    /// Takes the records' texts for the targets', where a record is later than all before.
    async fn rename(&mut self, client: &Client, records: &[&Record], places: &[usize]) -> Result<(), Fault> {
        let mut latest: BTreeMap<i32, &Record> = BTreeMap::new();
        for (record, place) in records.iter().zip(places) {
            let target = &mut self.known[*place];
            if record.due_at <= target.as_of {
                continue;
            }
            let hash = self.hasher.hash_one(texts(record));
            target.as_of = record.due_at;
            if hash != target.texts || target.as_of.0 - target.saved_as_of.0 > AS_OF_MS {
                target.texts = hash;
                target.saved_as_of = record.due_at;
                latest.insert(target.id, record);
            }
        }
        if latest.is_empty() {
            return Ok(());
        }
        let renamed = update_targets(client, &latest).await;
        if renamed.is_err() {
            // What was taken for saved is not: look again.
            self.targets.clear();
            self.known.clear();
        }
        renamed
    }
}

fn gone() -> Fault {
    Fault::Passing("names that were just stored are gone again".to_owned())
}

async fn insert_targets(client: &Client, records: impl Iterator<Item = &Record>) -> Result<(), Fault> {
    let mut ids = Vec::new();
    let (mut names, mut groups, mut urls, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in records {
        ids.push(record.target.as_str());
        names.push(record.name.as_deref());
        groups.push(record.group.as_deref());
        urls.push(record.url.as_deref());
        times.push(Time(record.due_at));
    }
    let insert = r#"insert into targets (target, name, "group", url, as_of)
                    select * from unnest($1, $2, $3, $4, $5) on conflict do nothing"#;
    let columns: [Parameter<'_>; 5] = [
        (&ids, Type::TEXT_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&groups, Type::TEXT_ARRAY),
        (&urls, Type::TEXT_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
    ];
    client.execute_typed(insert, &columns).await?;
    Ok(())
}

async fn update_targets(client: &Client, latest: &BTreeMap<i32, &Record>) -> Result<(), Fault> {
    let ids: Vec<_> = latest.keys().copied().collect();
    let names: Vec<_> = latest.values().map(|record| record.name.as_deref()).collect();
    let groups: Vec<_> = latest.values().map(|record| record.group.as_deref()).collect();
    let urls: Vec<_> = latest.values().map(|record| record.url.as_deref()).collect();
    let times: Vec<_> = latest.values().map(|record| Time(record.due_at)).collect();
    let update = r#"update targets set name = new.name, "group" = new."group", url = new.url, as_of = new.as_of
                    from unnest($1, $2, $3, $4, $5) as new (id, name, "group", url, as_of)
                    where targets.id = new.id and targets.as_of < new.as_of"#;
    let columns: [Parameter<'_>; 5] = [
        (&ids, Type::INT4_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&groups, Type::TEXT_ARRAY),
        (&urls, Type::TEXT_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
    ];
    client.execute_typed(update, &columns).await?;
    Ok(())
}

async fn insert_facts<'a>(
    client: &Client,
    digests: &[&[u8]],
    records: impl Iterator<Item = &'a Record>,
) -> Result<(), Fault> {
    let records: Vec<_> = records.collect();
    let text = |of: fn(&'a Record) -> Option<&'a str>| records.iter().map(|record| of(record)).collect::<Vec<_>>();
    let number = |of: fn(&Record) -> Option<i32>| records.iter().map(|record| of(record)).collect::<Vec<_>>();
    let time = |of: fn(&model::record::RecordTls) -> Option<UnixMs>| {
        records.iter().map(|record| record.tls.as_ref().and_then(of).map(Time)).collect::<Vec<_>>()
    };
    let insert =
        "insert into facts (digest, interval_ms, attempts, status, redirects, retransmits, verdict, reason, phase,
                      http, peer, final_url, tls_version, tls_issuer, tls_subject, tls_not_before, tls_not_after)
                  select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
                  on conflict do nothing";
    client
        .execute_typed(
            insert,
            &[
                (&digests, Type::BYTEA_ARRAY),
                (&number(|r| r.interval_ms), Type::INT4_ARRAY),
                (&number(|r| r.attempts), Type::INT4_ARRAY),
                (&number(|r| r.status), Type::INT4_ARRAY),
                (&number(|r| r.redirects), Type::INT4_ARRAY),
                (&number(|r| r.retransmits), Type::INT4_ARRAY),
                (&text(|r| Some(r.verdict.word())), Type::TEXT_ARRAY),
                (&text(|r| r.reason.as_deref()), Type::TEXT_ARRAY),
                (&text(|r| r.phase.as_deref()), Type::TEXT_ARRAY),
                (&text(|r| r.http.as_deref()), Type::TEXT_ARRAY),
                (&text(|r| r.peer.as_deref()), Type::TEXT_ARRAY),
                (&text(|r| r.final_url.as_deref()), Type::TEXT_ARRAY),
                (&text(|r| r.tls.as_ref()?.version.as_deref()), Type::TEXT_ARRAY),
                (&text(|r| r.tls.as_ref()?.issuer.as_deref()), Type::TEXT_ARRAY),
                (&text(|r| r.tls.as_ref()?.subject.as_deref()), Type::TEXT_ARRAY),
                (&time(|tls| tls.not_before), Type::TIMESTAMPTZ_ARRAY),
                (&time(|tls| tls.not_after), Type::TIMESTAMPTZ_ARRAY),
            ],
        )
        .await?;
    Ok(())
}
