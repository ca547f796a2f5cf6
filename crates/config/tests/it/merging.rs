//! `defaults` under targets.

use crate::helper::load;
use model::Target;

fn merged(defaults: &str, own: &str) -> Target {
    let config = load(&format!("defaults: {defaults}\ntargets:\n  - {{url: 'http://h/', id: t{own}}}\n"));
    Target::clone(&config.targets[0])
}

fn headers(target: &Target) -> String {
    let shown = |(n, v): &(http::HeaderName, http::HeaderValue)| format!("{n}={}", v.to_str().expect("text"));
    target.request.headers.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn authorization(target: &Target) -> &str {
    target.request.authorization.as_ref().map_or("", |v| v.to_str().expect("text"))
}

fn patterns(target: &Target) -> String {
    let texts = target.patterns.as_ref().map_or(&[][..], |p| p.texts());
    let named = |list: &[usize]| list.iter().map(|&i| texts[i].as_str()).collect::<Vec<_>>().join(" ");
    format!("{} / {}", named(&target.expect.matches), named(&target.expect.not_matches))
}

#[test]
fn a_target_wins_key_by_key() {
    let t = merged("{interval: 90s, retries: 2, group: A}", ", retries: 0, timeout: 20s");
    assert_eq!((t.interval_ms, t.retries, t.timeout.as_secs(), t.group.as_deref()), (90_000, 0, 20, Some("A")));
    let t = merged(
        "{warn: {time: 1s, certificate: 20%}, incident: {after: 5, recover: 4}}",
        ", warn: {time: 2s}, incident: {after: 1}",
    );
    assert_eq!((t.warn.time.map(|d| d.as_secs()), t.warn.certificate.is_some()), (Some(2), true));
    assert_eq!((t.incident.after, t.incident.recover), (1, 4));
    let t = merged("{request: {tls: {verify: false}, redirects: 3}}", ", request: {tls: {server_name: n}}");
    assert_eq!(
        (t.request.tls.verify, t.request.tls.server_name.as_deref(), t.request.redirects),
        (false, Some("n"), 3)
    );
    assert_eq!(
        merged("{labels: {a: 1, b: 2}}", ", labels: {b: 3, c: 4}")
            .labels
            .values()
            .map(String::as_str)
            .collect::<String>(),
        "134"
    );
}

#[test]
fn lists_are_replaced() {
    let t = merged("{expect: {status: [404, 405]}, locations: [a, b]}", ", expect: {status: 200}, locations: c");
    assert_eq!(t.expect.status.as_ref().map(ToString::to_string), Some("200".into()));
    assert_eq!(t.locations.map(|l| l.len()), Some(1));
}

#[test]
fn a_text_for_a_body_is_its_matches() {
    let defaults = "{expect: {body: {matches: [needle], not_matches: [fatal]}}}";
    assert_eq!(patterns(&merged(defaults, "")), "needle / fatal");
    assert_eq!(patterns(&merged(defaults, ", expect: {body: welcome}")), "welcome / fatal");
    assert_eq!(patterns(&merged(defaults, ", expect: {body: {not_matches: x}}")), "needle / x");
    assert_eq!(patterns(&merged("{expect: {body: needle}}", ", expect: {body: {not_matches: x}}")), "needle / x");
    assert_eq!(patterns(&merged(defaults, ", expect: {body: null}")), " / ");
    assert_eq!(patterns(&merged(defaults, ", expect: {body: {matches: []}}")), " / fatal");
}

#[test]
fn header_names_are_one_whatever_their_case() {
    let t = merged("{request: {headers: {X-A: '1', Accept: a}}}", ", request: {headers: {x-a: '2', X-B: '3'}}");
    assert_eq!(headers(&t), "x-a=2 accept=a x-b=3");
    let t = merged("{expect: {headers: {X-A: '1'}}}", ", expect: {headers: {x-a: '2'}}");
    assert_eq!(t.expect.headers.iter().map(|(_, p)| p.text()).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn null_removes_a_default() {
    let t = merged(
        "{interval: 90s, group: A, request: {headers: {X-A: '1', x-b: '2'}}}",
        ", interval: null, group: ~, request: {headers: {x-a: null}}",
    );
    assert_eq!((t.interval_ms, t.group.as_deref(), headers(&t).as_str()), (60_000, None, "x-b=2"));
    assert_eq!(
        merged("{request: {redirects: 0}, expect: {time: 1s}}", ", request: null, expect: null").request.redirects,
        10
    );
    assert_eq!(merged("{interval: null}", "").interval_ms, 60_000);
}

#[test]
fn an_empty_map_changes_nothing() {
    assert_eq!(merged("{request: {redirects: 0}}", ", request: {}").request.redirects, 0);
}

#[test]
fn credentials_of_a_target_take_the_place_of_those_of_the_defaults() {
    let basic = "{request: {basic_auth: {username: u, password: p}}}";
    let bearer = "{request: {bearer_token: abc}}";
    assert_eq!(authorization(&merged(basic, "")), "Basic dTpw");
    assert_eq!(authorization(&merged(basic, ", request: {bearer_token: x}")), "Bearer x");
    assert_eq!(authorization(&merged(bearer, ", request: {basic_auth: {username: u, password: p}}")), "Basic dTpw");
    assert_eq!(authorization(&merged(basic, ", request: {basic_auth: {password: q}}")), "Basic dTpx");
    assert_eq!(authorization(&merged(basic, ", request: {basic_auth: null}")), "");
    assert_eq!(authorization(&merged(bearer, ", request: {basic_auth: null}")), "Bearer abc");
}
