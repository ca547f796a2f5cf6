//! `lapwing` as a whole: what a process of it costs while it does its work.

use crate::load::PATTERN;
use anyhow::{Context, ensure};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use testkit::{
    Program, Site, get,
    step::{fill, head, send},
};

/// What a stretch of `lapwing run` cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub checks_per_second: f64,
    pub cpu_us_per_check: f64,
    pub written_per_check: f64,
    pub peak_memory_kib: u64,
}

/// Where the program is, for a folder of its own to run in.
pub fn built(bin: &Path) -> anyhow::Result<PathBuf> {
    ensure!(bin.exists(), "{} is not there: build it first (make bench does)", bin.display());
    Ok(bin.canonicalize()?)
}

/// `lapwing run` with so many targets of one second each, queue and store included.
pub fn run(bin: &Path, url: &str, targets: usize, stretch: Duration) -> anyhow::Result<Cost> {
    let program = Program::new(bin.display().to_string());
    let port = testkit::free_port();
    program.write("lapwing.yaml", config(url, targets, port));
    let mut running = program.spawn(&["run", "-q"]);
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    wait(&metrics, Duration::from_secs(30), |text| {
        counter(text, "lapwing_results_stored_total") > targets as f64 * 3.0
    })?;
    let before = sample(running.pid(), &metrics)?;
    std::thread::sleep(stretch);
    let after = sample(running.pid(), &metrics)?;
    let text = get(&metrics)?.body;
    let up = counter(&text, "lapwing_checks_total{verdict=\"up\",reason=\"\"}");
    ensure!(up > 0.0 && up >= counter_sum(&text, "lapwing_checks_total") * 0.999, "checks failed:\n{text}");
    let checks = after.checks - before.checks;
    ensure!(checks > 0.0, "no check was made");
    let peak_memory_kib = running.peak_memory_kib();
    ensure!(running.lives(), "lapwing ended early");
    Ok(Cost {
        checks_per_second: checks / (after.at - before.at).as_secs_f64(),
        cpu_us_per_check: (after.cpu_us - before.cpu_us) / checks,
        written_per_check: (after.written - before.written) / checks,
        peak_memory_kib,
    })
}

/// The peak memory of `lapwing check` over a body of so many bytes with the pattern at its end, in KiB.
pub fn large_body(bin: &Path, bytes: usize) -> anyhow::Result<u64> {
    let tail = "Copyright 2026 Lapwing";
    let length = (bytes + tail.len()).to_string();
    let site = Site::serve([head(200, &[("content-length", length.as_str())]), fill(bytes as u64), send(tail)]);
    let program = Program::new(bin.display().to_string());
    let url = site.url("/");
    program.write(
        "lapwing.yaml",
        format!("targets:\n  - url: {url}\n    id: large\n    interval: 1h\n    timeout: 5m\n    request: {{max_body: 2000MiB}}\n    expect: {{body: '{PATTERN}$'}}\n"),
    );
    let mut running = program.spawn(&["check", "--json"]);
    let mut peak = 0;
    while running.lives() {
        peak = peak.max(running.peak_memory_kib());
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = running.wait(Duration::from_secs(10));
    ensure!(out.code == 0, "the check failed: {out}");
    Ok(peak)
}

struct Sample {
    at: Instant,
    checks: f64,
    cpu_us: f64,
    written: f64,
}

fn sample(pid: u32, metrics: &str) -> anyhow::Result<Sample> {
    let checks = counter_sum(&get(metrics)?.body, "lapwing_checks_total");
    Ok(Sample { at: Instant::now(), checks, cpu_us: cpu_us(pid)?, written: written(pid)? })
}

/// User and system time of all of a process's threads, in microseconds.
pub fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    Ok(scheduled(pid)?[0])
}

/// How long all threads of a process ran, and how long they were ready and had no core, in microseconds (proc(5): `schedstat` counts
/// nanoseconds).
pub fn scheduled(pid: u32) -> anyhow::Result<[f64; 2]> {
    let mut us = [0.0; 2];
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        for (sum, ns) in us.iter_mut().zip(text.split_whitespace()) {
            *sum += ns.parse::<f64>().unwrap_or(0.0) / 1000.0;
        }
    }
    Ok(us)
}

fn written(pid: u32) -> anyhow::Result<f64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: ")).context("write_bytes")?;
    Ok(line.trim().parse()?)
}

/// Until the metrics show it.
pub fn wait(metrics: &str, limit: Duration, done: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + limit;
    loop {
        if get(metrics).is_ok_and(|a| done(&a.body)) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "lapwing did not come up within {limit:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn counter(text: &str, name: &str) -> f64 {
    text.lines().filter_map(|l| l.strip_prefix(name)?.trim().parse().ok()).next().unwrap_or(0.0)
}

fn counter_sum(text: &str, name: &str) -> f64 {
    text.lines().filter(|l| l.starts_with(name)).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn config(url: &str, targets: usize, port: u16) -> String {
    let mut text = format!(
        "web: {{listen: '127.0.0.1:{port}'}}\nprobe: {{concurrency: 2000, per_host: 2000}}\ndefaults: {{interval: 1s, expect: {{body: '{PATTERN}'}}}}\ntargets:\n"
    );
    for i in 0..targets {
        let _ = writeln!(text, "  - {{url: '{url}', id: t{i}}}"); // a String takes everything
    }
    text
}
