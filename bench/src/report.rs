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
    let bin = &pipeline::built(bin)?;
    let nginx = Nginx::start()?;
    println!("the page has {} bytes; the pattern /{PATTERN}/ matches in its last 90", crate::nginx::PAGE);
    let (url, https_url, root) = (nginx.url(), nginx.https_url(), nginx.root());
    let [floor, engine, exporter] = turns(["floor", "engine", "exporter"], &url, None, stretch, rounds)?;
    show("http", "engine / floor, CPU per check", floor, engine, 1.35);
    beside_exporter("http", engine, exporter, 6.0);
    println!(
        "  checks/s, the cores shared with nginx: {:.1} times the exporter's (goal: at least 2.5), {:.2} of the floor's (goal: at least 0.8)",
        engine.checks_per_second / exporter.checks_per_second,
        engine.checks_per_second / floor.checks_per_second,
    );
    let [floor_https, engine_https] = turns(["floor", "engine"], &https_url, None, stretch, rounds)?;
    show("https", "engine / floor, CPU per check (verify: false)", floor_https, engine_https, 1.2);
    let [verified, exporter] = turns(["engine", "exporter"], &https_url, Some(&root), stretch, rounds)?;
    beside_exporter("https, verified", verified, exporter, 2.5);
    let fast = pipeline::run(bin, &nginx.url(), 1500, stretch * 3)?;
    println!(
        "lapwing run, {:.0} checks/s: {:.1} µs CPU per check, {:.2} of the floor's closed loop (goal: at most 2); {:.0} bytes written per check (goal: under 1,000); peak {} MiB",
        fast.checks_per_second,
        fast.cpu_us_per_check,
        fast.cpu_us_per_check / floor.cpu_us_per_check,
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

fn beside_exporter(what: &str, engine: Closed, exporter: Closed, goal: f64) {
    println!(
        "{what}: blackbox exporter {:.1} µs, engine {:.1} µs; exporter / engine, CPU per check: {:.1} (goal: at least {goal})",
        exporter.cpu_us_per_check,
        engine.cpu_us_per_check,
        exporter.cpu_us_per_check / engine.cpu_us_per_check,
    );
}

fn show(what: &str, ratio: &str, floor: Closed, engine: Closed, goal: f64) {
    println!(
        "{what}: floor {:.1} µs, engine {:.1} µs; {ratio}: {:.2} (goal: at most {goal}); checks/s: floor {:.0}, engine {:.0}",
        floor.cpu_us_per_check,
        engine.cpu_us_per_check,
        engine.cpu_us_per_check / floor.cpu_us_per_check,
        floor.checks_per_second,
        engine.checks_per_second,
    );
}

/// All of them by turns; of each the median.
fn turns<const N: usize>(
    which: [&str; N],
    url: &str,
    root: Option<&Path>,
    stretch: Duration,
    rounds: usize,
) -> anyhow::Result<[Closed; N]> {
    let mut runs = [const { Vec::new() }; N];
    for _ in 0..rounds.max(1) {
        for (which, runs) in which.iter().zip(&mut runs) {
            runs.push(closed(which, url, root, stretch)?);
        }
    }
    Ok(runs.map(median))
}

fn median(mut runs: Vec<Closed>) -> Closed {
    runs.sort_by(|a, b| a.cpu_us_per_check.total_cmp(&b.cpu_us_per_check));
    runs[runs.len() / 2]
}

/// This program again, as a process of its own.
fn closed(which: &str, url: &str, root: Option<&Path>, stretch: Duration) -> anyhow::Result<Closed> {
    let seconds = stretch.as_secs().to_string();
    let mut command = Command::new(std::env::current_exe()?);
    command.args([which, "--url", url, "--seconds", &seconds]);
    if let Some(root) = root {
        command.arg("--ca").arg(root);
    }
    let out = command.output()?;
    ensure!(out.status.success(), "{which} failed: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [checks, cpu, wall] = numbers[..] else { anyhow::bail!("{which} said {text:?}") };
    ensure!(checks > 0.0, "{which} made no check");
    Ok(Closed { cpu_us_per_check: cpu / checks, checks_per_second: checks / wall * 1e6 })
}
