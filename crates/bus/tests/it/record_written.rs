//! What is written is the contract's record, and read back it is the result that was written.

use crate::results::{DUE, down, late, stopping, timeout, up, us};
use bus::record::{MAX_LEN, decode, encode};
use model::{
    CheckResult, Location, Phase, Reason, TargetId, UnixMs, Verdict,
    batch::Content,
    record::{Record, RecordTls},
    result::{Finding, HttpVersion, Look, Phases, TlsSeen},
};
use proptest::{option, prelude::*, sample::select};
use std::{fs, net::SocketAddr, path::Path, time::Duration};

fn line(result: &CheckResult) -> String {
    let mut out = Vec::new();
    encode(result, &mut out);
    String::from_utf8(out).unwrap()
}

/// Guards the wire: a change of these files is a change of the product.
#[track_caller]
fn check_golden(name: &str, result: &CheckResult) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    assert_eq!(line(result) + "\n", fs::read_to_string(path).unwrap());
}

#[test]
fn the_contracts_example() {
    check_golden("down.json", &down());
}

#[test]
fn a_plain_result_without_what_does_not_apply() {
    check_golden("up.json", &up());
}

#[test]
fn the_time_until_a_timeout_is_in_its_phase() {
    check_golden("timeout.json", &timeout());
}

#[test]
fn late_has_no_start_and_no_attempt() {
    check_golden("late.json", &late());
}

#[test]
fn stopping_before_it_began_has_a_start_but_no_attempt() {
    check_golden("stopping.json", &stopping());
}

#[test]
fn records_follow_one_another_in_one_buffer() {
    let mut out = Vec::new();
    encode(&up(), &mut out);
    out.push(b'\n');
    encode(&late(), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), format!("{}\n{}", line(&up()), line(&late())));
}

#[test]
fn whole_microseconds_add_up_whatever_was_cut_off() {
    let mut result = up();
    let ns = |n| Some(Duration::from_nanos(n));
    let look = result.look.as_mut().unwrap();
    look.phases = Phases { dns: ns(1999), connect: ns(2999), tls: ns(3999), wait: ns(4999), transfer: ns(5999) };
    look.total = ns(19_995);
    assert!(
        line(&result).contains(r#""dns_us":1,"connect_us":2,"tls_us":3,"wait_us":4,"transfer_us":5,"total_us":15,"#)
    );
}

#[test]
fn numbers_stop_at_their_largest() {
    let mut result = up();
    let look = result.look.as_mut().unwrap();
    look.lag = Duration::from_secs(u64::MAX);
    look.body_bytes = Some(u64::MAX);
    look.rtt = us(u64::MAX);
    let line = line(&result);
    for key in ["lag_us", "body_bytes", "rtt_us"] {
        assert!(line.contains(&format!("\"{key}\":2147483647")), "{line}");
    }
}

#[test]
fn a_status_that_is_none_is_absent() {
    let mut result = up();
    result.look.as_mut().unwrap().status = Some(42);
    assert!(!line(&result).contains("\"status\""));
}

#[test]
fn a_text_with_nul_can_still_be_read() {
    let result = CheckResult { name: "a\0b".into(), ..up() };
    assert_eq!(read_back(&result).name.as_deref(), Some("a\u{fffd}b"));
}

#[test]
fn absurd_texts_are_cut_until_the_record_fits() {
    for text in ["x".repeat(100_000), "\u{1}".repeat(30_000), "é\"".repeat(50_000)] {
        let mut result = CheckResult { name: text.as_str().into(), url: text.as_str().into(), ..down() };
        result.look.as_mut().unwrap().tls.as_mut().unwrap().issuer = text.clone();
        let line = line(&result);
        assert!(line.len() <= MAX_LEN, "{} bytes", line.len());
        assert!(text.starts_with(&read_back(&result).name.unwrap()));
    }
}

fn read_back(result: &CheckResult) -> Record {
    match decode(line(result).as_bytes(), result.due_at) {
        Content::Result(record) => (**record).clone(),
        other => panic!("{other:?}"),
    }
}

/// What a record of the result must say.
fn meant(result: &CheckResult) -> Record {
    let look = result.look.as_ref();
    let attempted = look.filter(|look| look.total.is_some());
    let whole = |d: Duration| i32::try_from(d.as_micros()).unwrap();
    let phase = |get: fn(&Phases) -> Option<Duration>| attempted.and_then(|look| get(&look.phases)).map(whole);
    let finding = result.finding.as_ref();
    Record {
        target: result.target.clone(),
        name: Some(result.name.to_string()),
        group: result.group.as_deref().map(str::to_owned),
        url: Some(result.url.to_string()),
        location: result.location.clone(),
        due_at: result.due_at,
        started_at: look.map(|look| look.started_at),
        interval_ms: Some(i32::try_from(result.interval_ms).unwrap()),
        verdict: result.verdict,
        reason: finding.map(|f| f.reason.word().to_owned()),
        phase: finding.and_then(|f| f.phase).map(|p| p.word().to_owned()),
        message: finding.map(|f| f.message.clone()),
        attempts: Some(look.map_or(0, |look| i32::try_from(look.attempts).unwrap())),
        status: look.and_then(|look| look.status).map(i32::from),
        http: look.and_then(|look| look.http).map(|http| http.word().to_owned()),
        peer: look.and_then(|look| look.peer).map(|peer| peer.to_string()),
        final_url: look.and_then(|look| look.final_url.clone()),
        redirects: attempted.map(|look| i32::try_from(look.redirects).unwrap()),
        dns_us: phase(|p| p.dns),
        connect_us: phase(|p| p.connect),
        tls_us: phase(|p| p.tls),
        wait_us: phase(|p| p.wait),
        transfer_us: phase(|p| p.transfer),
        total_us: attempted.map(|look| {
            let p = look.phases;
            [p.dns, p.connect, p.tls, p.wait, p.transfer].into_iter().flatten().map(whole).sum()
        }),
        body_bytes: look.and_then(|look| look.body_bytes).map(|n| i32::try_from(n).unwrap()),
        tls: look.and_then(|look| look.tls.as_ref()).map(|tls| RecordTls {
            version: tls.version.map(str::to_owned),
            issuer: Some(tls.issuer.clone()),
            subject: Some(tls.subject.clone()),
            not_before: Some(tls.not_before),
            not_after: Some(tls.not_after),
        }),
        rtt_us: look.and_then(|look| look.rtt).map(whole),
        retransmits: look.and_then(|look| look.retransmits).map(|n| i32::try_from(n).unwrap()),
        lag_us: look.map(|look| whole(look.lag)),
    }
}

/// Any text but NUL, which is the one that does not come back.
fn any_text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', " "))
}

fn any_time() -> impl Strategy<Value = UnixMs> {
    (-62_167_219_200_000i64..=253_402_300_799_999).prop_map(UnixMs)
}

fn any_phase() -> impl Strategy<Value = Option<Duration>> {
    option::of((0u64..400_000_000_000).prop_map(Duration::from_nanos))
}

prop_compose! {
    fn any_tls()(
        version in option::of(select(vec!["1.2", "1.3"])),
        issuer in any_text(),
        subject in any_text(),
        not_before in any_time(),
        not_after in any_time(),
    ) -> TlsSeen {
        TlsSeen { version, issuer, subject, not_before, not_after }
    }
}

prop_compose! {
    fn any_look()(
        (started_at, lag, attempts, redirects) in (any_time(), 0u64..2_000_000_000, 0u32..10, 0u32..20),
        (dns, connect, tls_time, wait, transfer) in (any_phase(), any_phase(), any_phase(), any_phase(), any_phase()),
        made in any::<bool>(),
        status in option::of(100u16..=999),
        http in option::of(select(vec![HttpVersion::V1_0, HttpVersion::V1_1, HttpVersion::V2])),
        peer in option::of(any::<SocketAddr>().prop_filter("no scope", |a| matches!(a, SocketAddr::V4(_)))),
        final_url in option::of(any_text()),
        body_bytes in option::of(0u64..2_147_483_648),
        tls in option::of(any_tls()),
        (rtt, retransmits) in (option::of(0u64..2_000_000_000), option::of(0u32..1000)),
    ) -> Look {
        let phases = Phases { dns, connect, tls: tls_time, wait, transfer };
        Look {
            phases,
            total: made.then(|| phases.sum()),
            status,
            http,
            peer,
            final_url,
            redirects,
            body_bytes,
            tls,
            rtt: rtt.map(Duration::from_micros),
            retransmits,
            ..Look::begun(started_at, Duration::from_micros(lag), attempts)
        }
    }
}

prop_compose! {
    pub fn any_result()(
        target in "[a-z0-9][a-z0-9._-]{0,127}",
        location in "[a-z0-9][a-z0-9._-]{0,127}",
        (name, group, url) in (any_text(), option::of(any_text()), any_text()),
        due_at in 0i64..4_102_444_800_000,
        interval_ms in 1000u32..=86_400_000,
        verdict in select(Verdict::ALL),
        finding in option::of((select(Reason::ALL), option::of(select(Phase::ALL)), any_text())),
        look in option::of(any_look()),
    ) -> CheckResult {
        // Whoever did not look says `late`.
        let late = || Some(Finding::new(Reason::Late, "not started"));
        let finding = finding.map(|(reason, phase, message)| Finding { reason, phase, message });
        CheckResult {
            target: TargetId::new(&target).unwrap(),
            name: name.into(),
            group: group.map(Into::into),
            url: url.into(),
            location: Location::new(&location).unwrap(),
            due_at: UnixMs(due_at),
            interval_ms,
            verdict,
            finding: if look.is_some() { finding } else { late() },
            look,
        }
    }
}

proptest! {
    #[test]
    fn every_field_is_read_back_as_it_was_written(result in any_result()) {
        prop_assert_eq!(read_back(&result), meant(&result));
        prop_assert!(!line(&result).contains('\n'));
    }
}

#[test]
fn the_examples_are_read_back_as_they_were_written() {
    for result in [down(), up(), timeout(), late(), stopping()] {
        assert_eq!(read_back(&result), meant(&result));
        assert_eq!(result.due_at, DUE);
    }
}
