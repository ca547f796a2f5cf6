//! What `check` shows people: one target in full, several as a table.

use model::{
    CheckResult, Reason, UnixMs, Verdict,
    judge::{Expectation, expectations},
    result::{Look, Phases, TlsSeen},
    target::Target,
    text::{duration, redact, thousands},
};
use probe::Report;
use std::{
    fmt::Write,
    io::{self, IsTerminal},
    time::Duration,
};

/// How many characters the longest bar of the waterfall has.
const BAR: f64 = 40.0;

/// Whether words may have colours: only on a terminal, and not when NO_COLOR says no.
#[derive(Clone, Copy, Debug)]
pub struct Colours(bool);

impl Colours {
    pub fn of_stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()))
    }

    fn paint(self, text: &str, code: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn verdict(self, verdict: Verdict, width: usize) -> String {
        let code = match verdict {
            Verdict::Up => "32",
            Verdict::Degraded => "33",
            Verdict::Down => "31",
            Verdict::Unknown => "35",
        };
        self.paint(&format!("{verdict:<width$}"), code)
    }
}

/// One target in full: what was asked, what came, where the time went, what was expected.
pub fn full(target: &Target, report: &Report, colours: Colours) -> String {
    let result = &report.result;
    let mut out = format!("{}  {}\n", colours.verdict(result.verdict, 0), result.url);
    if let Some(f) = &result.finding {
        let phase = f.phase.filter(|_| f.reason == Reason::Timeout).map(|p| format!(" in {p}")).unwrap_or_default();
        line(&mut out, "why", &format!("{}{phase}: {}", f.reason, f.message));
    }
    out.push('\n');
    if let Some(look) = &result.look {
        seen(&mut out, target, result, look);
        waterfall(&mut out, look);
    }
    let secrets = || target.request.secrets.iter().map(AsRef::as_ref);
    let list = expectations(target, &report.answer);
    if !list.is_empty() {
        out.push_str("\n  expected\n");
    }
    for e in &list {
        out.push_str(&expectation(e, &redact(&e.got, secrets()), colours));
    }
    out
}

fn line(out: &mut String, what: &str, text: &str) {
    let _ = writeln!(out, "  {what:<10} {text}"); // a String takes everything
}

fn seen(out: &mut String, target: &Target, result: &CheckResult, look: &Look) {
    line(out, "asked", &format!("{} {}", target.request.method, result.url));
    let peer = look.peer.map(|p| p.to_string());
    match (look.status, look.http) {
        (Some(status), Some(http)) => {
            let from = peer.map(|p| format!(" from {p}")).unwrap_or_default();
            line(out, "answer", &format!("{status}, HTTP/{}{from}", http.word()));
        }
        _ => line(out, "answer", &format!("none{}", peer.map(|p| format!(" (asked {p})")).unwrap_or_default())),
    }
    if let Some(url) = &look.final_url {
        line(out, "redirects", &format!("{}, to {url}", look.redirects));
    }
    if let Some(bytes) = look.body_bytes {
        line(out, "body", &format!("{} bytes", thousands(bytes)));
    }
    if let Some(tls) = &look.tls {
        certificate(out, tls, look.started_at);
    }
    if let Some(rtt) = look.rtt {
        let again = look.retransmits.filter(|&n| n > 0).map(|n| format!(", {n} retransmitted")).unwrap_or_default();
        line(out, "network", &format!("round trip {}{again} (measured by the kernel)", duration(rtt)));
    }
    if look.attempts > 1 {
        line(out, "attempts", &format!("{} (the last one is shown)", look.attempts));
    }
}

fn certificate(out: &mut String, tls: &TlsSeen, now: UnixMs) {
    let version = tls.version.map(|v| format!("TLS {v}, ")).unwrap_or_default();
    line(out, "tls", &format!("{version}{}", tls.subject));
    line(out, "", &format!("issued by {}", tls.issuer));
    let left = if tls.not_after < now {
        format!("expired {} ago", duration(now.since(tls.not_after)))
    } else {
        format!("{} left", duration(tls.not_after.since(now)))
    };
    line(out, "", &format!("valid from {} to {} ({left})", tls.not_before, tls.not_after));
}

/// Each phase as a bar that begins where the one before it ended.
fn waterfall(out: &mut String, look: &Look) {
    let Some(total) = look.total else { return };
    let Phases { dns, connect, tls, wait, transfer } = look.phases;
    let scale = |d: Duration| (d.as_secs_f64() / total.as_secs_f64().max(1e-9) * BAR).round() as usize; // at most 40
    let mut before = Duration::ZERO;
    out.push('\n');
    for (name, time) in [("dns", dns), ("connect", connect), ("tls", tls), ("wait", wait), ("transfer", transfer)] {
        let Some(time) = time else { continue };
        let (from, to) = (scale(before), scale(before + time));
        let _ =
            writeln!(out, "  {name:<10} {:>9}  {}{}", duration(time), " ".repeat(from), "█".repeat((to - from).max(1)));
        before += time;
    }
    let _ = writeln!(out, "  {:<10} {:>9}", "total", duration(total));
}

fn expectation(e: &Expectation, got: &str, colours: Colours) -> String {
    let (mark, came) = match e.holds {
        Some(true) => (colours.paint("ok  ", "32"), format!("got {got}")),
        Some(false) if e.warn => (colours.paint("warn", "33"), format!("got {got}")),
        Some(false) => (colours.paint("MISS", "31"), format!("got {got}")),
        None => ("?   ".to_owned(), "the answer did not come that far".to_owned()),
    };
    let kind = if e.warn { " (warn)" } else { "" };
    format!("  {mark} {}{kind}: {}; {came}\n", e.what, e.expected)
}

/// Several targets, a line each.
#[derive(Debug)]
pub struct Table {
    colours: Colours,
    width: usize,
}

impl Table {
    pub fn new<'t>(ids: impl Iterator<Item = &'t str>, colours: Colours) -> Self {
        Self { colours, width: ids.map(|id| id.chars().count()).max().unwrap_or(0).clamp(6, 40) }
    }

    pub fn header(&self) -> String {
        format!("{:<width$}  {:<8}  {:>6}  {:>9}  why\n", "target", "verdict", "status", "time", width = self.width)
    }

    pub fn row(&self, result: &CheckResult) -> String {
        let look = result.look.as_ref();
        let status = look.and_then(|l| l.status).map_or_else(|| "-".to_owned(), |s| s.to_string());
        let time = look.and_then(|l| l.total).map_or_else(|| "-".to_owned(), duration);
        let why = result.finding.as_ref().map(|f| format!("{}: {}", f.reason, f.message)).unwrap_or_default();
        let verdict = self.colours.verdict(result.verdict, 8);
        let row = format!("{:<width$}  {verdict}  {status:>6}  {time:>9}  {why}", result.target, width = self.width);
        format!("{}\n", row.trim_end())
    }
}
