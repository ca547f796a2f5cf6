//! Results to store: what a prober of many targets finds, most of it the same from check to check.

use bus::record::{decode, encode};
use bytes::Bytes;
use model::{
    CheckResult, Location, Reason, TargetId, UnixMs, Verdict,
    batch::{Batch, Entry, Envelope, Source},
    result::{Finding, HttpVersion, Look, Phases, TlsSeen},
};
use std::{net::SocketAddr, ops::Range, time::Duration};

/// Each target is due once in it.
const INTERVAL_MS: i64 = 60_000;
/// Results of one moment arrive in no particular order.
const JITTER: u64 = 4000;

/// All results of a location, in the order in which they arrive.
#[derive(Debug)]
pub struct Rows {
    targets: u64,
    /// When the first one is due.
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

    /// The results with these numbers, as the writer gets them: decoded, and without the bytes that only a dead letter needs.
    pub fn batch(&self, numbers: Range<u64>) -> Batch {
        let (from, next) = (numbers.start as i64, numbers.end as i64); // a few million
        let mut record = Vec::new();
        let mut entry = |n: u64| {
            record.clear();
            encode(&self.result(n, n - numbers.start), &mut record);
            let content = decode(&record, UnixMs(i64::MAX));
            Entry { offset: n as i64, value: Bytes::new(), envelope: Envelope::default(), content }
        };
        Batch { source: self.source.clone(), from, next, entries: numbers.clone().map(&mut entry).collect() }
    }

    /// A target and its result as a record of the wire.
    pub fn json(&self, n: u64) -> (String, Vec<u8>) {
        let result = self.result(n, n % 1000);
        let mut record = Vec::with_capacity(1024);
        encode(&result, &mut record);
        (result.target.to_string(), record)
    }

    /// `place` is where it arrived in its batch; kept as its lag, so that the rows can be put into that order again.
    fn result(&self, n: u64, place: u64) -> CheckResult {
        // A permutation of each stretch: the odd factor makes it one.
        let n = n - n % JITTER + n.wrapping_mul(2_654_435_761) % JITTER;
        let (round, target) = (n / self.targets, n % self.targets);
        let due_at = self.begin.0 + round as i64 * INTERVAL_MS + (target * INTERVAL_MS as u64 / self.targets) as i64;
        let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let us = |at_least: u64, shift: u32, more: u64| Some(Duration::from_micros(at_least + (noise >> shift) % more));
        let is_down = n % 100 == 7;
        let mut look = Look::begun(UnixMs(due_at + 1), Duration::from_micros(place), 1);
        look.phases = Phases {
            dns: us(900, 36, 256),
            connect: us(8000, 20, 2048),
            tls: us(14_000, 24, 4096),
            wait: us(80_000, 28, 65_536),
            transfer: us(900, 32, 512),
        };
        look.total = Some(look.phases.sum());
        look.status = Some(if is_down { 503 } else { 200 });
        look.http = Some(HttpVersion::V1_1);
        look.peer = Some(SocketAddr::from(([10, 0, (target >> 8) as u8, target as u8], 443)));
        look.body_bytes = Some(10_240);
        look.tls = Some(TlsSeen {
            version: Some("1.3"),
            issuer: "CN=R11,O=Let's Encrypt,C=US".into(),
            subject: "CN=example.org".into(),
            not_before: UnixMs(self.begin.0 - 86_400_000),
            not_after: UnixMs(self.begin.0 + 86_400_000 * 60),
        });
        look.rtt = Some(Duration::from_millis(8));
        look.retransmits = Some(0);
        CheckResult {
            target: self.ids[target as usize].clone(),
            name: format!("Shop {target}").into(),
            group: Some("Shops".into()),
            url: format!("https://shop-{target}.example.org/cart").into(),
            location: self.location.clone(),
            due_at: UnixMs(due_at),
            interval_ms: INTERVAL_MS as u32,
            verdict: if is_down { Verdict::Down } else { Verdict::Up },
            finding: is_down.then(|| Finding::new(Reason::Status, "status 503, expected 200-299")),
            look: Some(look),
        }
    }
}
