//! Lapwing at work in a folder of its own: its configuration, its port, what it says of itself, what it has stored.

use crate::tables::{self, Row};
use std::path::PathBuf;
use std::time::Duration;
use testkit::{Answer, Output, Program, Running, Signal, Site, free_port, get, until};

/// Long enough for a slow machine under load; a test that waits for it has failed.
pub const LIMIT: Duration = Duration::from_secs(120);
/// The contract's "within 5 s", with what a loaded machine adds.
pub const WITHIN_5_S: Duration = Duration::from_secs(15);

pub fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_lapwing"))
}

/// A folder with a configuration that listens on a port of its own.
pub struct Lapwing {
    pub program: Program,
    pub port: u16,
}

impl Lapwing {
    /// The configuration as given, with `location: test` and `web.listen` before it.
    pub fn with(config: &str) -> Self {
        let lapwing = Self { program: program(), port: free_port() };
        lapwing.configure(config);
        lapwing
    }

    /// Writes the configuration anew, in place.
    pub fn configure(&self, config: &str) {
        self.program.write("lapwing.yaml", self.text(config));
    }

    /// What [`Lapwing::configure`] writes.
    pub fn text(&self, config: &str) -> String {
        format!("location: test\nweb: {{listen: \"127.0.0.1:{}\"}}\n{config}", self.port)
    }

    pub fn start(&self) -> Running {
        self.program.spawn(&["run"])
    }

    /// Started, and ready.
    pub fn started(&self) -> Running {
        let running = self.start();
        self.wait_until_ready();
        running
    }

    pub fn get(&self, path: &str) -> std::io::Result<Answer> {
        get(&format!("http://127.0.0.1:{}{path}", self.port))
    }

    /// The status of `/readyz`, and what it says; 0 while nobody answers.
    pub fn readiness(&self) -> (u16, String) {
        self.get("/readyz").map_or((0, String::new()), |a| (a.status, a.body))
    }

    #[track_caller]
    pub fn wait_until_ready(&self) {
        until("/readyz says 200", LIMIT, || self.readiness().0 == 200);
    }

    /// The sum of the samples of this name.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").unwrap().body;
        let samples = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    pub fn store(&self) -> PathBuf {
        self.program.folder().join("lapwing.db")
    }

    pub fn queue(&self) -> PathBuf {
        self.program.folder().join("lapwing-queue.db")
    }

    /// What is stored of a target, oldest first; nothing while there is no store yet.
    pub fn results(&self, target: &str) -> Vec<Row> {
        let sql = format!("select * from results where target = '{target}' order by due_at");
        tables::try_select(&self.store(), &sql).unwrap_or_default()
    }

    /// Waits for so many results of a target, and returns all that there are.
    #[track_caller]
    pub fn wait_for_results(&self, target: &str, count: usize) -> Vec<Row> {
        let mut results = Vec::new();
        until(&format!("{count} results of {target} are stored"), LIMIT, || {
            results = self.results(target);
            results.len() >= count
        });
        results
    }
}

/// SIGTERM, and what the program left behind.
#[track_caller]
pub fn stop(mut running: Running) -> Output {
    running.signal(Signal::TERM);
    running.wait(LIMIT)
}

/// A target that is looked at every second.
pub fn every_second(id: &str, url: &str) -> String {
    format!("  - {{id: {id}, url: \"{url}\", interval: 1s}}\n")
}

/// A configuration of such targets.
pub fn targets<'a>(list: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines: String = list.into_iter().map(|(id, url)| every_second(id, &url)).collect();
    format!("targets:\n{lines}")
}

/// How many requests a site that answers each one after `each` had before it at once. Connections would not tell: a client that has
/// its answer goes on before the site has seen it go.
pub fn most_at_once(site: &Site, each: Duration) -> usize {
    let at: Vec<_> = site.requests().iter().map(|request| request.at).collect();
    let within = each - Duration::from_millis(10);
    at.iter().map(|from| at.iter().filter(|&t| (*from..*from + within).contains(t)).count()).max().unwrap_or(0)
}

/// The time of a column, in milliseconds since 1970.
#[track_caller]
pub fn ms(row: &Row, column: &str) -> i64 {
    row[column].as_str().unwrap().parse::<model::UnixMs>().unwrap().0
}
