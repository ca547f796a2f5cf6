//! How far one process goes: a hundred thousand targets, and thousands of slow checks at a time.

use crate::{
    nginx::Nginx,
    pipeline::{built, cpu_us, wait},
};
use anyhow::ensure;
use model::UnixMs;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    fmt::Write as _,
    path::Path,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};
use testkit::{Program, Site, free_port, get, step::hold};

const TARGETS: usize = 100_000;
const INTERVAL: Duration = Duration::from_secs(60);
const PATTERNS: usize = 10;
const SLOW: usize = 2000;

pub fn all(bin: &Path) -> anyhow::Result<()> {
    let bin = &built(bin)?;
    slow_checks(bin)?;
    many_targets(bin)
}

/// Checks that all wait for an answer at the same time.
fn slow_checks(bin: &Path) -> anyhow::Result<()> {
    let site = Site::serve([hold()]);
    let program = Program::new(bin.display().to_string()).open_files(8192);
    let port = free_port();
    let mut config = head(port, "interval: 5m, timeout: 2m");
    for i in 0..SLOW {
        let _ = writeln!(config, "  - {{id: t{i}, url: '{}'}}", site.url("/")); // a String takes everything
    }
    program.write("lapwing.yaml", config);
    let running = program.spawn(&["run", "-q"]);
    let all_wait = format!("lapwing_checks_in_flight {SLOW}\n");
    wait(&metrics(port), Duration::from_secs(60), |text| text.contains(&all_wait))?;
    println!(
        "{SLOW} checks in flight over http: {:.1} KiB each, everything that the process has included (goal: at most 20)",
        running.peak_memory_kib() as f64 / SLOW as f64
    );
    Ok(())
}

fn many_targets(bin: &Path) -> anyhow::Result<()> {
    let nginx = Nginx::start()?;
    let program = Program::new(bin.display().to_string()).open_files(16_384);
    let port = free_port();
    let mut config = head(port, "interval: 60s, timeout: 10s");
    for i in 0..TARGETS {
        let pattern = format!("Copyright [0-9]+ Lapwing|never-{}", i % PATTERNS);
        let _ = writeln!(config, "  - {{id: t{i}, url: '{}', expect: {{body: '{pattern}'}}}}", nginx.url());
    }
    program.write("lapwing.yaml", config);
    let begun = UnixMs::from_system(SystemTime::now()).0;
    let mut running = program.spawn(&["run", "-q"]);
    wait(&metrics(port), INTERVAL, |_| true)?;
    // The first interval has each target's first check beside its slot; what follows is as it stays.
    let steady = begun + 75_000;
    until(steady);
    let before = (Instant::now(), cpu_us(running.pid())?);
    until(steady + 60_000);
    let cpu = (cpu_us(running.pid())? - before.1) / before.0.elapsed().as_micros() as f64;
    let peak = running.peak_memory_kib() >> 10;
    ensure!(running.lives(), "lapwing ended early");
    let not_up: Vec<_> = get(&metrics(port))?.body.lines().filter(|l| is_not_up(l)).map(str::to_owned).collect();
    ensure!(not_up.is_empty(), "checks failed: {not_up:?}");
    running.signal(testkit::Signal::TERM);
    let ended = running.wait(Duration::from_secs(60));
    ensure!(ended.code == 0, "{ended}");
    let seen = tokio::runtime::Runtime::new()?.block_on(look(&program.folder().join("lapwing.db"), begun, steady))?;
    println!(
        "{TARGETS} targets at 60 s with {PATTERNS} patterns: first check {} ms after the start (goal: under 2,000), the last target's after {:.1} s (goal: under 60); peak {peak} MiB (goal: under 300)",
        seen.first,
        seen.all as f64 / 1000.0
    );
    println!(
        "  a minute later: lag p99 {:.1} ms (goal: under 20), checks of the fullest second {:.2} of the mean (goal: at most 1.3), {:.0} % of a core",
        seen.lag_us as f64 / 1000.0,
        seen.spread,
        cpu * 100.0
    );
    Ok(())
}

/// What the results say; times in milliseconds after the start unless the name says otherwise.
struct Seen {
    first: i64,
    /// When the last of the targets was checked for the first time.
    all: i64,
    lag_us: i64,
    /// Checks of the fullest second against those of the mean second.
    spread: f64,
}

async fn look(file: &Path, begun: i64, steady: i64) -> anyhow::Result<Seen> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut sql = SqliteConnection::connect_with(&options).await?;
    let firsts = "select min(first), max(first), count(*) from (select min(due_at + start_ms) as first from checks group by target)";
    let (first, all, targets): (i64, i64, i64) = sqlx::query_as(firsts).fetch_one(&mut sql).await?;
    ensure!(targets == TARGETS as i64, "{targets} targets were checked");
    let lags = "select lag_us from checks where due_at >= ?1 and due_at < ?1 + 60000 order by lag_us";
    let lags: Vec<(i64,)> = sqlx::query_as(lags).bind(steady).fetch_all(&mut sql).await?;
    ensure!(lags.len() == TARGETS, "{} checks in a minute", lags.len());
    let fullest = "select max(n) from (select count(*) as n from checks
                       where due_at >= ?1 and due_at < ?1 + 60000 group by (due_at - ?1) / 1000)";
    let (fullest,): (i64,) = sqlx::query_as(fullest).bind(steady).fetch_one(&mut sql).await?;
    Ok(Seen {
        first: first - begun,
        all: all - begun,
        lag_us: lags[lags.len() * 99 / 100].0,
        spread: fullest as f64 * 60.0 / lags.len() as f64,
    })
}

fn until(ms: i64) {
    let now = UnixMs::from_system(SystemTime::now()).0;
    sleep(Duration::from_millis(u64::try_from(ms - now).unwrap_or(0)));
}

fn is_not_up(line: &str) -> bool {
    line.starts_with("lapwing_checks_total{") && !line.contains("\"up\"") && !line.ends_with(" 0")
}

fn metrics(port: u16) -> String {
    format!("http://127.0.0.1:{port}/metrics")
}

fn head(port: u16, defaults: &str) -> String {
    format!(
        "web: {{listen: '127.0.0.1:{port}'}}\nprobe: {{concurrency: 2500, per_host: 2500}}\ndefaults: {{{defaults}}}\ntargets:\n"
    )
}
