//! From an answer to a verdict: which expectation holds, and which miss is the reason when several apply.

use crate::{
    Reason, Target, Verdict,
    answer::{Answer, Validity},
    cel::{Expression, Outcome},
    pattern::{HeaderPattern, Patterns},
    result::Finding,
    target::{CertificateLimit, Limits, StatusSet},
    text::{duration, message, thousands},
};
use http::HeaderName;
use std::time::Duration;

/// The verdict, and why it is not `up`. (The contract, section 5: "Which one".)
///
/// What comes first wins: at the head `status`, then `header`, even if the body then breaks; while reading what broke the
/// exchange; at the end the body's patterns, the expression, the time, the certificate. Only an answer that meets all of
/// `expect` is held against `warn`.
pub fn judge(target: &Target, answer: &Answer) -> (Verdict, Option<Finding>) {
    let patterns = target.patterns.as_deref();
    let missed =
        |limits, stage| Item::of(limits, patterns).find(|i| i.stage() == stage && i.holds(answer) == Some(false));
    if let Some(item) = missed(&target.expect, Stage::Head) {
        let mut finding = item.finding(answer);
        if let Some(failure) = &answer.failure {
            finding.message = format!("{}; then {}: {}", finding.message, failure.reason, failure.message);
        }
        return (Verdict::Down, Some(finding));
    }
    if let Some(failure) = &answer.failure {
        let verdict = if failure.reason.is_ours() { Verdict::Unknown } else { Verdict::Down };
        return (verdict, Some(failure.clone()));
    }
    if let Some(item) = missed(&target.expect, Stage::End) {
        return (Verdict::Down, Some(item.finding(answer)));
    }
    match missed(&target.warn, Stage::Head).or_else(|| missed(&target.warn, Stage::End)) {
        Some(item) => (Verdict::Degraded, Some(item.finding(answer))),
        None => (Verdict::Up, None),
    }
}

/// Takes a verdict back that our own delay may have made: `prober_overloaded`. (The contract, section 5.)
///
/// Only `timeout`, `slow` and `closed` can be our fault, and only when the check could have passed without the delay: a time
/// that would have been within its limit; a timeout of which we slept a quarter away (the delay itself was given back to the
/// site, but what a connection makes of such a silence is not known); a connection closed on us after half a second of it.
pub fn doubt(
    target: &Target,
    answer: &Answer,
    ours: Duration,
    judged: (Verdict, Option<Finding>),
) -> (Verdict, Option<Finding>) {
    let reason = judged.1.as_ref().map(|f| f.reason);
    let limits = [target.expect.time, target.warn.time];
    let mut missed = limits.into_iter().flatten().filter(|l| answer.total > *l);
    let could_have_passed = (reason == Some(Reason::Slow) && missed.all(|l| answer.total.saturating_sub(ours) <= l))
        || (reason == Some(Reason::Timeout) && ours >= target.timeout / 4)
        || (reason == Some(Reason::Closed) && ours >= Duration::from_millis(500).max(answer.total / 2));
    match judged {
        (_, Some(f)) if could_have_passed => {
            let message = format!(
                "the prober itself was delayed by {} meanwhile; it saw {}: {}",
                duration(ours),
                f.reason,
                f.message
            );
            (Verdict::Unknown, Some(Finding::new(Reason::ProberOverloaded, message)))
        }
        judged => judged,
    }
}

/// One expectation for people: what was asked, what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub warn: bool,
    pub what: String,
    pub expected: String,
    /// Empty when the answer did not come that far.
    pub got: String,
    /// `None`: the answer did not come that far.
    pub holds: Option<bool>,
}

/// Every expectation of the target with what came, in the order in which they are judged.
pub fn expectations(target: &Target, answer: &Answer) -> Vec<Expectation> {
    let list = |limits, warn| {
        Item::of(limits, target.patterns.as_deref()).map(move |item| {
            let holds = item.holds(answer);
            let got = if holds.is_some() { item.got(answer) } else { String::new() };
            Expectation { warn, what: item.what(), expected: item.expected(), got, holds }
        })
    };
    list(&target.expect, false).chain(list(&target.warn, true)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    End,
}

/// One thing that is asked of an answer.
enum Item<'t> {
    Status(&'t StatusSet),
    Header(&'t HeaderName, &'t HeaderPattern),
    Matches(&'t Patterns, usize),
    NotMatches(&'t Patterns, usize),
    Cel(&'t Expression),
    Time(Duration),
    Certificate(CertificateLimit),
}

impl<'t> Item<'t> {
    /// In the order of the contract.
    fn of(limits: &'t Limits, patterns: Option<&'t Patterns>) -> impl Iterator<Item = Self> {
        let body = |list: &'t [usize]| patterns.into_iter().flat_map(move |p| list.iter().map(move |&i| (p, i)));
        limits
            .status
            .iter()
            .map(Self::Status)
            .chain(limits.headers.iter().map(|(n, p)| Self::Header(n, p)))
            .chain(body(&limits.matches).map(|(p, i)| Self::Matches(p, i)))
            .chain(body(&limits.not_matches).map(|(p, i)| Self::NotMatches(p, i)))
            .chain(limits.cel.iter().map(|e| Self::Cel(e)))
            .chain(limits.time.map(Self::Time))
            .chain(limits.certificate.map(Self::Certificate))
    }

    fn stage(&self) -> Stage {
        match self {
            Self::Status(_) | Self::Header(..) => Stage::Head,
            Self::Matches(..) | Self::NotMatches(..) | Self::Cel(_) | Self::Time(_) | Self::Certificate(_) => {
                Stage::End
            }
        }
    }

    /// `None`: the answer did not come far enough to tell.
    fn holds(&self, answer: &Answer) -> Option<bool> {
        let complete = answer.failure.is_none();
        match self {
            Self::Status(set) => answer.head.as_ref().map(|h| set.contains(h.status)),
            Self::Header(name, pattern) => {
                answer.head.as_ref().map(|h| h.headers.all(name.as_str()).any(|v| pattern.is_match(v)))
            }
            Self::Matches(_, i) => answer.matched.as_ref().map(|m| m.contains(*i)),
            Self::NotMatches(_, i) => answer.matched.as_ref().map(|m| !m.contains(*i)),
            Self::Cel(e) => complete.then(|| outcome(e, answer) == Some(&Outcome::True)),
            Self::Time(limit) => complete.then(|| answer.total <= *limit),
            Self::Certificate(limit) => complete.then(|| expiring(*limit, answer).is_none()),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Status(_) => Reason::Status,
            Self::Header(..) => Reason::Header,
            Self::Matches(..) => Reason::BodyNoMatch,
            Self::NotMatches(..) => Reason::BodyMatch,
            Self::Cel(_) => Reason::Cel,
            Self::Time(_) => Reason::Slow,
            Self::Certificate(_) => Reason::CertificateExpiring,
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Status(_) => "status".into(),
            Self::Header(name, _) => format!("header {name}"),
            Self::Matches(..) | Self::NotMatches(..) => "body".into(),
            Self::Cel(_) => "cel".into(),
            Self::Time(_) => "time".into(),
            Self::Certificate(_) => "certificate".into(),
        }
    }

    fn expected(&self) -> String {
        match self {
            Self::Status(set) => set.to_string(),
            Self::Header(_, pattern) => format!("/{}/", pattern.text()),
            Self::Matches(p, i) => format!("matches /{}/", p.text(*i)),
            Self::NotMatches(p, i) => format!("does not match /{}/", p.text(*i)),
            Self::Cel(e) => message(e.text().trim()),
            Self::Time(limit) => format!("at most {}", duration(*limit)),
            Self::Certificate(CertificateLimit::Remaining(d)) => format!("valid for {} more", duration(*d)),
            Self::Certificate(CertificateLimit::Share(s)) => format!("{s}% of its lifetime left"),
        }
    }

    fn got(&self, answer: &Answer) -> String {
        let Some(head) = &answer.head else { return String::new() };
        match self {
            Self::Status(_) => head.status.to_string(),
            Self::Header(name, _) => {
                let quote = |v: &[u8]| format!("\"{}\"", String::from_utf8_lossy(v));
                let values: Vec<_> = head.headers.all(name.as_str()).map(quote).collect();
                if values.is_empty() { "absent".into() } else { values.join(", ") }
            }
            Self::Matches(_, i) | Self::NotMatches(_, i) => {
                let found = answer.matched.as_ref().is_some_and(|m| m.contains(*i));
                format!("{} in {} bytes", if found { "found" } else { "not found" }, thousands(answer.body_bytes))
            }
            Self::Cel(e) => match outcome(e, answer) {
                Some(Outcome::True) => "true".into(),
                Some(Outcome::False) => "false".into(),
                Some(Outcome::Failed(why)) => format!("an error: {why}"),
                None => "not evaluated".into(),
            },
            Self::Time(_) => duration(answer.total),
            Self::Certificate(limit) => match expiring(*limit, answer).or_else(|| answer.certificates.first()) {
                Some(c) => format!("{}{}", lifetime_left(c, answer), share_left(*limit, c, answer)),
                None => "no certificate".into(),
            },
        }
    }

    fn finding(&self, answer: &Answer) -> Finding {
        let (expected, got) = (self.expected(), self.got(answer));
        let read = thousands(answer.body_bytes);
        let text = match self {
            Self::Status(_) => format!("status {got}, expected {expected}"),
            Self::Header(name, _) => format!("header {name} is {got}, expected {expected}"),
            Self::Matches(p, i) => format!("body does not match /{}/ ({read} bytes read)", p.text(*i)),
            Self::NotMatches(p, i) => format!("body matches /{}/, which it must not ({read} bytes read)", p.text(*i)),
            // What went wrong stands first: of a long expression the end is cut off.
            Self::Cel(e) => match outcome(e, answer) {
                Some(Outcome::Failed(why)) => format!("cel can't be evaluated, for {why}: {expected}"),
                Some(Outcome::True | Outcome::False) | None => format!("cel is {got}: {expected}"),
            },
            Self::Time(_) => format!("took {got}, expected {expected}"),
            Self::Certificate(limit) => match expiring(*limit, answer) {
                Some(c) => format!("certificate {} {got}, expected {expected}", c.subject),
                None => got,
            },
        };
        Finding::new(self.reason(), text)
    }
}

fn outcome<'a>(expression: &Expression, answer: &'a Answer) -> Option<&'a Outcome> {
    answer.outcomes.iter().find(|(e, _)| **e == *expression).map(|(_, outcome)| outcome)
}

/// The first certificate that does not stay valid as long as the limit says. One that is not valid yet can't stay so; without
/// verification it comes as far as here.
fn expiring(limit: CertificateLimit, answer: &Answer) -> Option<&Validity> {
    let too_short = |c: &Validity| match limit {
        CertificateLimit::Remaining(d) => c.not_after < answer.now + d,
        CertificateLimit::Share(percent) => share(c, answer) < percent,
    };
    answer.certificates.iter().find(|c| c.not_before > answer.now || too_short(c))
}

/// Per cent of the lifetime that is left.
fn share(c: &Validity, answer: &Answer) -> f64 {
    let whole = c.not_after.since(c.not_before).as_secs_f64();
    if whole <= 0.0 { 0.0 } else { c.not_after.since(answer.now).as_secs_f64() / whole * 100.0 }
}

fn lifetime_left(c: &Validity, answer: &Answer) -> String {
    if c.not_before > answer.now {
        return format!("is not valid before {} ({} from now)", c.not_before, duration(c.not_before.since(answer.now)));
    }
    if c.not_after < answer.now {
        return format!("expired {} ago ({})", duration(answer.now.since(c.not_after)), c.not_after);
    }
    format!("expires in {} ({})", duration(c.not_after.since(answer.now)), c.not_after)
}

fn share_left(limit: CertificateLimit, c: &Validity, answer: &Answer) -> String {
    match limit {
        CertificateLimit::Remaining(_) => String::new(),
        CertificateLimit::Share(_) => format!(", {:.0}% of its lifetime left", share(c, answer)),
    }
}

#[cfg(test)]
mod tests;
