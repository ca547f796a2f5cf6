//! Names and rarely changing facts, by small numbers: what makes a row of `checks` sixty bytes instead of six hundred.
//!
//! Numbers are remembered, so that most rows cost no look-up. What is remembered must have been committed: whoever writes lends
//! the memory to one transaction and keeps it only if that is committed.

use crate::facts::{Digest, digest};
use model::{
    TargetId, UnixMs,
    mark::{ByMark, Mark, Marked},
    record::Record,
};
use sqlx::{Row as _, SqliteConnection};

/// So many facts are remembered, a few for each of a hundred thousand targets. Then all are forgotten, and looked up again.
const MOST_FACTS: usize = 1 << 18;
/// A target's `as_of` is written when it is older than this: not with every check.
const AS_OF_MS: i64 = 3_600_000;

/// The numbers of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub target: i64,
    pub location: i64,
    pub facts: i64,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    targets: ByMark<Target>,
    locations: ByMark<i64>,
    facts: ByMark<i64>,
}

/// What is known of a row of `targets`.
#[derive(Clone, Copy, Debug)]
struct Target {
    id: i64,
    /// It is called as by a result that was due then, or of one up to an hour later that an earlier process has seen.
    as_of: UnixMs,
    /// What the table says.
    saved_as_of: UnixMs,
    /// What it is called.
    names: Mark,
}

type Texts<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

impl Names {
    pub async fn ids(&mut self, sql: &mut SqliteConnection, record: &Marked) -> sqlx::Result<Ids> {
        Ok(Ids {
            target: self.target(sql, record).await?,
            location: self.location(sql, record).await?,
            facts: self.facts(sql, record).await?,
        })
    }

    async fn location(&mut self, sql: &mut SqliteConnection, record: &Marked) -> sqlx::Result<i64> {
        let (mark, location) = (record.marks().location, &record.location);
        if let Some(id) = self.locations.get(&mark) {
            return Ok(*id);
        }
        let found = sqlx::query("select id from locations where location = ?");
        let id = match found.bind(location.as_str()).fetch_optional(&mut *sql).await? {
            Some(row) => row.try_get(0)?,
            None => {
                let insert = sqlx::query("insert into locations (location) values (?)");
                insert.bind(location.as_str()).execute(sql).await?.last_insert_rowid()
            }
        };
        self.locations.insert(mark, id);
        Ok(id)
    }

    async fn target(&mut self, sql: &mut SqliteConnection, record: &Marked) -> sqlx::Result<i64> {
        let mut target = match self.targets.get(&record.marks().target) {
            Some(known) => *known,
            None => match self.read_target(sql, &record.target).await? {
                Some(found) => found,
                None => self.insert_target(sql, record).await?,
            },
        };
        if record.due_at > target.as_of {
            let names = record.marks().names;
            if names != target.names && update_texts(sql, target.id, record).await? {
                target.names = names;
                target.saved_as_of = record.due_at;
            }
            target.as_of = record.due_at;
            if target.as_of.0 - target.saved_as_of.0 > AS_OF_MS {
                save_as_of(sql, &target).await?;
                target.saved_as_of = target.as_of;
            }
        }
        let id = target.id;
        self.targets.insert(record.marks().target, target);
        Ok(id)
    }

    async fn read_target(&self, sql: &mut SqliteConnection, target: &TargetId) -> sqlx::Result<Option<Target>> {
        let query = sqlx::query(r#"select id, as_of, name, "group", url from targets where target = ?"#);
        let Some(row) = query.bind(target.as_str()).fetch_optional(sql).await? else { return Ok(None) };
        let names = Mark::of_names(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let as_of = UnixMs(row.try_get(1)?);
        Ok(Some(Target { id: row.try_get(0)?, as_of, saved_as_of: as_of, names }))
    }

    async fn insert_target(&self, sql: &mut SqliteConnection, record: &Marked) -> sqlx::Result<Target> {
        let (name, group, url) = texts(record);
        let insert = sqlx::query(r#"insert into targets (target, name, "group", url, as_of) values (?, ?, ?, ?, ?)"#);
        let insert = insert.bind(record.target.as_str()).bind(name).bind(group).bind(url).bind(record.due_at.0);
        let id = insert.execute(sql).await?.last_insert_rowid();
        Ok(Target { id, as_of: record.due_at, saved_as_of: record.due_at, names: record.marks().names })
    }

    async fn facts(&mut self, sql: &mut SqliteConnection, record: &Marked) -> sqlx::Result<i64> {
        let mark = record.marks().facts;
        if let Some(id) = self.facts.get(&mark) {
            return Ok(*id);
        }
        let digest = digest(record, &[]);
        let found = sqlx::query("select id from facts where digest = ?");
        let id = match found.bind(&digest[..]).fetch_optional(&mut *sql).await? {
            Some(row) => row.try_get(0)?,
            None => insert_facts(sql, record, &digest).await?,
        };
        if self.facts.len() >= MOST_FACTS {
            self.facts.clear();
        }
        self.facts.insert(mark, id);
        Ok(id)
    }
}

fn texts(record: &Record) -> Texts<'_> {
    (record.name.as_deref(), record.group.as_deref(), record.url.as_deref())
}

/// Takes the record's texts for the target's, unless the target has a later result. An earlier process may have stored one up to
/// an hour later than the table says.
async fn update_texts(sql: &mut SqliteConnection, id: i64, record: &Record) -> sqlx::Result<bool> {
    let (name, group, url) = texts(record);
    let update = sqlx::query(
        r#"update targets set name = ?2, "group" = ?3, url = ?4, as_of = ?5
           where id = ?1 and not exists (
               select 1 from checks where due_at >= ?5 and due_at <= targets.as_of + ?6 and target = ?1)"#,
    );
    let update = update.bind(id).bind(name).bind(group).bind(url).bind(record.due_at.0).bind(AS_OF_MS);
    Ok(update.execute(sql).await?.rows_affected() == 1)
}

async fn save_as_of(sql: &mut SqliteConnection, target: &Target) -> sqlx::Result<()> {
    let update = sqlx::query("update targets set as_of = ? where id = ?");
    update.bind(target.as_of.0).bind(target.id).execute(sql).await.map(|_| ())
}

async fn insert_facts(sql: &mut SqliteConnection, record: &Record, digest: &Digest) -> sqlx::Result<i64> {
    let tls = record.tls.as_ref();
    let insert = sqlx::query(
        "insert into facts (digest, interval_ms, verdict, reason, phase, attempts, status, http, peer, final_url, redirects,
             tls_version, tls_issuer, tls_subject, tls_not_before, tls_not_after)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&digest[..])
    .bind(record.interval_ms)
    .bind(record.verdict.word())
    .bind(record.reason.as_deref())
    .bind(record.phase.as_deref())
    .bind(record.attempts)
    .bind(record.status)
    .bind(record.http.as_deref())
    .bind(record.peer.as_deref())
    .bind(record.final_url.as_deref())
    .bind(record.redirects)
    .bind(tls.and_then(|tls| tls.version.as_deref()))
    .bind(tls.and_then(|tls| tls.issuer.as_deref()))
    .bind(tls.and_then(|tls| tls.subject.as_deref()))
    .bind(tls.and_then(|tls| tls.not_before).map(|time| time.0))
    .bind(tls.and_then(|tls| tls.not_after).map(|time| time.0));
    Ok(insert.execute(sql).await?.last_insert_rowid())
}
