//! Whole checks of names: the time is in `dns`, and nothing is asked twice that should not be.

use super::*;
use crate::{Due, Prober, Report, Settings};
use http::{HeaderValue, Method};
use model::{
    CheckResult, Location, Target, TargetId,
    guard::Guard,
    result::Look,
    target::{Http, IncidentRule, Limits, Request, StatusSet},
};
use std::sync::Arc;
use testkit::{Site, step::*};

fn target(url: &str) -> Target {
    let request = Request {
        method: Method::GET,
        headers: Vec::new(),
        body: None,
        authorization: None,
        redirects: 10,
        lookup: Lookup::default(),
        http: Http::default(),
        proxy: None,
        tls: Arc::default(),
        max_body: 1 << 20,
        secrets: [].into(),
    };
    Target {
        id: TargetId::new("t").unwrap(),
        name: "T".into(),
        group: None,
        labels: Arc::default(),
        enabled: true,
        locations: None,
        interval_ms: 60_000,
        timeout: Duration::from_secs(20),
        retries: 0,
        url: Arc::new(url.parse().unwrap()),
        request: Arc::new(request),
        expect: Arc::new(Limits { status: Some(StatusSet(vec![200..=299])), ..Limits::default() }),
        warn: Arc::default(),
        patterns: None,
        incident: IncidentRule::default(),
    }
}

async fn check(server: &NameServer, guard: Guard, target: Target) -> (String, Look, CheckResult) {
    let machine = asking(server);
    let prober = Prober {
        resolver: machine.resolver,
        ..Prober::new(Settings {
            guard,
            user_agent: HeaderValue::from_static("test"),
            resolvers: vec![],
            online_check: vec![],
        })
    };
    let due = Due { location: Location::new("here").unwrap(), at: None, lag: Duration::ZERO };
    let Report { result, .. } = prober.report(&target, due).await;
    let found = result.finding.as_ref().map(|f| format!(" {} {}", f.reason, f.phase.map_or("", Phase::word)));
    let look = result.look.clone().unwrap();
    assert_eq!(look.total, Some(look.phases.sum()));
    (format!("{}{}", result.verdict, found.unwrap_or_default()), look, result)
}

/// A look-up that fails after 200 ms has them in `dns`, and nothing after it.
async fn fails(want: &str, timeout_ms: u64, reply: Reply) {
    let server = NameServer::new(move |_| late(200, reply.clone()));
    let asked = Target { timeout: Duration::from_millis(timeout_ms), ..target("http://x.test:1/") };
    let (said, look, result) = check(&server, Guard::default(), asked).await;
    assert_eq!(said, want);
    assert!(look.phases.dns.unwrap() >= Duration::from_millis(200), "{look:?}");
    let others = (look.phases.connect, look.phases.tls, look.phases.wait, look.phases.transfer, look.peer, look.rtt);
    assert_eq!(others, (None, None, None, None, None, None));
    let message = result.finding.unwrap().message;
    assert!(message.contains("x.test"), "the host is named: {message}");
    assert_eq!(server.names(), ["x.test"]);
}

#[tokio::test]
async fn a_look_up_that_fails_has_its_reason_and_its_time_in_dns() {
    tokio::join!(
        fails("down dns_not_found dns", 20_000, Reply::Code(ResponseCode::NXDomain)),
        fails("down dns_no_address dns", 20_000, records(&[])),
        fails("down dns_failed dns", 20_000, Reply::Code(ResponseCode::ServFail)),
        fails("down dns_failed dns", 20_000, Reply::Code(ResponseCode::Refused)),
        fails("down timeout dns", 400, Reply::Silence),
        fails("down timeout dns", 9_000, Reply::Silence),
    );
}

/// The addresses of the two families, each after so many milliseconds. `None`: never an answer.
fn families(six: (u64, &str), four: Option<(u64, &str)>) -> impl Fn(&Question) -> Reply + use<> {
    let reply = |(ms, address): (u64, &str)| late(ms, records(&[("x.test", address)]));
    split(reply(six), four.map_or(Reply::Silence, reply))
}

#[tokio::test]
async fn a_family_that_answers_late_is_tried_when_it_comes() {
    let site = Site::serve([resp(200, "ok")]);
    let url = site.at("x.test", "/");
    let reached = async |six, guard: &Guard| {
        let server = NameServer::new(families(six, Some((400, "127.0.0.1"))));
        let (said, look, _) = check(&server, guard.clone(), target(&url)).await;
        assert_eq!((said.as_str(), look.peer), ("up", Some(site.address())), "{six:?}");
        look
    };
    // Refused, without a route, silent, refused by the guard.
    let open = Guard::default();
    for address in ["::1", "2001:db8::1", "100::1"] {
        let look = reached((0, address), &open).await;
        let (dns, connect) = (look.phases.dns.unwrap(), look.phases.connect.unwrap());
        assert!(dns + connect >= Duration::from_millis(400) && dns < Duration::from_millis(400), "{address}: {look:?}");
    }
    let denied = Guard { deny: vec!["::/0".parse().unwrap()], ..Guard::default() };
    reached((0, "::1"), &denied).await;
}

#[tokio::test]
async fn a_family_that_never_answers_changes_no_verdict_of_the_other() {
    let closed = testkit::free_port();
    let url = format!("http://x.test:{closed}/");
    let server = NameServer::new(families((0, "::1"), None));
    let asked = Target { timeout: Duration::from_secs(2), ..target(&url) };
    let (said, ..) = check(&server, Guard::default(), asked.clone()).await;
    assert_eq!(said, "down connect_refused connect");
    let denied = Guard { deny: vec!["::/0".parse().unwrap()], ..Guard::default() };
    let (said, ..) = check(&server, denied, asked).await;
    assert_eq!(said, "down blocked connect");
}

/// A question is repeated meanwhile; what counts is the answer, to whichever.
#[tokio::test]
async fn a_resolver_that_is_slow_has_its_time_in_dns() {
    let site = Site::serve([resp(200, "ok"), resp(200, "ok")]);
    let url = site.at("x.test", "/");
    let slow = async |ms: u64, timeout: u64| {
        let server = NameServer::new(move |_| late(ms, both()));
        let asked = Target { timeout: Duration::from_secs(timeout), ..target(&url) };
        let (said, look, _) = check(&server, Guard::default(), asked).await;
        let dns = look.phases.dns.unwrap();
        assert_eq!(said, "up", "{look:?}");
        assert!((Duration::from_millis(ms)..Duration::from_millis(ms + 900)).contains(&dns), "{ms}: {dns:?}");
    };
    tokio::join!(slow(1200, 9), slow(3500, 9));
}

#[tokio::test]
async fn the_look_ups_of_all_hops_add_up() {
    let server = NameServer::new(|q| late(150, both_of(&q.name)));
    let site = Site::answer(|request| {
        let port = request.header("host").unwrap().rsplit(':').next().unwrap().to_owned();
        if request.path() == "/" {
            vec![redirect(302, &format!("http://y.test:{port}/end"))]
        } else {
            vec![resp(200, "ok")]
        }
    });
    let (said, look, _) = check(&server, Guard::default(), target(&site.at("x.test", "/"))).await;
    assert_eq!((said.as_str(), look.redirects, look.peer), ("up", 1, Some(site.address())));
    assert!(look.phases.dns.unwrap() >= Duration::from_millis(300), "{look:?}");
    assert_eq!(server.names(), ["x.test", "y.test"]);
}

#[tokio::test]
async fn every_attempt_and_every_hop_looks_up_again() {
    let server = NameServer::new(|q| if q.nth == 0 { Reply::Code(ResponseCode::NXDomain) } else { both() });
    let site = Site::routes([("/", vec![redirect(302, "/end")]), ("/end", vec![resp(200, "ok")])]);
    let (said, look, _) =
        check(&server, Guard::default(), Target { retries: 1, ..target(&site.at("x.test", "/")) }).await;
    assert_eq!((said.as_str(), look.attempts, look.redirects), ("up", 2, 1));
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_name_in_another_script_is_asked_for_in_its_ascii_form() {
    let server = NameServer::new(|q| both_of(&q.name));
    let site = Site::serve([resp(200, "ok")]);
    let (said, ..) = check(&server, Guard::default(), target(&site.at("b\u{fc}cher.test", "/"))).await;
    assert_eq!((said.as_str(), server.names()), ("up", vec!["xn--bcher-kva.test".to_owned()]));
    assert_eq!(site.requests()[0].header("host"), Some(format!("xn--bcher-kva.test:{}", site.port()).as_str()));
}

#[tokio::test]
async fn of_a_names_addresses_only_those_are_asked_that_may_be() {
    let server = NameServer::new(|_| records(&[("x.test", "127.0.0.1"), ("x.test", "127.0.0.2")]));
    let forbidden = Site::serve([resp(200, "secret")]);
    let allowed = Site::setup().address("127.0.0.2").port(forbidden.port()).serve([resp(200, "ok")]);
    let guard = |list: &[&str]| Guard {
        private: false,
        deny: vec![],
        allow: list.iter().map(|n| n.parse().unwrap()).collect(),
    };
    let url = forbidden.at("x.test", "/");
    let (said, look, _) = check(&server, guard(&["127.0.0.2/32"]), target(&url)).await;
    assert_eq!((said.as_str(), look.peer), ("up", Some(allowed.address())));
    drop(allowed);
    let (said, ..) = check(&server, guard(&["127.0.0.2/32"]), target(&url)).await;
    assert_eq!(said, "down connect_refused connect");
    let (said, look, _) = check(&server, guard(&[]), target(&url)).await;
    assert_eq!((said.as_str(), look.peer), ("down blocked connect", None));
    assert_eq!(forbidden.connections(), 0);
}
