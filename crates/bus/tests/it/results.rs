//! Results to write.

use model::{
    CheckResult, Location, Phase, Reason, TargetId, UnixMs, Verdict,
    result::{Finding, HttpVersion, Look, Phases, TlsSeen},
};
use std::time::Duration;

/// 2026-11-23T10:00:20.732Z
pub const DUE: UnixMs = UnixMs(1_795_428_020_732);

/// The result of the contract's example.
pub fn down() -> CheckResult {
    let mut look = Look::begun(UnixMs(DUE.0 + 4), Duration::from_micros(130), 1);
    look.phases = Phases { dns: us(1200), connect: us(9000), tls: us(14000), wait: us(80000), transfer: us(1200) };
    look.total = us(105_400);
    look.status = Some(200);
    look.http = Some(HttpVersion::V1_1);
    look.peer = Some("93.184.216.34:443".parse().unwrap());
    look.final_url = Some("https://shop.example.org/cart/".to_owned());
    look.redirects = 1;
    look.body_bytes = Some(10240);
    look.tls = Some(TlsSeen {
        version: Some("1.3"),
        issuer: "CN=R11,O=Let's Encrypt,C=US".to_owned(),
        subject: "CN=shop.example.org".to_owned(),
        not_before: "2026-11-01T12:00:00.000Z".parse().unwrap(),
        not_after: "2027-01-30T12:00:00.000Z".parse().unwrap(),
    });
    look.rtt = us(8700);
    look.retransmits = Some(0);
    CheckResult {
        target: TargetId::new("shop-cart").unwrap(),
        name: "Shop cart".into(),
        group: Some("Shop".into()),
        url: "https://shop.example.org/cart".into(),
        location: Location::new("home").unwrap(),
        due_at: DUE,
        interval_ms: 30_000,
        verdict: Verdict::Down,
        finding: Some(Finding::new(
            Reason::BodyNoMatch,
            "body does not match /Add to (basket|cart)/ (10,240 bytes read)",
        )),
        look: Some(look),
    }
}

/// Plain http, nothing to complain about.
pub fn up() -> CheckResult {
    let mut look = Look::begun(UnixMs(DUE.0), Duration::ZERO, 1);
    look.phases = Phases { dns: None, connect: us(60), tls: None, wait: us(210), transfer: us(35) };
    look.total = us(305);
    look.status = Some(200);
    look.http = Some(HttpVersion::V1_1);
    look.peer = Some("[::1]:8080".parse().unwrap());
    look.body_bytes = Some(2);
    CheckResult { group: None, verdict: Verdict::Up, finding: None, look: Some(look), ..down() }
}

/// The server accepts and says nothing.
pub fn timeout() -> CheckResult {
    let mut look = Look::begun(UnixMs(DUE.0), Duration::ZERO, 2);
    look.phases = Phases { connect: us(60), wait: us(1_999_940), ..Phases::default() };
    look.total = us(2_000_000);
    look.peer = Some("127.0.0.1:80".parse().unwrap());
    let finding = Finding::timeout(Phase::Wait, "no answer within 2 s");
    CheckResult { group: None, finding: Some(finding), look: Some(look), ..down() }
}

pub fn late() -> CheckResult {
    let finding = Finding::new(Reason::Late, "not started before the next slot");
    CheckResult { group: None, verdict: Verdict::Unknown, finding: Some(finding), look: None, ..down() }
}

/// Interrupted before it had begun.
pub fn stopping() -> CheckResult {
    let finding = Finding::new(Reason::Stopping, "stopped before it had begun");
    let look = Some(Look::begun(DUE, Duration::ZERO, 0));
    CheckResult { group: None, verdict: Verdict::Unknown, finding: Some(finding), look, ..down() }
}

pub fn us(micros: u64) -> Option<Duration> {
    Some(Duration::from_micros(micros))
}
