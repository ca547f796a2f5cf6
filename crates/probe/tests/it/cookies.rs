//! What a site sets on one hop comes back on the next, within one attempt.

use crate::ask::ask;
use testkit::{Request, Site, Step, Tls, http2::Reply, pki, step::*};

/// `/` sets cookies and redirects there; everything else is `ok`. `PORT` is the site's own.
fn setting(cookies: &'static [&'static str], to: &str) -> Site {
    let to = to.to_owned();
    Site::answer(move |request| answer(request, cookies, &to))
}

fn answer(request: &Request, cookies: &[&str], to: &str) -> Vec<Step> {
    if request.path() != "/" {
        return vec![resp(200, "ok")];
    }
    let port = request.header("host").and_then(|h| h.rsplit(':').next()).unwrap_or_default();
    let to = to.replace("PORT", port);
    let lines: Vec<_> =
        [("location", to.as_str())].into_iter().chain(cookies.iter().map(|&c| ("set-cookie", c))).collect();
    vec![resp_with(302, &lines, "")]
}

/// The cookie headers that a site got, request by request.
fn seen(site: &Site) -> Vec<Option<String>> {
    site.requests().iter().map(|r| r.header("cookie").map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_cookie_goes_back_to_the_host_that_set_it() {
    let site = setting(&["sid=42; HttpOnly", "lang=en; Path=/"], "/end");
    ask(&site.url("/")).check().await.is("up");
    assert_eq!(seen(&site), [None, Some("sid=42; lang=en".into())]);
}

#[tokio::test]
async fn the_port_does_not_matter() {
    let end = Site::serve([resp(200, "ok")]);
    let site = setting(&["sid=42"], &end.url("/end"));
    ask(&site.url("/")).check().await.is("up");
    assert_eq!(seen(&end), [Some("sid=42".into())]);
}

#[tokio::test]
async fn another_host_gets_none() {
    for to in ["http://two.localhost:PORT/end", "http://sub.one.localhost:PORT/end", "http://127.0.0.1:PORT/end"] {
        let site = setting(&["sid=42"], to);
        ask(&site.at("one.localhost", "/")).check().await.is("up");
        assert_eq!(seen(&site), [None, None], "{to}");
    }
}

#[tokio::test]
async fn sub_domains_get_it_if_the_host_said_so_and_may_say_so() {
    for (cookie, want) in [
        ("sid=42; Domain=one.localhost", Some("sid=42")),
        ("sid=42; domain=.ONE.localhost", Some("sid=42")),
        ("sid=42; Domain=localhost", None),
        ("sid=42; Domain=sub.one.localhost", None),
        ("sid=42; Domain=127.0.0.1", None),
    ] {
        let site = Site::answer(move |r| answer(r, &[cookie], "http://sub.one.localhost:PORT/end"));
        ask(&site.at("one.localhost", "/")).check().await.is("up");
        assert_eq!(seen(&site), [None, want.map(str::to_owned)], "{cookie}");
    }
}

#[tokio::test]
async fn path_and_expiry_decide_what_goes_along() {
    let cookies = &["a=1; Path=/shop", "b=2; Path=/other", "c=3; Path=/", "c=; Path=/; Max-Age=0", "d=4; Max-Age=600"];
    let site = setting(cookies, "/shop/cart");
    ask(&site.url("/")).check().await.is("up");
    assert_eq!(seen(&site), [None, Some("a=1; d=4".into())]);
}

#[tokio::test]
async fn a_secure_one_does_not_go_out_in_the_clear() {
    let end = Site::serve([resp(200, "ok")]);
    let to = end.url("/end");
    let lines = [("location", to.as_str()), ("set-cookie", "sid=42; Secure"), ("set-cookie", "open=1")];
    let site = Site::tls(Tls::with(&pki().good), [resp_with(302, &lines, "")]);
    ask(&site.url("/")).trust(&pki().root).check().await.is("up");
    assert_eq!(seen(&end), [Some("open=1".into())]);
}

#[tokio::test]
async fn a_later_hop_replaces_what_an_earlier_one_set() {
    let to = |location, cookie| vec![resp_with(302, &[("location", location), ("set-cookie", cookie)], "")];
    let site = Site::routes([("/", to("/a", "sid=1")), ("/a", to("/b", "sid=2")), ("/b", vec![resp(200, "ok")])]);
    ask(&site.url("/")).check().await.is("up");
    assert_eq!(seen(&site), [None, Some("sid=1".into()), Some("sid=2".into())]);
}

#[tokio::test]
async fn a_configured_cookie_goes_along_where_it_may() {
    let site = setting(&["sid=42"], "/end");
    ask(&site.url("/")).header("cookie", "k=v; sid=old").check().await.is("up");
    assert_eq!(seen(&site), [Some("k=v; sid=old".into()), Some("k=v; sid=42".into())]);
    let end = Site::serve([resp(200, "ok")]);
    let site = setting(&["sid=42"], &end.url("/end"));
    ask(&site.url("/")).header("cookie", "k=v").check().await.is("up");
    assert_eq!(seen(&end), [Some("sid=42".into())], "another port gets what is set, not what is configured");
}

#[tokio::test]
async fn another_attempt_begins_without_any() {
    let site = Site::answer(|request| match request.path() {
        "/" => answer(request, &["sid=42"], "/end"),
        _ => vec![resp(500, "x")],
    });
    ask(&site.url("/")).retries(1).check().await.is("down status expect");
    let both = [None, Some("sid=42".to_owned())];
    assert_eq!(seen(&site), [both.clone(), both].concat());
}

#[tokio::test]
async fn over_http2_they_are_kept_too() {
    let site = Site::setup().tls(Tls::with(&pki().good).alpn(&["h2"])).http2(|request| match request.path() {
        "/" => Reply::new(302, "").header("location", "/end").header("set-cookie", "sid=42; Secure"),
        _ => Reply::new(200, "ok"),
    });
    ask(&site.url("/")).trust(&pki().root).check().await.is("up");
    assert_eq!(seen(&site), [None, Some("sid=42".into())]);
}
