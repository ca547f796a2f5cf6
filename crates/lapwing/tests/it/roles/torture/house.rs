//! Services, probers and writers that are tortured.

use super::super::stage::{Role, Stage};
use super::acts::Act;
use super::history::{History, POISON};
use crate::at_work::{program, stop};
use crate::tables::Row;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use testkit::{
    Kafka, Moment, OnWire, Postgres, PostgresProxy, Running, Signal, Site, TestDatabase, eventually, step::resp, until,
};

/// Services start, groups settle and nothing is quick on a slow machine where everything is killed.
pub const LIMIT: Duration = Duration::from_secs(120);
pub const PARTITIONS: usize = 4;
/// So that a member that was killed does not hold the group up for ten seconds a round. The rest is as ever.
/// (`debug`: librdkafka tells what becomes of the group.)
const SESSIONS: &str = "properties: {session.timeout.ms: 2500, heartbeat.interval.ms: 300, debug: cgrp}";
const LOG: &str = "warn,lapwing=debug,bus=debug,store=debug,librdkafka=debug";
/// Of what a worker has said, so many lines are told when the test fails.
const TOLD: usize = 400;

/// All that there is. What stands first goes first.
pub struct House {
    pub probers: [Worker; 2],
    pub writers: [Worker; 2],
    /// Before each writer's database.
    pub proxies: [PostgresProxy; 2],
    stage: Stage,
    _site: Site,
    pub kafka: Kafka,
    pub postgres: Postgres,
    pub lost_answers: u64,
    pub zombies: u64,
    old_days: u64,
}

/// A role at work, until it is killed.
pub struct Worker {
    pub role: Role,
    running: Option<Running>,
    /// The last lines of those that have ended, told when the test fails.
    said: VecDeque<String>,
}

/// How often each of the paths was taken that matter.
#[derive(Debug)]
pub struct Tally {
    /// A `commit` was done and its writer, alive or killed, did not hear of it.
    lost_answers: u64,
    /// A writer found out that such a `commit` was done.
    settled_doubts: u64,
    /// A writer that had been stopped until others had its partitions was refused when it went on.
    zombies: u64,
    /// All refused compare-and-sets.
    refused: u64,
    /// A row was there already, and its batch went through the staging table.
    doubles: u64,
    stagings: u64,
    /// Batches that begin where one had begun before.
    redeliveries: usize,
    old_days: u64,
}

/// Looked at every five seconds: what one start repeats of the last is in the topic twice.
pub fn targets(site: &Site, count: usize) -> String {
    let line = |n: usize| format!("  - {{id: t{n}, url: \"{}\", interval: 5s}}\n", site.url(&format!("/{n}")));
    format!("targets:\n{}", (0..count).map(line).collect::<String>())
}

impl House {
    pub async fn new() -> Self {
        let (kafka, postgres) = tokio::join!(Kafka::start(), Postgres::start());
        let stage = Stage::on(kafka.brokers(), TestDatabase::on(&postgres.url()).await);
        let site = Site::serve([resp(200, "fine")]);
        let section = stage.kafka_with(&format!("partitions: {PARTITIONS}, {SESSIONS}"));
        // One place twice: each result comes from both, with other times, and the first in the topic stands.
        let role = |name, config: &str| Worker::started(Role::of(program().env("RUST_LOG", LOG), name, config));
        let prober = || role("probe", &format!("{section}{}", targets(&site, 60)));
        let url = stage.database.url();
        let (one, two) = tokio::join!(PostgresProxy::before(&url), PostgresProxy::before(&url));
        let writer = |proxy: &PostgresProxy| role("write", &format!("{section}store: \"{}\"\n", proxy.url()));
        let (probers, writers) = ([prober(), prober()], [writer(&one), writer(&two)]);
        let proxies = [one, two];
        Self {
            probers,
            writers,
            proxies,
            stage,
            _site: site,
            kafka,
            postgres,
            lost_answers: 0,
            zombies: 0,
            old_days: 0,
        }
    }

    /// Waits until one more batch is stored.
    pub fn waits_for_progress(&self, when: &str) {
        let before = self.seen(Moment::Committed);
        until(&format!("something is stored {when}"), LIMIT, || self.seen(Moment::Committed) > before);
    }

    /// Nothing has ended that nobody has ended.
    pub fn is_whole(&mut self, round: usize, act: Act) {
        for worker in self.probers.iter_mut().chain(&mut self.writers) {
            let running = worker.running();
            assert!(running.lives(), "in round {round}, {act:?}, a worker has ended:\n{}", running.stderr());
        }
    }

    /// How far each partition is stored.
    pub async fn offsets(&self) -> Vec<Row> {
        self.stage.select("select partition, next from offsets order by partition").await
    }

    /// Puts records into the topic that are no results.
    pub fn poison(&self, count: u64) {
        let partition = i32::try_from(count % PARTITIONS as u64).unwrap();
        let record = || OnWire { partition, ..OnWire::value(POISON) };
        self.stage.topic.put(&(0..count).map(|_| record()).collect::<Vec<_>>());
    }

    /// A day of long ago, with a row.
    pub async fn make_an_old_day(&mut self) {
        self.old_days += 1;
        let day = format!("2020-01-{:02}", self.old_days % 28 + 1);
        let name = format!("checks_{}", day.replace('-', ""));
        let made = format!(
            "create table if not exists {name} (like checks including all);
             alter table checks attach partition {name} for values from ('{day} 00:00Z') to ('{day} 24:00Z');
             insert into checks (due_at, target, location, facts) values ('{day} 12:00Z', 1, 1, 1)"
        );
        self.stage.database.execute(&made).await;
    }

    /// Lets everything come to rest, stops it in good order, and tells what has happened.
    pub async fn end(mut self) -> (History, Tally) {
        for worker in self.probers.iter().chain(&self.writers) {
            until("every role is ready", LIMIT, || worker.role.at.readiness().0 == 200);
        }
        for prober in &mut self.probers {
            let waiting = || prober.role.at.metric("lapwing_queue_results");
            until("what has waited in the queue is in the topic", LIMIT, || waiting() < 60.0);
            prober.stop();
        }
        let records = self.stage.all_is_stored().await;
        // Those whom the dead had in hand, too; who stops copies what is left.
        self.stage.database.execute("update dead_copies set taken_until = null").await;
        for writer in &mut self.writers {
            writer.stop();
        }
        let pruned = self.writers[0].role.at.program.run(&["db", "prune"]);
        assert_eq!(pruned.code, 0, "{pruned}");
        let old =
            self.stage.select("select relname from pg_class where relname like 'checks_2020%' and relkind = 'r'").await;
        assert_eq!(old, [], "{pruned}");
        let probers = [&self.probers[0].role, &self.probers[1].role];
        (History::of(&self.stage, records, &probers).await, self.tally())
    }

    /// How often a moment came by at either writer.
    fn seen(&self, moment: Moment) -> u64 {
        self.proxies.iter().map(|proxy| proxy.seen(moment)).sum()
    }

    fn tally(&self) -> Tally {
        let claims: Vec<_> = self.proxies.iter().flat_map(PostgresProxy::claims).collect();
        let begun: BTreeSet<_> = claims.iter().map(|claim| (&claim.log, claim.partition, claim.from)).collect();
        Tally {
            lost_answers: self.lost_answers,
            settled_doubts: self.seen(Moment::Doubt),
            zombies: self.zombies,
            refused: self.seen(Moment::Refused),
            doubles: self.seen(Moment::Double),
            stagings: self.seen(Moment::Staging),
            redeliveries: claims.len() - begun.len(),
            old_days: self.old_days,
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("Kafka said:\n{}", self.kafka.log());
        }
    }
}

impl Tally {
    pub fn has_seen_everything(&self) {
        let Self { lost_answers, settled_doubts, zombies, refused, doubles, stagings, redeliveries, old_days } = self;
        assert!(*lost_answers > 0 && *settled_doubts > 0, "no answer to a commit was lost: {self:?}");
        assert!(*zombies > 0 && refused >= zombies, "no zombie was refused: {self:?}");
        assert!(*doubles > 0 && *stagings > 0, "no row was there already: {self:?}");
        assert!(*redeliveries > 0, "no batch came again: {self:?}");
        assert!(*old_days > 0, "no day expired: {self:?}");
    }
}

impl Worker {
    fn started(role: Role) -> Self {
        let running = Some(role.start());
        Self { role, running, said: VecDeque::new() }
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        let output = self.running.take().unwrap().kill9();
        self.remember(&output.stderr);
    }

    pub fn start(&mut self) {
        self.running = Some(self.role.start());
    }

    pub fn signal(&mut self, signal: Signal) {
        self.running().signal(signal);
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    /// SIGTERM
    fn stop(&mut self) {
        let output = stop(self.running.take().unwrap());
        assert_eq!(output.code, 0, "{output}");
        self.remember(&output.stderr);
    }

    fn remember(&mut self, stderr: &str) {
        self.said.extend(stderr.lines().map(str::to_owned));
        self.said.drain(..self.said.len().saturating_sub(TOLD));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let now = self.running.as_ref().map(Running::stderr).unwrap_or_default();
            self.remember(&now);
            println!("a {} said:\n{}", self.role.name(), self.said.make_contiguous().join("\n"));
            for page in ["/readyz", "/metrics"] {
                println!("{page}: {:?}", self.role.at.get(page));
            }
        }
    }
}

/// Waits until every partition is stored further than it was.
pub async fn all_go_on(house: &House) {
    let next = |row: &Row| row["next"].as_i64().unwrap();
    let before = house.offsets().await;
    eventually("every partition goes on", LIMIT, async || {
        house.offsets().await.iter().zip(&before).all(|(now, before)| next(now) > next(before))
    })
    .await;
}
