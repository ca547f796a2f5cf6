//! What a process holds, looked at once a second: memory, descriptors, threads.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};
use testkit::Running;

/// Since the process was started and had nothing to do.
pub struct Gauges {
    pid: u32,
    began: Instant,
    idle: Held,
    seen: Vec<(Duration, Held)>,
}

/// What it holds at a moment.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// VmRSS in KiB.
    memory: u64,
    descriptors: u64,
    threads: u64,
}

impl Gauges {
    pub fn of(running: &Running) -> Self {
        let pid = running.pid();
        Self { pid, began: Instant::now(), idle: Held::by(pid), seen: Vec::new() }
    }

    pub fn look(&mut self) {
        self.seen.push((self.began.elapsed(), Held::by(self.pid)));
    }

    /// As few as before the first check, but for those that a database opens when it is first used.
    pub fn descriptors_are_idle(&self) -> bool {
        Held::by(self.pid).descriptors <= self.idle.descriptors + 4
    }

    /// Nothing has grown between the second fifth of the time and the last one.
    #[track_caller]
    pub fn are_flat(&self) {
        let fifth = self.seen.len() / 5;
        let (early, late) = (most(&self.seen[fifth..2 * fifth]), most(&self.seen[4 * fifth..]));
        // What is in flight differs from second to second; an allocator gives little back.
        assert!(late.memory <= early.memory * 11 / 10 + 4096, "memory: {early:?} became {late:?}");
        assert!(late.descriptors <= early.descriptors * 5 / 4 + 16, "descriptors: {early:?} became {late:?}");
        assert!(late.threads <= early.threads + 4, "threads: {early:?} became {late:?}");
    }
}

impl Held {
    fn by(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim_end_matches("kB").trim().parse().unwrap()
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        Self { memory: number("VmRSS"), descriptors, threads: number("Threads") }
    }
}

fn most(seen: &[(Duration, Held)]) -> Held {
    let most = |f: fn(&Held) -> u64| seen.iter().map(|(_, held)| f(held)).max().unwrap_or(0);
    Held { memory: most(|h| h.memory), descriptors: most(|h| h.descriptors), threads: most(|h| h.threads) }
}

impl fmt::Display for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "most in each tenth of the time:  memory KiB  descriptors  threads")?;
        writeln!(f, "{:>30}  {:10}  {:11}  {:7}", "idle", self.idle.memory, self.idle.descriptors, self.idle.threads)?;
        for part in self.seen.chunks(self.seen.len().div_ceil(10).max(1)) {
            let (Held { memory, descriptors, threads }, at) = (most(part), part[part.len() - 1].0.as_secs());
            writeln!(f, "{at:>28} s  {memory:10}  {descriptors:11}  {threads:7}")?;
        }
        Ok(())
    }
}
