//! What queue and store cost: CPU per record of each step, and bytes written to disk per check at a given rate.
//!
//! `cargo run --release -p store --example cost -- [CHECKS_PER_SECOND [SECONDS [FOLDER]]]` (1500, 20, a temporary folder)

#![allow(clippy::unwrap_used, reason = "a measurement stops at the first surprise")]

use bus::{
    Queue,
    append::{Limits, appender},
    queue::{Most, Options},
    record::{decode, encode},
};
use model::{
    CheckResult, Location, TargetId, UnixMs, Verdict,
    batch::Batch,
    result::{HttpVersion, Look, Phases},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};
use store::{Keep, Settings, Store, Written};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let rate: u64 = args.next().map_or(1500, |rate| rate.parse().unwrap());
    let seconds: u64 = args.next().map_or(20, |seconds| seconds.parse().unwrap());
    let folder = args.next().map(PathBuf::from);
    let temporary = tempfile::tempdir_in(folder.unwrap_or(std::env::temp_dir())).unwrap();
    steps(temporary.path()).await;
    paced(temporary.path(), rate, seconds).await;
}

/// Each step alone, as fast as it goes.
async fn steps(folder: &Path) {
    const RECORDS: u64 = 150_000;
    let results: Vec<_> = (0..RECORDS).map(|n| result(n, 5000)).collect();
    let mut lines = vec![Vec::new(); results.len()];
    measured("encode", RECORDS, || results.iter().zip(&mut lines).for_each(|(result, line)| encode(result, line)));
    println!("  {} bytes a record", lines.iter().map(Vec::len).sum::<usize>() as u64 / RECORDS);
    let now = UnixMs::from_system(SystemTime::now());
    measured("decode", RECORDS, || lines.iter().for_each(|line| drop(decode(line, now))));

    let stop = CancellationToken::new();
    let Queue { mut tail, mut reader, .. } =
        Queue::open(&folder.join("steps-queue.db"), Options::new(1 << 30), &stop).await.unwrap();
    let before = Used::now();
    for commit in lines.chunks(75) {
        tail.append(commit).await.unwrap();
    }
    before.report("append, 75 a commit", RECORDS);

    let most = Most { records: 750, pace: Duration::ZERO, ..Most::default() };
    let mut batches: Vec<Batch> = Vec::new();
    let before = Used::now();
    while batches.last().map_or(0, |batch| batch.next) < RECORDS as i64 {
        let from = batches.last().map_or(0, |batch| batch.next);
        batches.push(reader.read(from, &most, &stop).await.unwrap().unwrap());
    }
    before.report("read and decode", RECORDS);

    let mut store = Store::open_sqlite(&folder.join("steps.db"), Settings::default(), &stop).await.unwrap();
    let keep = Keep { now, checks: Duration::from_secs(86_400) };
    let before = Used::now();
    for batch in &batches {
        assert!(matches!(store.write(batch, &keep).await.unwrap(), Written::Committed(_)));
    }
    before.report("store, 750 a commit", RECORDS);
    store.close().await;
    let size = fs::metadata(folder.join("steps.db")).unwrap().len();
    println!("  {} bytes a row in the file", size / RECORDS);
}

/// The whole way, at a steady rate.
async fn paced(folder: &Path, rate: u64, seconds: u64) {
    let stop = CancellationToken::new();
    let Queue { tail, mut reader, gauge } =
        Queue::open(&folder.join("queue.db"), Options::new(1 << 30), &stop).await.unwrap();
    let mut store = Store::open_sqlite(&folder.join("store.db"), Settings::default(), &stop).await.unwrap();
    let (entrance, stage) = appender(tail, Limits::default());
    let appending = tokio::spawn(stage.run(CancellationToken::new()));
    let checks = rate * seconds;
    let storing = tokio::spawn(async move {
        let mut next = 0;
        while next < checks as i64 {
            let batch = reader.read(next, &Most::default(), &stop).await.unwrap().unwrap();
            let keep = Keep { now: UnixMs::from_system(SystemTime::now()), checks: Duration::from_secs(86_400) };
            assert!(matches!(store.write(&batch, &keep).await.unwrap(), Written::Committed(_)));
            next = batch.next;
            reader.release(next);
        }
        reader.close().await;
        store.close().await;
    });
    println!("at {rate} checks/s:");
    let before = Used::now();
    offer(rate, checks / 4, |line| drop(std::hint::black_box(line))).await;
    before.report("this program, which makes and encodes the results", checks / 4);
    let before = Used::now();
    offer(rate, checks, |line| entrance.push(line)).await;
    drop(entrance);
    assert_eq!(appending.await.unwrap(), 0);
    storing.await.unwrap();
    before.report("the same, queued and stored", checks);
    println!("  {} dropped", gauge.stats().dropped_total);
}

/// Makes results at the rate, in bursts of five milliseconds.
async fn offer(rate: u64, checks: u64, mut take: impl FnMut(Vec<u8>)) {
    let begun = Instant::now();
    for n in 0..checks {
        let at = begun + Duration::from_micros(n * 1_000_000 / rate);
        if at > Instant::now() + Duration::from_millis(5) {
            tokio::time::sleep_until(at.into()).await;
        }
        let mut line = Vec::with_capacity(1024);
        encode(&result(n, rate * 2), &mut line);
        take(line);
    }
}

fn result(n: u64, targets: u64) -> CheckResult {
    let us = |base: u64, spread: u64| Some(Duration::from_micros(base + n * 7919 % spread));
    let due = UnixMs::from_system(SystemTime::now());
    let mut look = Look::begun(UnixMs(due.0 + (n % 3) as i64), Duration::from_micros(100 + n * 31 % 2000), 1);
    look.phases =
        Phases { dns: us(900, 300), connect: us(60, 97), tls: None, wait: us(1800, 5003), transfer: us(90, 211) };
    look.total = Some(look.phases.sum());
    look.status = Some(200);
    look.http = Some(HttpVersion::V1_1);
    look.peer = Some(([10, 0, (n % targets / 250) as u8, (n % 250) as u8], 80).into());
    look.body_bytes = Some(10_240);
    look.rtt = us(40, 61);
    look.retransmits = Some(0);
    let target = n % targets;
    CheckResult {
        target: TargetId::new(&format!("shop-{target}.example.org-cart")).unwrap(),
        name: format!("Shop {target}").into(),
        group: Some("Shops".into()),
        url: format!("http://shop-{target}.example.org/cart").into(),
        location: Location::new("home").unwrap(),
        due_at: due,
        interval_ms: 30_000,
        verdict: Verdict::Up,
        finding: None,
        look: Some(look),
    }
}

/// CPU time and bytes written by this process.
struct Used {
    cpu: Duration,
    written: u64,
    at: Instant,
}

impl Used {
    fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let ticks: u64 = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|t| t.parse::<u64>().unwrap())
            .sum();
        let io = fs::read_to_string("/proc/self/io").unwrap();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap();
        Self { cpu: Duration::from_millis(ticks * 10), written, at: Instant::now() }
    }

    fn report(&self, step: &str, records: u64) {
        let now = Self::now();
        println!(
            "{step}: {:.2} us of CPU and {} bytes written a record; {:.0} records/s",
            (now.cpu - self.cpu).as_micros() as f64 / records as f64,
            (now.written - self.written) / records,
            records as f64 / self.at.elapsed().as_secs_f64()
        );
    }
}

fn measured(step: &str, records: u64, work: impl FnOnce()) {
    let before = Used::now();
    work();
    before.report(step, records);
}
