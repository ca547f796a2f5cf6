//! Results to store: what a prober of many targets finds, most of it the same from check to check.

use bytes::Bytes;
use model::{
    Location, TargetId, UnixMs, Verdict,
    batch::{Batch, Content, Entry, Envelope, Source},
    record::{Record, RecordTls},
};
use std::ops::Range;

/// Each target is due once in it.
const INTERVAL_MS: i64 = 60_000;
/// Results of one moment arrive in no particular order.
const JITTER: u64 = 4000;

/// All results of a location, in the order in which they arrive.
#[derive(Debug)]
pub struct Rows {
    targets: u64,
    /// When the first one is due: the beginning of an hour.
    begin: UnixMs,
    ids: Vec<TargetId>,
    location: Location,
    source: Source,
}

impl Rows {
    pub fn of(targets: u64, begin: UnixMs) -> Self {
        let id = |n: u64| TargetId::new(&format!("shop-{n}.example.org-cart")).expect("an id");
        let location = Location::new("home").expect("an id");
        let source = Source { log: "bench".into(), name: "bench".into(), partition: 0 };
        Self { targets, begin, ids: (0..targets).map(id).collect(), location, source }
    }

    /// The results with these numbers, as the writer gets them.
    pub fn batch(&self, numbers: Range<u64>) -> Batch {
        let (from, next) = (numbers.start as i64, numbers.end as i64); // a few million
        let entry = |n: u64| {
            let content = Content::Result(Box::new(self.record(n, (n - numbers.start) as i32)));
            Entry { offset: n as i64, value: Bytes::new(), envelope: Envelope::default(), content }
        };
        Batch { source: self.source.clone(), from, next, entries: numbers.clone().map(entry).collect() }
    }

    /// A target and its result as a record of the wire.
    pub fn json(&self, n: u64) -> (String, Vec<u8>) {
        let r = self.record(n, (n % 1000) as i32);
        let tls = r.tls.clone().unwrap_or_default();
        let reason = r.reason.as_ref().map_or(String::new(), |reason| {
            let (phase, message) = (r.phase.as_deref().unwrap_or_default(), r.message.as_deref().unwrap_or_default());
            format!(r#""reason":"{reason}","phase":"{phase}","message":"{message}","#)
        });
        let number = |value: Option<i32>| value.unwrap_or_default();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let time = |value: Option<UnixMs>| value.map(|at| at.to_string()).unwrap_or_default();
        let record = format!(
            concat!(
                r#"{{"v":1,"target":"{}","name":"{}","group":"{}","url":"{}","location":"{}","due_at":"{}","started_at":"{}","#,
                r#""interval_ms":{},"verdict":"{}",{}"attempts":1,"status":{},"http":"1.1","peer":"{}","dns_us":{},"#,
                r#""connect_us":{},"tls_us":{},"wait_us":{},"transfer_us":{},"total_us":{},"body_bytes":{},"#,
                r#""tls":{{"version":"1.3","issuer":"{}","subject":"{}","not_before":"{}","not_after":"{}"}},"#,
                r#""rtt_us":8000,"retransmits":0,"lag_us":{}}}"#
            ),
            r.target,
            text(&r.name),
            text(&r.group),
            text(&r.url),
            r.location,
            r.due_at,
            time(r.started_at),
            number(r.interval_ms),
            r.verdict,
            reason,
            number(r.status),
            text(&r.peer),
            number(r.dns_us),
            number(r.connect_us),
            number(r.tls_us),
            number(r.wait_us),
            number(r.transfer_us),
            number(r.total_us),
            number(r.body_bytes),
            text(&tls.issuer),
            text(&tls.subject),
            time(tls.not_before),
            time(tls.not_after),
            number(r.lag_us),
        );
        (r.target.to_string(), record.into_bytes())
    }

    /// `place` is where it arrived in its batch; kept in `lag_us`, so that the rows can be put into that order again.
    fn record(&self, n: u64, place: i32) -> Record {
        // A permutation of each stretch: the odd factor makes it one.
        let n = n - n % JITTER + n.wrapping_mul(2_654_435_761) % JITTER;
        let (round, target) = (n / self.targets, n % self.targets);
        let due_at = self.begin.0 + round as i64 * INTERVAL_MS + (target * INTERVAL_MS as u64 / self.targets) as i64;
        let us = |shift: u32, most: i32| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as i32 & (most - 1);
        let (connect, tls, wait, transfer) =
            (8000 + us(20, 2048), 14_000 + us(24, 4096), 80_000 + us(28, 65_536), 900 + us(32, 512));
        let is_down = n % 100 == 7;
        Record {
            target: self.ids[target as usize].clone(),
            name: Some(format!("Shop {target}")),
            group: Some("Shops".into()),
            url: Some(format!("https://shop-{target}.example.org/cart")),
            location: self.location.clone(),
            due_at: UnixMs(due_at),
            started_at: Some(UnixMs(due_at + 1)),
            interval_ms: Some(INTERVAL_MS as i32),
            verdict: if is_down { Verdict::Down } else { Verdict::Up },
            reason: is_down.then(|| "status".into()),
            phase: is_down.then(|| "expect".into()),
            message: is_down.then(|| "status 503, expected 200-299".into()),
            attempts: Some(1),
            status: Some(if is_down { 503 } else { 200 }),
            http: Some("1.1".into()),
            peer: Some(format!("10.0.{}.{}:443", target >> 8 & 255, target & 255)),
            final_url: None,
            redirects: None,
            dns_us: Some(900 + us(36, 256)),
            connect_us: Some(connect),
            tls_us: Some(tls),
            wait_us: Some(wait),
            transfer_us: Some(transfer),
            total_us: Some(connect + tls + wait + transfer),
            body_bytes: Some(10_240),
            tls: Some(RecordTls {
                version: Some("1.3".into()),
                issuer: Some("CN=R11,O=Let's Encrypt,C=US".into()),
                subject: Some("CN=example.org".into()),
                not_before: Some(UnixMs(self.begin.0 - 86_400_000)),
                not_after: Some(UnixMs(self.begin.0 + 86_400_000 * 60)),
            }),
            rtt_us: Some(8_000),
            retransmits: Some(0),
            lag_us: Some(place),
        }
    }
}
