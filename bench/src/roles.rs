//! `lapwing probe` -> Kafka -> `lapwing write` -> PostgreSQL as a whole: how fast a writer catches up, and how soon a result is
//! seen.

use crate::{load::PATTERN, nginx::Nginx, rows::Rows, store::connect};
use anyhow::{Context, ensure};
use model::UnixMs;
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime},
};
use testkit::{Kafka, Postgres, Program, TestDatabase, Topic, free_port, get, unique};

const LIMIT: Duration = Duration::from_secs(600);

/// What both halves need.
struct Services {
    _postgres: Postgres,
    kafka: Kafka,
    database: TestDatabase,
    topic: Topic,
}

impl Services {
    async fn start(partitions: u32) -> anyhow::Result<Self> {
        let (postgres, kafka) =
            tokio::join!(Postgres::options().setting("track_commit_timestamp", "on").start(), Kafka::start());
        let database = postgres.database().await;
        let topic = Topic::at(&kafka.brokers(), &unique("bench"));
        topic.create(partitions.cast_signed(), &[]).await;
        Ok(Self { _postgres: postgres, kafka, database, topic })
    }

    fn config(&self, port: u16, more: &str) -> String {
        format!(
            "kafka: {{brokers: '{}', topic: {}}}\nstore: '{}'\nmetrics: {{listen: '127.0.0.1:{port}'}}\n{more}\n",
            self.kafka.brokers(),
            self.topic.name,
            self.database.url()
        )
    }
}

pub fn all(bin: &Path, millions: f64, partitions: u32) -> anyhow::Result<()> {
    let bin = &crate::pipeline::built(bin)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        catch_up(bin, (millions * 1e6) as u64, partitions).await?;
        soon(bin, partitions).await
    })
}

/// One writer, and so many results waiting in Kafka.
async fn catch_up(bin: &Path, results: u64, partitions: u32) -> anyhow::Result<()> {
    let services = Services::start(partitions).await?;
    fill(&services, results)?;
    let program = Program::new(bin.display().to_string());
    let port = free_port();
    program.write("lapwing.yaml", services.config(port, "targets: []"));
    let (before_postgres, before_kafka) = (cpu("postgres")?, cpu("java")?);
    let mut running = program.spawn(&["write", "-q"]);
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    let stored = || {
        let text = get(&metrics).map(|answer| answer.body).unwrap_or_default();
        text.lines().find_map(|l| l.strip_prefix("lapwing_results_stored_total ")?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    // From the first that are stored: joining the group is no catching up.
    let mut tenths: Vec<(Instant, u64)> = Vec::new();
    let until = Instant::now() + LIMIT;
    let took = loop {
        let n = stored() as u64;
        if n > 0 && n >= tenths.len() as u64 * results / 10 {
            tenths.push((Instant::now(), n));
        }
        if let Some((at, already)) = tenths.first().filter(|_| n == results) {
            break (at.elapsed(), results - already);
        }
        ensure!(running.lives() && Instant::now() < until, "{n} of {results} were stored\n{}", running.stderr());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let rate = took.1 as f64 / took.0.as_secs_f64();
    let by_tenth = tenths.windows(2).map(|w| (w[1].1 - w[0].1) as f64 / (w[1].0 - w[0].0).as_secs_f64() / rate);
    let by_tenth: Vec<f64> = by_tenth.collect();
    let slowest = by_tenth.iter().copied().fold(f64::INFINITY, f64::min);
    let peak = running.peak_memory_kib() as f64 * 1024.0 / 1e6;
    let us = |seconds: f64| seconds * 1e6 / results as f64;
    let writer = us(of_process(running.pid())?);
    let (postgres, kafka) = (us(cpu("postgres")? - before_postgres), us(cpu("java")? - before_kafka));
    drop(running);
    let copied = psql_copy(&services, results).await?;
    println!(
        "Kafka -> PostgreSQL, one writer, {results} results waiting in {partitions} partitions: {rate:.0} results/s; psql \\copy of the same rows: {copied:.0}; ratio {:.2} (goal: at least 0.35); peak memory of the writer {peak:.0} MB (goal: under 200)",
        rate / copied
    );
    println!("  slowest tenth of the run against the whole: {slowest:.2} (goal: at least 0.9); all: {by_tenth:.2?}");
    println!("  CPU a result: writer {writer:.2} µs, PostgreSQL {postgres:.2} µs, Kafka {kafka:.2} µs");
    Ok(())
}

/// Puts results into the topic as a prober would: a target's all in one partition.
fn fill(services: &Services, results: u64) -> anyhow::Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", services.kafka.brokers())
        .set("compression.type", "zstd")
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "500000")
        .create()?;
    let now = UnixMs::from_system(SystemTime::now()).0;
    let rows = Rows::of(10_000, UnixMs(now - now % 86_400_000));
    for n in 0..results {
        let (target, record) = rows.json(n);
        let mut message = BaseRecord::to(&services.topic.name).key(&target).payload(&record);
        while let Err((error, back)) = producer.send(message) {
            let is_full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            ensure!(is_full, "a record was not taken: {error}");
            producer.poll(Duration::from_millis(10));
            message = back;
        }
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(LIMIT)?;
    Ok(())
}

/// What `psql \copy` of the same rows into the same table takes.
async fn psql_copy(services: &Services, rows: u64) -> anyhow::Result<f64> {
    let url = services.database.url();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rows.csv");
    let psql = |command: String| -> anyhow::Result<()> {
        let out = Command::new("psql").args([&url, "-q", "-v", "ON_ERROR_STOP=1", "-c", &command]).output();
        let out = out.context("run psql: install it (Debian: apt-get install postgresql-client)")?;
        ensure!(out.status.success(), "psql failed: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    };
    psql(format!("\\copy (select * from checks) to '{}' csv", file.display()))?;
    let client = connect(&services.database).await?;
    client.batch_execute("truncate checks; checkpoint").await?;
    let begun = Instant::now();
    psql(format!("\\copy checks from '{}' csv", file.display()))?;
    let took = begun.elapsed();
    let there: i64 = client.query_one("select count(*) from checks", &[]).await?.get(0);
    ensure!(there as u64 == rows, "{there} rows were copied");
    Ok(rows as f64 / took.as_secs_f64())
}

/// 1,500 results a second from a page to a row: how long until others see it?
async fn soon(bin: &Path, partitions: u32) -> anyhow::Result<()> {
    let (services, nginx) = (Services::start(partitions).await?, Nginx::start()?);
    let mut targets = format!(
        "probe: {{concurrency: 2000, per_host: 2000}}\ndefaults: {{interval: 1s, expect: {{body: '{PATTERN}'}}}}\ntargets:\n"
    );
    for i in 0..1500 {
        let _ = writeln!(targets, "  - {{url: '{}', id: t{i}}}", nginx.url()); // a String takes everything
    }
    let (prober, writer) = (Program::new(bin.display().to_string()), Program::new(bin.display().to_string()));
    prober.write("lapwing.yaml", services.config(free_port(), &targets));
    writer.write("lapwing.yaml", services.config(free_port(), "targets: []"));
    let (probing, writing) = (prober.spawn(&["probe", "-q"]), writer.spawn(&["write", "-q"]));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let client = connect(&services.database).await?;
    // The server notes when each transaction was committed, and the check when it ended, by one clock.
    let query = "select count(*), percentile_cont(array[0.5, 0.99, 1]) within group (order by waited) from (
                     select extract(epoch from pg_xact_commit_timestamp(xmin) - started_at - total_us * interval '1 microsecond')::float8 as waited
                     from checks where due_at > now() - interval '20 seconds') visible";
    let row = client.query_one(query, &[]).await?;
    let (count, waited): (i64, Vec<f64>) = (row.get(0), row.get(1));
    ensure!(count > 15_000, "only {count} results in 20 s\n{}\n{}", probing.stderr(), writing.stderr());
    println!(
        "prober -> visible row at {:.0} results/s: median {:.0} ms, p99 {:.0} ms (goal: under 1,000), largest {:.0} ms",
        count as f64 / 20.0,
        waited[0] * 1e3,
        waited[1] * 1e3,
        waited[2] * 1e3
    );
    Ok(())
}

/// CPU time in seconds of a service's processes: those whose program has this name and that this process has started.
fn cpu(name: &str) -> anyhow::Result<f64> {
    let mut seconds = 0.0;
    let mut ours = vec![std::process::id()];
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        let parent = rest.split_whitespace().nth(1).and_then(|p| p.parse::<u32>().ok()).unwrap_or(0);
        all.push((pid, parent, head.rsplit_once('(').is_some_and(|(_, n)| n == name)));
    }
    while let Some(parent) = ours.pop() {
        for (pid, _, is_named) in all.iter().filter(|(_, p, _)| *p == parent) {
            ours.push(*pid);
            if *is_named {
                seconds += of_process(*pid).unwrap_or(0.0);
            }
        }
    }
    Ok(seconds)
}

/// User and system time, also of children that have ended (proc(5), `stat`, fields 14 to 17).
fn of_process(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').context("a name in brackets")?.1;
    let ticks: f64 = fields.split_whitespace().skip(11).take(4).filter_map(|t| t.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0) // USER_HZ is 100 wherever Linux runs
}
