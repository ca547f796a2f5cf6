//! Everything in one run, as a table of ratios.

use crate::{load::PATTERN, nginx::Nginx, pipeline};
use anyhow::ensure;
use std::{path::Path, process::Command, time::Duration};

/// What a closed loop cost.
#[derive(Clone, Copy, Debug)]
struct Closed {
    cpu_us_per_check: f64,
    checks_per_second: f64,
}

pub fn all(bin: &Path, stretch: Duration, rounds: usize) -> anyhow::Result<()> {
    ensure!(bin.exists(), "{} is not there: build it first (make bench does)", bin.display());
    let bin = &bin.canonicalize()?; // programs run in folders of their own
    let nginx = Nginx::start()?;
    println!("the page has {} bytes; the pattern /{PATTERN}/ matches in its last 90", crate::nginx::PAGE);
    let http = pair(&nginx.url(), stretch, rounds)?;
    show("http", "engine / floor, CPU per check", http, 1.35);
    let https = pair(&nginx.https_url(), stretch, rounds)?;
    show("https", "engine / floor, CPU per check (verify: false)", https, 1.2);
    let fast = pipeline::run(bin, &nginx.url(), 1500, stretch * 3)?;
    println!(
        "lapwing run, {:.0} checks/s: {:.1} µs CPU per check, {:.2} of the floor's closed loop (goal: at most 2); {:.0} bytes written per check (goal: under 1,000); peak {} MiB",
        fast.checks_per_second,
        fast.cpu_us_per_check,
        fast.cpu_us_per_check / http.0.cpu_us_per_check,
        fast.written_per_check,
        fast.peak_memory_kib >> 10,
    );
    let slow = pipeline::run(bin, &nginx.url(), 17, stretch * 3)?;
    println!(
        "lapwing run, {:.0} checks/s: {:.0} bytes written per check",
        slow.checks_per_second, slow.written_per_check
    );
    let peak = pipeline::large_body(bin, 1 << 30)?;
    println!("a body of 1 GiB with the pattern at its end: peak memory {} MiB (goal: under 64)", peak >> 10);
    Ok(())
}

fn show(what: &str, ratio: &str, (floor, engine): (Closed, Closed), goal: f64) {
    println!(
        "{what}: floor {:.1} µs, engine {:.1} µs; {ratio}: {:.2} (goal: at most {goal}); checks/s: floor {:.0}, engine {:.0}",
        floor.cpu_us_per_check,
        engine.cpu_us_per_check,
        engine.cpu_us_per_check / floor.cpu_us_per_check,
        floor.checks_per_second,
        engine.checks_per_second,
    );
}

/// Floor and engine by turns; of each the median.
fn pair(url: &str, stretch: Duration, rounds: usize) -> anyhow::Result<(Closed, Closed)> {
    let (mut floors, mut engines) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        floors.push(closed("floor", url, stretch)?);
        engines.push(closed("engine", url, stretch)?);
    }
    Ok((median(floors), median(engines)))
}

fn median(mut runs: Vec<Closed>) -> Closed {
    runs.sort_by(|a, b| a.cpu_us_per_check.total_cmp(&b.cpu_us_per_check));
    runs[runs.len() / 2]
}

/// This program again, as a process of its own.
fn closed(which: &str, url: &str, stretch: Duration) -> anyhow::Result<Closed> {
    let seconds = stretch.as_secs().to_string();
    let out = Command::new(std::env::current_exe()?).args([which, "--url", url, "--seconds", &seconds]).output()?;
    ensure!(out.status.success(), "{which} failed: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [checks, cpu, wall] = numbers[..] else { anyhow::bail!("{which} said {text:?}") };
    ensure!(checks > 0.0, "{which} made no check");
    Ok(Closed { cpu_us_per_check: cpu / checks, checks_per_second: checks / wall * 1e6 })
}
