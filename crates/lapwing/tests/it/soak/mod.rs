//! A long look at thousands of targets that misbehave in every way that the kit knows: no verdict that a site did not earn, no slot
//! without a result, and nothing in the process that grows.

mod gauges;
mod kinds;

use crate::at_work::{LIMIT, Lapwing, stop};
use crate::tables::{self, Row};
use gauges::Gauges;
use kinds::{DENIED, Kind, World};
use model::{UnixMs, slot::Slots};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};
use testkit::{pki, until};

/// How much of it there is.
struct Soak {
    targets: usize,
    /// Taken in turn.
    intervals: [u32; 3],
    length: Duration,
    /// Some targets go and others come each time.
    reload_every: Duration,
}

#[test]
fn for_half_a_minute_each_site_gets_the_verdict_that_it_earned_and_no_descriptor_is_left() {
    let seconds = Duration::from_secs;
    let soak = Soak { targets: 240, intervals: [4, 5, 6], length: seconds(30), reload_every: seconds(9) };
    soak.run();
}

#[test]
#[ignore = "takes SOAK minutes: `make soak` runs it"]
fn for_minutes_each_site_gets_the_verdict_that_it_earned_and_nothing_grows() {
    let minutes: u64 = std::env::var("SOAK").map_or(10, |text| text.parse().unwrap());
    let length = Duration::from_secs(60 * minutes);
    let soak = Soak { targets: 3000, intervals: [10, 20, 30], length, reload_every: Duration::from_secs(45) };
    let (gauges, unknown) = soak.run();
    gauges.are_flat();
    assert!(unknown < 0.02, "{:.1} % of the results are unknown", unknown * 100.0);
}

/// A target of the soak.
struct Watched {
    id: String,
    kind: usize,
    interval: u32,
    /// In which of the two configurations that take turns: the first, the second.
    there: [bool; 2],
}

impl Soak {
    /// Also says which share of the results is unknown: on a busy machine that is nobody's fault.
    fn run(&self) -> (Gauges, f64) {
        let world = World::new();
        let watched = self.watched(&world.kinds);
        let texts = [0, 1].map(|turn| config(&world.kinds, &watched, |w| w.there[turn]));
        let nothing = config(&world.kinds, &watched, |_| false);
        let lapwing = Lapwing::with(&nothing);
        pki().write(lapwing.program.folder());
        let running = lapwing.started();
        let mut gauges = Gauges::of(&running);
        let mut reloads = 0;
        let mut reload = |text: &str| {
            lapwing.configure(text);
            reloads += 1;
            running.wait_for_lines(reloads, LIMIT, |line| line.contains("was read again and is in force"));
        };
        reload(&texts[0]);
        let began = Instant::now();
        sleep(Duration::from_secs(1)); // they are taken over after it was said
        let from = now();
        let mut turn = 0;
        while began.elapsed() < self.length {
            if began.elapsed() >= self.reload_every * (turn + 1) {
                turn += 1;
                reload(&texts[turn as usize % 2]);
            }
            gauges.look();
            sleep(Duration::from_secs(1));
        }
        let to = now();
        reload(&nothing);
        until("what is in flight has ended", LIMIT, || lapwing.metric("lapwing_checks_in_flight") == 0.0);
        until("no more is open than before the first check", LIMIT, || gauges.descriptors_are_idle());
        let output = stop(running);
        assert_eq!(output.code, 0, "{output}");
        let rows = tables::select(&lapwing.store(), "select * from results order by target, due_at");
        println!("{gauges}");
        let unknown = earned(&world.kinds, &watched, &rows);
        covered(&watched, &rows, from, to);
        (gauges, unknown)
    }

    fn watched(&self, kinds: &[Kind]) -> Vec<Watched> {
        let one = |n: usize| {
            let (kind, round) = (n % kinds.len(), n / kinds.len());
            let part = (n + round) % 10;
            let id = format!("{}-{round}", kinds[kind].name);
            Watched { id, kind, interval: self.intervals[round % 3], there: [part != 0, part != 1] }
        };
        (0..self.targets).map(one).collect()
    }
}

fn now() -> UnixMs {
    UnixMs::from_system(SystemTime::now())
}

fn config(kinds: &[Kind], watched: &[Watched], is_there: impl Fn(&Watched) -> bool) -> String {
    let mut lines = String::new();
    for Watched { id, kind, interval, .. } in watched.iter().filter(|w| is_there(w)) {
        let Kind { url, keys, .. } = &kinds[*kind];
        let url = url.replace("{id}", id);
        let more = if keys.is_empty() { String::new() } else { format!(", {keys}") };
        writeln!(lines, "  - {{id: {id}, url: \"{url}\", interval: {interval}s{more}}}").unwrap();
    }
    let targets = if lines.is_empty() { "targets: []\n".to_owned() } else { format!("targets:\n{lines}") };
    format!("probe: {{per_host: 1000}}\nguard: {{deny: [{DENIED}]}}\n{targets}")
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

/// Every result says what its kind has earned, or that the prober could not tell, where that can be. Prints what there
/// was; the share of those that are unknown.
#[track_caller]
fn earned(kinds: &[Kind], watched: &[Watched], rows: &[Row]) -> f64 {
    let kind_of: HashMap<_, _> = watched.iter().map(|w| (w.id.as_str(), w.kind)).collect();
    let mut counts: BTreeMap<(usize, String), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows {
        let kind = kind_of[text(row, "target")];
        let said = ["verdict", "reason", "phase"].map(|column| text(row, column)).join(" ");
        let said = said.trim_end();
        if said != kinds[kind].want && !has_cause(said, &kinds[kind]) {
            wrong.push(format!("{}: {said}: {}", text(row, "target"), text(row, "message")));
        }
        *counts.entry((kind, said.to_owned())).or_default() += 1;
    }
    println!("{} results of {} kinds", rows.len(), kinds.len());
    for ((kind, said), n) in &counts {
        let mark = if *said == kinds[*kind].want { "" } else { "  <- not what the site earned" };
        println!("  {:28} {n:6} {said}{mark}", kinds[*kind].name);
    }
    let unknown: usize = counts.iter().filter(|((_, said), _)| said.starts_with("unknown")).map(|(_, n)| n).sum();
    let of_ours = |row: &&Row| text(row, "verdict") == "unknown";
    let example =
        rows.iter().find(of_ours).map(|row| format!(", as {}: {}", text(row, "target"), text(row, "message")));
    println!("{unknown} unknown{}", example.unwrap_or_default());
    assert!(wrong.is_empty(), "{} that no site earned:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    let seen = |(i, kind): &(usize, &Kind)| counts.contains_key(&(*i, kind.want.to_owned()));
    let never: Vec<_> = kinds.iter().enumerate().filter(|k| !seen(k)).map(|(_, kind)| kind.name).collect();
    assert!(never.is_empty(), "never seen as they are: {never:?}");
    unknown as f64 / rows.len() as f64
}

/// A busy machine may take its time from a check that has little of it.
fn has_cause(said: &str, kind: &Kind) -> bool {
    let short_of_time = ["timeout", "slow", "closed"].iter().any(|reason| kind.want.contains(reason));
    said == "unknown prober_overloaded" && short_of_time
}

/// Every slot of a target that was there all the time has one result. (Of the slot that ran when it came there may be none: where the
/// next one is only moments away, that is looked at instead.)
#[track_caller]
fn covered(watched: &[Watched], rows: &[Row], from: UnixMs, to: UnixMs) {
    let mut stored: HashMap<&str, Vec<UnixMs>> = HashMap::new();
    for row in rows {
        stored.entry(text(row, "target")).or_default().push(text(row, "due_at").parse().unwrap());
    }
    let mut slots = 0;
    for Watched { id, interval, .. } in watched.iter().filter(|w| w.there == [true, true]) {
        let due = Slots::new(id, "test", interval * 1000);
        // The last ones may not have begun when the targets were taken away.
        let within = from.0..to.0 - 2000;
        let expected: Vec<_> = std::iter::successors(Some(due.after(from)), |slot| Some(due.after(*slot)))
            .take_while(|slot| within.contains(&slot.0))
            .collect();
        let mut got = stored.remove(id.as_str()).unwrap_or_default();
        got.retain(|slot| *slot > from && within.contains(&slot.0));
        assert_eq!(got, expected, "the slots of {id}");
        slots += expected.len();
    }
    println!("{slots} slots of targets that were there all the time, each with one result");
}
