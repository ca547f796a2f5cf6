//! `lapwing check`: looks once, now, and reports in the order in which it was asked.

use crate::{
    cli::{CheckArgs, Shared},
    descriptors,
    exit::{self, Exit},
    reload::{self, Source},
    report::{self, Colours, Table},
    stop::{self, Stop},
};
use anyhow::Context;
use config::Config;
use model::{
    CheckResult, Location, Reason, Target, TargetId, UnixMs, Verdict,
    answer::Answer,
    guard::Guard,
    result::{Finding, Look},
};
use probe::{Due, Prober, Report};
use std::{
    collections::{HashMap, VecDeque},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Semaphore, task::JoinHandle};

pub fn check(shared: &Shared, args: &CheckArgs) -> Result<ExitCode, Exit> {
    let (plan, targets) = plan(shared, args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let well = runtime.block_on(look(&plan, &targets, args.json))?;
    // What was given up must not hold the end: its sockets go with the process.
    runtime.shutdown_background();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(exit::SAW_TROUBLE) })
}

/// How to look: what the configuration says of the prober, or what holds without one.
struct Plan {
    location: Location,
    prober: Arc<Prober>,
    concurrency: usize,
    per_host: usize,
    grace: Duration,
}

/// What to look at and how.
fn plan(shared: &Shared, args: &CheckArgs) -> Result<(Plan, Vec<Arc<Target>>), Exit> {
    let source = Source::of(shared);
    // With URLs the configuration is optional: one that nobody named and that is not there is none.
    let config =
        if args.urls.is_empty() || source.is_there() { Some(source.load().map_err(Exit::usage)?) } else { None };
    let targets = if args.urls.is_empty() {
        chosen(config.as_ref().map_or(&[][..], |c| &c.targets), &args.target)?
    } else {
        config::bare_targets(&args.urls, &flags(args), config.as_ref()).map_err(Exit::usage)?
    };
    let mut plan = match &config {
        Some(config) => Plan::of(config),
        None => Plan {
            location: Location::new("default").expect("the contract's default is a location"),
            prober: Arc::new(Prober::new(probe::Settings {
                guard: Guard::default(),
                user_agent: reload::default_user_agent(),
                resolvers: Vec::new(),
                online_check: Vec::new(),
            })),
            concurrency: 1000,
            per_host: 8,
            grace: Duration::from_secs(10),
        },
    };
    // Looking once with fewer at a time takes longer, and is as good.
    plan.concurrency = descriptors::clamp(plan.concurrency);
    for target in &targets {
        plan.prober.prepare(target).map_err(|e| Exit::usage(format!("{}: {e}", target.id)))?;
    }
    Ok((plan, targets))
}

impl Plan {
    fn of(config: &Config) -> Self {
        Self {
            location: config.location.clone(),
            prober: reload::prober_of(config),
            concurrency: config.probe.concurrency,
            per_host: config.probe.per_host,
            grace: config.shutdown_grace,
        }
    }
}

fn flags(args: &CheckArgs) -> config::BareFlags {
    config::BareFlags {
        timeout: args.timeout.clone(),
        status: args.status.clone(),
        matches: args.matches.clone(),
        not_matches: args.not_matches.clone(),
        headers: args.header.clone(),
        method: args.method.clone(),
        insecure: args.insecure,
        ca_file: args.ca_file.clone(),
        resolver: args.resolver.clone().into_iter().collect(),
    }
}

/// The targets that were asked for, in that order; all of them when none was named.
fn chosen(all: &[Arc<Target>], ids: &[String]) -> Result<Vec<Arc<Target>>, Exit> {
    if ids.is_empty() {
        return Ok(all.to_vec());
    }
    let by_id: HashMap<&str, &Arc<Target>> = all.iter().map(|t| (t.id.as_str(), t)).collect();
    let unknown: Vec<_> = ids
        .iter()
        .filter(|id| !by_id.contains_key(id.as_str()))
        .map(|id| format!("--target: no target has the id {id:?}"))
        .collect();
    if unknown.is_empty() {
        Ok(ids.iter().map(|id| Arc::clone(by_id[id.as_str()])).collect())
    } else {
        Err(Exit::usage(unknown.join("\n")))
    }
}

/// Looks at all of them, at as many at once as the plan allows, and prints each as soon as those before it are printed.
/// Says whether all is well; a look that was interrupted is not.
async fn look(plan: &Plan, targets: &[Arc<Target>], json: bool) -> Result<bool, Exit> {
    let stop = stop::on_signal()?;
    let (places, mut hosts) = (Arc::new(Semaphore::new(plan.concurrency)), HashMap::new());
    let mut looks: VecDeque<JoinHandle<Report>> = VecDeque::with_capacity(targets.len());
    for target in targets {
        let host = hosts.entry(host_of(target)).or_insert_with(|| Arc::new(Semaphore::new(plan.per_host)));
        let places = [Arc::clone(host), Arc::clone(&places)];
        let (prober, target, stop) = (Arc::clone(&plan.prober), Arc::clone(target), stop.clone());
        let (location, grace) = (plan.location.clone(), plan.grace);
        looks.push_back(tokio::spawn(async move { one(&prober, &target, location, places, &stop, grace).await }));
    }
    let mut printer = Printer::new(targets, json);
    for (target, look) in targets.iter().zip(looks) {
        let report = look.await.context("look at a target")?;
        printer.print(target, &report)?;
    }
    Ok(printer.end()? && !stop.asked.is_cancelled())
}

fn host_of(target: &Target) -> (String, Option<u16>) {
    (target.url.host_str().unwrap_or_default().to_owned(), target.url.port_or_known_default())
}

/// One check in its places: its host's first, so that who waits for a host holds no place of the others.
async fn one(
    prober: &Prober,
    target: &Target,
    location: Location,
    places: [Arc<Semaphore>; 2],
    stop: &Stop,
    grace: Duration,
) -> Report {
    let mut held = Vec::with_capacity(2);
    for place in &places {
        tokio::select! {
            permit = place.acquire() => held.push(permit),
            () = stop.asked.cancelled() => return given_up(target, location, now(), 0),
        }
    }
    if stop.asked.is_cancelled() {
        return given_up(target, location, now(), 0);
    }
    let started_at = now();
    let due = Due { location: location.clone(), at: None, lag: Duration::ZERO };
    tokio::select! {
        report = prober.report(target, due) => report,
        () = stop.given_up(grace) => given_up(target, location, started_at, 1),
    }
}

fn now() -> UnixMs {
    UnixMs::from_system(SystemTime::now())
}

/// A check that a stop ended, or never let begin.
fn given_up(target: &Target, location: Location, started_at: UnixMs, attempts: u32) -> Report {
    let message = if attempts == 0 {
        "the check had not begun when it was interrupted"
    } else {
        "the check was interrupted before it ended"
    };
    let finding = Finding::new(Reason::Stopping, message);
    let mut result = CheckResult::unknown(target, location, started_at, finding.clone());
    result.look = Some(Look::begun(started_at, Duration::ZERO, attempts));
    let answer = Answer {
        head: None,
        failure: Some(finding),
        matched: None,
        body_bytes: 0,
        kept: None,
        outcomes: Vec::new(),
        total: Duration::ZERO,
        certificates: Vec::new(),
        now: started_at,
    };
    Report { result, answer }
}

/// Prints results in the form that was asked for, and keeps count.
struct Printer {
    form: Form,
    by_verdict: HashMap<Verdict, usize>,
}

enum Form {
    Json,
    Full(Colours),
    Table(Table, bool),
}

impl Printer {
    fn new(targets: &[Arc<Target>], json: bool) -> Self {
        let colours = Colours::of_stdout();
        let form = match targets {
            _ if json => Form::Json,
            [_] => Form::Full(colours),
            several => Form::Table(Table::new(several.iter().map(|t| TargetId::as_str(&t.id)), colours), false),
        };
        Self { form, by_verdict: HashMap::new() }
    }

    fn print(&mut self, target: &Target, report: &Report) -> Result<(), Exit> {
        *self.by_verdict.entry(report.result.verdict).or_default() += 1;
        match &mut self.form {
            Form::Json => {
                let mut line = Vec::with_capacity(1024);
                bus::record::encode(&report.result, &mut line);
                exit::print(&format!("{}\n", String::from_utf8_lossy(&line)))
            }
            Form::Full(colours) => exit::print(&report::full(target, report, *colours)),
            Form::Table(table, begun) => {
                let header = if std::mem::replace(begun, true) { String::new() } else { table.header() };
                exit::print(&format!("{header}{}", table.row(&report.result)))
            }
        }
    }

    /// Whether every verdict is `up` or `degraded`.
    fn end(self) -> Result<bool, Exit> {
        let count = |v: &Verdict| self.by_verdict.get(v).copied().unwrap_or(0);
        if let Form::Table(..) = self.form {
            let told: Vec<_> =
                Verdict::ALL.iter().filter(|v| count(v) > 0).map(|v| format!("{} {v}", count(v))).collect();
            exit::print(&format!("\n{}\n", if told.is_empty() { "no targets".to_owned() } else { told.join(", ") }))?;
        }
        Ok(count(&Verdict::Down) + count(&Verdict::Unknown) == 0)
    }
}
