//! A result becomes a record. On the path of every check: a microsecond, and no allocation but the line itself.

use super::MAX_LEN;
use model::{
    CheckResult, UnixMs,
    result::{Finding, Look, Phases, TlsSeen},
};
use serde::Serialize;
use std::{borrow::Cow, time::Duration};

/// Appends the record to `out`: one line, without a line end.
pub fn encode(result: &CheckResult, out: &mut Vec<u8>) {
    let start = out.len();
    // A record is far below the limit, unless somebody's certificate or URL is absurd: then its texts are cut.
    for longest_text in [usize::MAX, 8 << 10, 1 << 10] {
        out.truncate(start);
        let mut line = Line { out, longest_text };
        line.result(result);
        line.out.push(b'}');
        if out.len() - start <= MAX_LEN {
            return;
        }
    }
}

struct Line<'o> {
    out: &'o mut Vec<u8>,
    longest_text: usize,
}

/// The fields, in the order of the contract's example. What does not apply is absent.
impl Line<'_> {
    fn result(&mut self, result: &CheckResult) {
        self.out.extend_from_slice(b"{\"v\":1");
        self.word("target", result.target.as_str());
        self.text("name", &result.name);
        self.some(result.group.as_deref(), |line, group| line.text("group", group));
        self.text("url", &result.url);
        self.word("location", result.location.as_str());
        self.time("due_at", result.due_at);
        let look = result.look.as_ref();
        self.some(look, |line, look| line.time("started_at", look.started_at));
        self.number("interval_ms", result.interval_ms);
        self.word("verdict", result.verdict.word());
        self.some(result.finding.as_ref(), Self::finding);
        self.number("attempts", look.map_or(0, |look| look.attempts));
        self.some(look, Self::look);
    }

    fn finding(&mut self, finding: &Finding) {
        self.word("reason", finding.reason.word());
        self.some(finding.phase, |line, phase| line.word("phase", phase.word()));
        self.text("message", &finding.message);
    }

    fn look(&mut self, look: &Look) {
        // A status line may hold any three digits; a record only what is a status.
        self.some(look.status.filter(|status| (100..=999).contains(status)), |line, status| {
            line.number("status", status);
        });
        self.some(look.http, |line, http| line.word("http", http.word()));
        self.some(look.peer, |line, peer| line.shown("peer", &peer));
        self.some(look.final_url.as_deref(), |line, url| line.text("final_url", url));
        if look.total.is_some() {
            self.number("redirects", look.redirects);
            self.phases(&look.phases);
        }
        self.some(look.body_bytes, |line, bytes| line.number("body_bytes", bytes));
        self.some(look.tls.as_ref(), Self::tls);
        self.some(look.rtt, |line, rtt| line.number("rtt_us", micros(rtt)));
        self.some(look.retransmits, |line, n| line.number("retransmits", n));
        self.number("lag_us", micros(look.lag));
    }

    /// The total is the sum of what stands in the record, so that the whole microseconds add up.
    fn phases(&mut self, phases: &Phases) {
        let mut total = 0;
        for (name, phase) in [
            ("dns_us", phases.dns),
            ("connect_us", phases.connect),
            ("tls_us", phases.tls),
            ("wait_us", phases.wait),
            ("transfer_us", phases.transfer),
        ] {
            if let Some(phase) = phase {
                let us = micros(phase);
                self.number(name, us);
                total += us;
            }
        }
        self.number("total_us", total);
    }

    fn tls(&mut self, tls: &TlsSeen) {
        self.key("tls");
        let start = self.out.len();
        self.some(tls.version, |line, version| line.word("version", version));
        self.text("issuer", &tls.issuer);
        self.text("subject", &tls.subject);
        self.time("not_before", tls.not_before);
        self.time("not_after", tls.not_after);
        self.out[start] = b'{'; // where the first field has its comma
        self.out.push(b'}');
    }
}

/// The kinds of value.
impl Line<'_> {
    fn some<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn key(&mut self, key: &'static str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Text of ours that needs no escapes.
    fn word(&mut self, key: &'static str, word: &str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    /// Text of the world: escaped, without NUL (no reader takes it), and cut when the record would be too long.
    fn text(&mut self, key: &'static str, text: &str) {
        let text = &text[..text.floor_char_boundary(self.longest_text)];
        let text: Cow<str> = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text.into() };
        self.key(key);
        self.json(&*text);
    }

    fn time(&mut self, key: &'static str, time: UnixMs) {
        self.shown(key, &time);
    }

    fn shown(&mut self, key: &'static str, value: &impl std::fmt::Display) {
        use std::io::Write;
        self.key(key);
        write!(self.out, "\"{value}\"").expect("a vector takes everything");
    }

    /// A whole number; more than 2^31-1 is written as that.
    fn number(&mut self, key: &'static str, number: impl TryInto<u64>) {
        self.key(key);
        self.json(&number.try_into().unwrap_or(u64::MAX).min(LARGEST));
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut *self.out, value).expect("a vector takes everything, and the value is JSON");
    }
}

const LARGEST: u64 = i32::MAX as u64;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LARGEST)
}
