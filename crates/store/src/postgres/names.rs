//! Names and rarely changing facts, by small numbers: what makes a row of `checks` a hundred bytes instead of six hundred.
//!
//! Numbers are given out by statements that are transactions of their own, before the rows that use them: what is remembered
//! here was committed, whatever becomes of the rows. The memory ends with the connection, since behind the next one there may be
//! a server that has forgotten some (a replica that took over).

use super::{
    columns::{Ids, Time},
    error::Fault,
};
use crate::facts::digest;
use model::{
    UnixMs,
    mark::{ByMark, Mark, Marked, Marks},
    record::Record,
};
use std::collections::{BTreeMap, HashMap};
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
    /// Where in `known` a target stands: it is looked for once a record.
    targets: ByMark<usize>,
    known: Vec<Target>,
    locations: ByMark<i32>,
    facts: ByMark<i32>,
}

/// What is known of a row of `targets`.
#[derive(Clone, Copy, Debug)]
struct Target {
    id: i32,
    /// It is called as by a result that was due then.
    as_of: UnixMs,
    /// What the table says: `as_of`, or up to an hour less.
    saved_as_of: UnixMs,
    /// Whether `as_of` is known, and not only what the table says.
    sure: bool,
    /// What it is called.
    names: Mark,
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Names {
    /// The numbers of each record. Looks up what is not known, gives out what there is not, and lets the latest result name its
    /// target.
    pub async fn learn(&mut self, client: &Client, records: &[&Marked]) -> Result<Vec<Ids>, Fault> {
        if self.facts.len() >= MOST_FACTS {
            self.facts.clear();
        }
        // Side by side, once: the records lie scattered, and waiting for each of them would cost more than the look-ups.
        let marks: Vec<Marks> = records.iter().map(|record| *record.marks()).collect();
        let locations = self.learn_locations(client, records, &marks).await?;
        let facts = self.learn_facts(client, records, &marks).await?;
        let places = self.learn_targets(client, records, &marks).await?;
        self.settle_doubts(client, records, &marks, &places).await?;
        self.rename(client, records, &marks, &places).await?;
        let targets = places.into_iter().map(|place| self.known[place].id);
        let ids = targets.zip(locations).zip(facts);
        Ok(ids.map(|((target, location), facts)| Ids { target, location, facts }).collect())
    }

    /// What is known of the targets' latest results may be outdated: another writer had them for a while.
    pub fn doubt(&mut self) {
        self.known.iter_mut().for_each(|target| target.sure = false);
    }

    /// The numbers of the records' locations.
    async fn learn_locations(
        &mut self,
        client: &Client,
        records: &[&Marked],
        marks: &[Marks],
    ) -> Result<Vec<i32>, Fault> {
        let known = known(&self.locations, marks, |marks| marks.location);
        let mut unknown: BTreeMap<&str, Mark> = BTreeMap::new();
        for record in without(&known, records) {
            unknown.insert(record.location.as_str(), record.marks().location);
        }
        for give_out in [false, true] {
            if unknown.is_empty() {
                break;
            }
            let names: Vec<_> = unknown.keys().copied().collect();
            let names: Parameter<'_> = (&names, Type::TEXT_ARRAY);
            if give_out {
                let insert = "insert into locations (location) select * from unnest($1) on conflict do nothing";
                client.execute_typed(insert, std::slice::from_ref(&names)).await?;
            }
            let query = "select id, location from locations where location = any($1)";
            for row in client.query_typed(query, &[names]).await? {
                if let Some(mark) = unknown.remove(row.try_get::<_, &str>(1)?) {
                    self.locations.insert(mark, row.try_get(0)?);
                }
            }
        }
        all(&self.locations, marks, known, |marks| marks.location)
    }

    /// Where in `known` the records' targets stand.
    async fn learn_targets(
        &mut self,
        client: &Client,
        records: &[&Marked],
        marks: &[Marks],
    ) -> Result<Vec<usize>, Fault> {
        let known = known(&self.targets, marks, |marks| marks.target);
        // In the order of their ids: two writers that insert the same ones never wait for each other in a circle.
        let mut unknown: BTreeMap<&str, &Marked> = BTreeMap::new();
        for record in without(&known, records) {
            unknown.entry(record.target.as_str()).or_insert(record);
        }
        for give_out in [false, true] {
            if unknown.is_empty() {
                break;
            }
            if give_out {
                insert_targets(client, unknown.values().map(|record| &***record)).await?;
            }
            let names: Vec<_> = unknown.keys().copied().collect();
            let query = r#"select id, as_of, name, "group", url, target from targets where target = any($1)"#;
            for row in client.query_typed(query, &[(&names, Type::TEXT_ARRAY)]).await? {
                let Time(as_of) = row.try_get(1)?;
                let names = Mark::of_names(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
                let Some(record) = unknown.remove(row.try_get::<_, &str>(5)?) else { continue };
                let target = Target { id: row.try_get(0)?, as_of, saved_as_of: as_of, sure: false, names };
                self.targets.insert(record.marks().target, self.known.len());
                self.known.push(target);
            }
        }
        all(&self.targets, marks, known, |marks| marks.target)
    }

    /// The numbers of the records' facts.
    async fn learn_facts(&mut self, client: &Client, records: &[&Marked], marks: &[Marks]) -> Result<Vec<i32>, Fault> {
        let known = known(&self.facts, marks, |marks| marks.facts);
        let mut unknown: BTreeMap<_, &Marked> = BTreeMap::new();
        for record in without(&known, records) {
            unknown.insert(digest(record, &[record.retransmits]), record);
        }
        for give_out in [false, true] {
            if unknown.is_empty() {
                break;
            }
            let digests: Vec<&[u8]> = unknown.keys().map(|digest| &digest[..]).collect();
            if give_out {
                insert_facts(client, &digests, unknown.values().map(|record| &***record)).await?;
            }
            let query = "select id, digest from facts where digest = any($1)";
            for row in client.query_typed(query, &[(&digests, Type::BYTEA_ARRAY)]).await? {
                if let Some(record) = unknown.remove(row.try_get::<_, &[u8]>(1)?) {
                    self.facts.insert(record.marks().facts, row.try_get(0)?);
                }
            }
        }
        all(&self.facts, marks, known, |marks| marks.facts)
    }

    /// Before a target is renamed for the first time on this connection: finds out whether there is a later result than the
    /// table says. Only then, since it reads an hour or two of `checks`.
    async fn settle_doubts(
        &mut self,
        client: &Client,
        records: &[&Marked],
        marks: &[Marks],
        places: &[usize],
    ) -> Result<(), Fault> {
        let mut doubts: BTreeMap<i64, HashMap<i32, usize>> = BTreeMap::new();
        for ((record, marks), place) in records.iter().zip(marks).zip(places) {
            let target = &self.known[*place];
            if !target.sure && marks.names != target.names && record.due_at > target.as_of {
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

    /// Takes the records' names for the targets', where a record is later than all before.
    async fn rename(
        &mut self,
        client: &Client,
        records: &[&Marked],
        marks: &[Marks],
        places: &[usize],
    ) -> Result<(), Fault> {
        let mut latest: BTreeMap<i32, &Record> = BTreeMap::new();
        for ((record, marks), place) in records.iter().zip(marks).zip(places) {
            let target = &mut self.known[*place];
            if record.due_at <= target.as_of {
                continue;
            }
            target.as_of = record.due_at;
            if marks.names != target.names || target.as_of.0 - target.saved_as_of.0 > AS_OF_MS {
                target.names = marks.names;
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

/// What is known of each record.
fn known<T: Copy>(memory: &ByMark<T>, marks: &[Marks], mark: fn(&Marks) -> Mark) -> Vec<Option<T>> {
    marks.iter().map(|marks| memory.get(&mark(marks)).copied()).collect()
}

/// The records of which it is not.
fn without<'r, T>(known: &[Option<T>], records: &[&'r Marked]) -> impl Iterator<Item = &'r Marked> {
    records.iter().zip(known).filter(|(_, known)| known.is_none()).map(|(record, _)| *record)
}

/// What was known, and for the others what has been learnt since.
fn all<T: Copy>(
    memory: &ByMark<T>,
    marks: &[Marks],
    known: Vec<Option<T>>,
    mark: fn(&Marks) -> Mark,
) -> Result<Vec<T>, Fault> {
    let of = |(marks, known): (&Marks, Option<T>)| known.or_else(|| memory.get(&mark(marks)).copied());
    let gone = || Fault::Passing("names that were just stored are gone again".to_owned());
    marks.iter().zip(known).map(of).collect::<Option<_>>().ok_or_else(gone)
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
