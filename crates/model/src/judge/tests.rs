use super::*;
use crate::{
    Phase, TargetId, UnixMs,
    answer::{Head, Headers},
    pattern::Search,
    result::HttpVersion,
    target::{IncidentRule, Request, TlsSettings},
};
use std::sync::Arc;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const DAY: i64 = 86_400_000;

/// `expect` and `warn` are made by a function each from the empty limits; patterns are given by their texts.
fn target(patterns: &[&str], expect: impl Fn(&mut Limits), warn: impl Fn(&mut Limits)) -> Target {
    let texts: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
    let limits = |f: &dyn Fn(&mut Limits)| {
        let mut l = Limits::default();
        f(&mut l);
        Arc::new(l)
    };
    Target {
        id: TargetId::new("t").expect("an id"),
        name: "t".into(),
        group: None,
        labels: Arc::default(),
        enabled: true,
        locations: None,
        interval_ms: 60_000,
        timeout: Duration::from_secs(10),
        retries: 0,
        url: Arc::new("http://h.example/".parse().expect("a URL")),
        request: Arc::new(Request {
            method: http::Method::GET,
            headers: vec![],
            body: None,
            authorization: None,
            redirects: 10,
            lookup: crate::target::Lookup::default(),
            http: crate::target::Http::default(),
            proxy: None,
            tls: Arc::new(TlsSettings::default()),
            max_body: 10 << 20,
            secrets: Arc::from([]),
        }),
        expect: limits(&expect),
        warn: limits(&warn),
        patterns: (!texts.is_empty()).then(|| Arc::new(Patterns::new(&texts).expect("good patterns"))),
        incident: IncidentRule::default(),
    }
}

fn answer(target: &Target, status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut list = Headers::default();
    for (name, value) in headers {
        list.push(name, value.as_bytes());
    }
    let matched = target.patterns.clone().map(|p| {
        let mut search = Search::new(p);
        search.feed(body.as_bytes());
        search.finish()
    });
    Answer {
        head: Some(Head { status, http: HttpVersion::V1_1, headers: list }),
        failure: None,
        matched,
        body_bytes: body.len() as u64,
        kept: None,
        outcomes: vec![],
        total: Duration::from_millis(100),
        certificates: vec![],
        now: NOW,
    }
}

/// `up`, or the verdict and its reason.
fn check(target: &Target, answer: &Answer) -> String {
    let (verdict, finding) = judge(target, answer);
    finding.map_or(verdict.to_string(), |f| format!("{verdict} {}", f.reason))
}

fn ok(l: &mut Limits) {
    l.status = Some(StatusSet(vec![200..=299]));
}

fn a_header(l: &mut Limits) {
    l.headers = vec![(HeaderName::from_static("x-app"), HeaderPattern::new("^v").expect("good"))];
}

#[test]
fn what_comes_first_is_the_reason() {
    let t = target(
        &["in", "out"],
        |l| {
            ok(l);
            a_header(l);
            l.matches = vec![0];
            l.not_matches = vec![1];
            l.time = Some(Duration::from_millis(50));
        },
        |_| {},
    );
    let app = [("X-App", "v1")];
    assert_eq!(check(&t, &answer(&t, 500, &[], "out")), "down status");
    assert_eq!(check(&t, &answer(&t, 200, &[], "out")), "down header");
    assert_eq!(check(&t, &answer(&t, 200, &app, "out")), "down body_no_match");
    assert_eq!(check(&t, &answer(&t, 200, &app, "in out")), "down body_match");
    assert_eq!(check(&t, &answer(&t, 200, &app, "in")), "down slow");
    let fast = Answer { total: Duration::from_millis(50), ..answer(&t, 200, &app, "in") };
    assert_eq!(check(&t, &fast), "up");
}

#[test]
fn an_expression_comes_after_the_body_and_before_the_time() {
    let expression = Arc::new(Expression::new("status == 200").expect("good"));
    let outcome = |outcome: Outcome| vec![(expression.clone(), outcome)];
    let limits = |l: &mut Limits| {
        ok(l);
        l.matches = vec![0];
        l.cel = Some(expression.clone());
        l.time = Some(Duration::from_millis(50));
    };
    let t = target(&["in"], limits, |_| {});
    let with = |body, said| Answer { outcomes: outcome(said), ..answer(&t, 200, &[], body) };
    assert_eq!(check(&t, &with("out", Outcome::False)), "down body_no_match");
    assert_eq!(check(&t, &with("in", Outcome::False)), "down cel");
    assert_eq!(check(&t, &with("in", Outcome::Failed("why".into()))), "down cel");
    assert_eq!(check(&t, &with("in", Outcome::True)), "down slow");
    assert_eq!(check(&t, &answer(&t, 200, &[], "in")), "down cel", "what nobody evaluated has not passed");
    let warned = target(&[], ok, |l| l.cel = Some(expression.clone()));
    let seen = Answer { outcomes: outcome(Outcome::False), ..answer(&warned, 200, &[], "") };
    assert_eq!(check(&warned, &seen), "degraded cel");
    assert_eq!(check(&warned, &Answer { outcomes: outcome(Outcome::True), ..seen }), "up");
}

#[test]
fn a_message_of_an_expression_is_short_and_says_first_what_went_wrong() {
    let long = Arc::new(Expression::new(&format!("status == 200 && '{}' == 'y'", "x".repeat(2000))).expect("good"));
    let t = target(&[], |l| l.cel = Some(long.clone()), |_| {});
    for (outcome, want) in [
        (Outcome::False, "cel is false: status == 200 && 'xx"),
        (
            Outcome::Failed("there is no `a`".into()),
            "cel can't be evaluated, for there is no `a`: status == 200 && 'xx",
        ),
    ] {
        let seen = Answer { outcomes: vec![(long.clone(), outcome)], ..answer(&t, 200, &[], "") };
        let finding = judge(&t, &seen).1.expect("down").sealed([]);
        assert!(finding.message.starts_with(want) && finding.message.len() <= 500, "{}", finding.message);
    }
}

#[test]
fn a_broken_exchange_is_never_a_missed_pattern() {
    let t = target(
        &["in"],
        |l| {
            ok(l);
            l.matches = vec![0];
        },
        |_| {},
    );
    let cut =
        Answer { failure: Some(Finding::new(Reason::Truncated, "cut")), matched: None, ..answer(&t, 200, &[], "") };
    assert_eq!(check(&t, &cut), "down truncated");
}

#[test]
fn the_head_is_the_reason_even_if_the_body_breaks_and_the_message_names_both() {
    let t = target(&[], ok, |_| {});
    let cut =
        Answer { failure: Some(Finding::new(Reason::Truncated, "5 of 100 bytes came")), ..answer(&t, 404, &[], "") };
    let (verdict, finding) = judge(&t, &cut);
    let finding = finding.expect("down");
    assert_eq!((verdict, finding.reason, finding.phase), (Verdict::Down, Reason::Status, Some(Phase::Expect)));
    assert_eq!(finding.message, "status 404, expected 200-299; then truncated: 5 of 100 bytes came");
}

#[test]
fn our_own_failure_is_unknown() {
    let t = target(&[], ok, |_| {});
    let ours = Answer {
        head: None,
        failure: Some(Finding::new(Reason::ProberFailed, "no descriptor")),
        ..answer(&t, 0, &[], "")
    };
    assert_eq!(check(&t, &ours), "unknown prober_failed");
}

#[test]
fn a_missed_warning_degrades_and_only_when_all_is_well_otherwise() {
    let warn = |l: &mut Limits| l.status = Some(StatusSet(vec![200..=200]));
    let t = target(&[], ok, warn);
    assert_eq!(check(&t, &answer(&t, 201, &[], "")), "degraded status");
    assert_eq!(check(&t, &answer(&t, 301, &[], "")), "down status");
    assert_eq!(check(&t, &answer(&t, 200, &[], "")), "up");
}

#[test]
fn any_value_of_a_repeated_header_is_enough() {
    let t = target(&[], a_header, |_| {});
    assert_eq!(check(&t, &answer(&t, 200, &[("x-app", "b"), ("X-APP", "v2")], "")), "up");
    assert_eq!(check(&t, &answer(&t, 200, &[("x-app", "b"), ("x-other", "v2")], "")), "down header");
}

#[test]
fn a_certificate_is_held_against_days_or_a_share_of_its_lifetime() {
    let cert = |before: i64, after: i64| Validity {
        subject: "CN=h".into(),
        not_before: UnixMs(NOW.0 + before * DAY),
        not_after: UnixMs(NOW.0 + after * DAY),
    };
    let limit = |c| target(&[], move |l| l.certificate = Some(c), |_| {});
    let days = limit(CertificateLimit::Remaining(Duration::from_secs(7 * 86_400)));
    let share = limit(CertificateLimit::Share(20.0));
    for (certs, by_days, by_share) in [
        (vec![cert(-1, 89)], "up", "up"),
        (vec![cert(-1, 3)], "down certificate_expiring", "up"),
        (vec![cert(-90, 10)], "up", "down certificate_expiring"),
        (vec![cert(-1, 89), cert(-100, 3)], "down certificate_expiring", "down certificate_expiring"),
        (vec![cert(-9, -1)], "down certificate_expiring", "down certificate_expiring"),
        (vec![cert(1, 90)], "down certificate_expiring", "down certificate_expiring"),
        (vec![], "up", "up"),
    ] {
        let seen = |t| Answer { certificates: certs.clone(), ..answer(t, 200, &[], "") };
        assert_eq!(
            (check(&days, &seen(&days)).as_str(), check(&share, &seen(&share)).as_str()),
            (by_days, by_share),
            "{certs:?}"
        );
    }
}

#[test]
fn a_report_tells_what_was_not_reached() {
    let t = target(
        &["in"],
        |l| {
            ok(l);
            l.matches = vec![0];
        },
        |_| {},
    );
    let cut =
        Answer { failure: Some(Finding::new(Reason::Truncated, "cut")), matched: None, ..answer(&t, 200, &[], "") };
    let list = expectations(&t, &cut);
    let brief: Vec<_> = list.iter().map(|e| (e.what.as_str(), e.expected.as_str(), e.got.as_str(), e.holds)).collect();
    assert_eq!(brief, [("status", "200-299", "200", Some(true)), ("body", "matches /in/", "", None)]);
}

#[test]
fn only_what_our_own_delay_may_have_made_is_doubted() {
    let t = target(
        &[],
        |l| {
            ok(l);
            l.time = Some(Duration::from_secs(1));
        },
        |_| {},
    );
    let ms = Duration::from_millis;
    let doubted = |a: &Answer, ours| {
        let (verdict, finding) = doubt(&t, a, ours, judge(&t, a));
        finding.map_or(verdict.to_string(), |f| format!("{verdict} {}", f.reason))
    };
    let slow = Answer { total: ms(2300), ..answer(&t, 200, &[], "") };
    assert_eq!(doubted(&slow, ms(2000)), "unknown prober_overloaded");
    assert_eq!(doubted(&slow, ms(1000)), "down slow");
    let timeout = |phase| Answer {
        head: None,
        failure: Some(Finding::timeout(phase, "x")),
        total: t.timeout,
        ..answer(&t, 0, &[], "")
    };
    assert_eq!(doubted(&timeout(Phase::Wait), ms(3000)), "unknown prober_overloaded");
    assert_eq!(doubted(&timeout(Phase::Wait), ms(200)), "down timeout");
    let closed = Answer {
        head: None,
        failure: Some(Finding::new(Reason::Closed, "x")),
        total: ms(1200),
        ..answer(&t, 0, &[], "")
    };
    assert_eq!(doubted(&closed, ms(1000)), "unknown prober_overloaded");
    assert_eq!(doubted(&closed, ms(100)), "down closed");
    assert_eq!(doubted(&Answer { total: ms(2300), ..answer(&t, 404, &[], "") }, ms(2000)), "down status");
}
