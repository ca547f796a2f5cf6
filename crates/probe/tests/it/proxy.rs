//! Through a proxy: whom it is asked for, what it and the site get to see, and whose fault is whose.

use crate::{
    alone::Alone,
    ask::{Ask, ask},
    rows::{Row, all, row},
};
use model::{Phase::Connect, guard::Guard, target::Http};
use testkit::{Refused, Site, Step, Tls, http2::Reply, pki, step::*};

/// A name that nobody can look up: a check of it can only be done by the proxy.
const NOWHERE: &str = "one.test";

fn secure(steps: impl IntoIterator<Item = Step>) -> Site {
    Site::tls(Tls::with(&pki().good), steps)
}

/// A proxy to this site, whatever host is asked for.
fn proxy_to(site: &Site) -> Site {
    Site::serve([head(200, &[]), tunnel(site.port())])
}

fn through(proxy: &Site, url: &str) -> Ask {
    ask(url).proxy("127.0.0.1", proxy.port()).trust(&pki().root)
}

fn lines(site: &Site) -> Vec<String> {
    site.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect()
}

#[tokio::test]
async fn an_http_target_is_asked_for_in_absolute_form() {
    let proxy = Site::serve([resp(200, "ok")]);
    let seen = through(&proxy, "http://user:pw@shop.test:81/x?y=1#z").check().await;
    assert_eq!(seen.is("up").look.peer, Some(proxy.address()));
    assert_eq!(lines(&proxy), ["GET http://shop.test:81/x?y=1"]);
    let request = &proxy.requests()[0];
    assert_eq!(
        (request.header("host"), request.header("authorization")),
        (Some("shop.test:81"), Some("Basic dXNlcjpwdw=="))
    );
    assert_eq!((request.header("connection"), request.header("proxy-authorization")), (Some("close"), None));
}

#[tokio::test]
async fn an_https_target_is_reached_by_connect_and_the_proxy_sees_nothing_of_it() {
    let site = secure([resp(200, "ok")]);
    let proxy = proxy_to(&site);
    let asked =
        through(&proxy, &site.at(NOWHERE, "/secret?token=1")).authorization("Bearer abc").header("x-api-key", "k");
    let seen = asked.proxy_authorization("Basic dTpw").check().await;
    assert_eq!(seen.is("up").look.peer, Some(proxy.address()));
    let place = format!("{NOWHERE}:{}", site.port());
    let connect = &proxy.requests()[0];
    assert_eq!(
        (connect.method.as_str(), connect.target.as_str(), connect.header("host")),
        ("CONNECT", &*place, Some(&*place))
    );
    let names: Vec<_> = connect.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host", "user-agent", "proxy-authorization"]);
    assert_eq!(connect.header("proxy-authorization"), Some("Basic dTpw"));
    let request = &site.requests()[0];
    assert_eq!((request.target.as_str(), request.header("host")), ("/secret?token=1", Some(&*place)));
    assert_eq!((request.header("authorization"), request.header("proxy-authorization")), (Some("Bearer abc"), None));
    assert_eq!(request.tls.as_ref().unwrap().server_name.as_deref(), Some(NOWHERE));
}

#[tokio::test]
async fn credentials_for_the_proxy_are_the_proxys_whatever_the_host() {
    let proxy = Site::answer(|request| match request.target.as_str() {
        "http://one.test/" => vec![redirect(302, "http://two.test/")],
        _ => vec![resp(200, "ok")],
    });
    let asked = through(&proxy, "http://one.test/").authorization("Bearer abc");
    asked.clone().proxy_authorization("Basic dTpw").check().await.is("up");
    asked.header("proxy-authorization", "Basic written").proxy_authorization("Basic dTpw").check().await.is("up");
    let shown: Vec<_> = proxy
        .requests()
        .iter()
        .map(|r| (r.header("authorization").map(str::to_owned), r.all("proxy-authorization").join(" and ")))
        .collect();
    let (bearer, made, written) = (Some("Bearer abc".to_owned()), "Basic dTpw".to_owned(), "Basic written".to_owned());
    assert_eq!(shown, [(bearer.clone(), made.clone()), (None, made), (bearer, written.clone()), (None, written)]);
}

#[tokio::test]
async fn a_configured_proxy_authorization_goes_into_connect_alone() {
    let site = secure([resp(200, "ok")]);
    let proxy = proxy_to(&site);
    through(&proxy, &site.url("/")).header("proxy-authorization", "Basic written").check().await.is("up");
    assert_eq!(proxy.requests()[0].all("proxy-authorization"), ["Basic written"]);
    assert_eq!(site.requests()[0].header("proxy-authorization"), None);
}

#[tokio::test]
async fn every_hop_goes_through_the_proxy() {
    let site = secure([resp(200, "ok")]);
    let (port, to) = (site.port(), site.at(NOWHERE, "/end"));
    let proxy = Site::answer(move |request| match request.method.as_str() {
        "CONNECT" => vec![head(200, &[]), tunnel(port)],
        _ => vec![redirect(302, &to)],
    });
    let seen = through(&proxy, "http://shop.test/").check().await;
    assert_eq!(seen.is("up").look.redirects, 1);
    assert_eq!(lines(&proxy), ["GET http://shop.test/".to_owned(), format!("CONNECT {NOWHERE}:{}", site.port())]);
}

#[tokio::test]
async fn connect_is_a_part_of_connecting() {
    let site = secure([resp(200, "ok")]);
    let slow = Site::serve([pause(250), head(200, &[]), tunnel(site.port())]);
    let url = site.at(NOWHERE, "/");
    let silent = Site::serve([hold()]);
    let stalled = Site::serve([send("HTTP/1.1 200 Conn"), hold()]);
    let never = |site: &Site| through(site, "https://one.test/").timeout(300);
    let (slowly, silently, stalling) = (through(&slow, &url), never(&silent), never(&stalled));
    all([
        row("an answer after 250 ms", "up", (site, slow), slowly).takes(Connect, 250),
        row("none", "down timeout connect", silent, silently)
            .takes(Connect, 300)
            .also("the message names both", |s| s.message.contains("to one.test through the proxy 127.0.0.1:")),
        row("half of one", "down timeout connect", stalled, stalling).takes(Connect, 300),
    ])
    .await;
}

#[tokio::test]
async fn a_proxy_that_does_not_make_a_way_is_connect_failed() {
    let failed = |sentence, message: &'static str, steps: Vec<Step>| -> Row {
        let proxy = Site::serve(steps);
        let ask = through(&proxy, "https://one.test/");
        row(sentence, "down connect_failed connect", proxy, ask)
            .also("the message says how", move |s| s.message.starts_with(message))
            .also("nothing is known of the site", |s| s.look.status.is_none() && s.look.tls.is_none())
            .also("the kernel was asked", |s| s.look.rtt.is_some())
    };
    all([
        failed("403", "the proxy refused CONNECT with status 403", vec![resp(403, "no")]),
        failed("407", "the proxy refused CONNECT with status 407", vec![resp(407, "who are you?")]),
        failed("502", "the proxy refused CONNECT with status 502", vec![resp(502, "bad gateway"), hold()]),
        failed("a redirect", "the proxy refused CONNECT with status 302", vec![redirect(302, "/")]),
        failed("FIN", "the proxy closed the connection instead of answering CONNECT", vec![close()]),
        failed("RST", "the proxy did not answer CONNECT: it reset the connection", vec![reset()]),
        failed(
            "not HTTP",
            "the proxy did not answer CONNECT: the response is not HTTP/1",
            vec![send("220 mail\r\n"), hold()],
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_a_proxy_answers_for_an_http_target_is_the_answer() {
    let proxy = Site::serve([resp(502, "bad gateway")]);
    assert_eq!(through(&proxy, "http://shop.test/").check().await.is("down status expect").look.status, Some(502));
}

#[tokio::test]
async fn nobody_at_the_proxy_is_refused_and_its_name_is_looked_up() {
    let refused = Refused::new();
    let seen = ask("http://shop.test/").proxy("127.0.0.1", refused.port()).check().await;
    assert_eq!(seen.is("down connect_refused connect").look.phases.dns, None);
    let proxy = Site::serve([resp(200, "ok")]);
    let seen = ask("http://192.0.2.1/").proxy("localhost", proxy.port()).check().await;
    assert!(seen.is("up").look.phases.dns.is_some());
}

#[tokio::test]
async fn the_guard_judges_the_target_and_not_the_proxy() {
    let proxy = Site::serve([resp(200, "ok")]);
    let strict = Guard { private: false, ..Guard::default() };
    for (url, guard) in [
        ("http://169.254.169.254/latest/", Guard::default()),
        ("https://169.254.169.254/", Guard::default()),
        ("http://127.0.0.1:9/", strict.clone()),
        ("http://[::ffff:127.0.0.1]/", strict.clone()),
    ] {
        let seen = through(&proxy, url).guard(guard).check().await;
        assert!(
            seen.is("down blocked connect").look.peer.is_none() && seen.look.phases.dns.is_none(),
            "{:?}",
            seen.look
        );
    }
    assert_eq!(proxy.connections(), 0);
    through(&proxy, "http://localhost/").guard(strict).check().await.is("up");
}

#[tokio::test]
async fn the_guard_judges_where_a_redirect_leads() {
    let proxy = Site::serve([redirect(302, "http://169.254.169.254/latest/")]);
    assert_eq!(through(&proxy, "http://shop.test/").check().await.is("down blocked connect").look.redirects, 1);
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test]
async fn what_comes_behind_the_proxys_answer_is_the_sites() {
    let proxy = Site::serve([send("HTTP/1.1 200 Connection established\r\n\r\n220 mail.example ESMTP\r\n"), hold()]);
    let seen = through(&proxy, "https://one.test/").check().await;
    assert_eq!(seen.is("down tls_failed tls").message, "the server does not speak TLS on this port");
}

#[tokio::test]
async fn through_a_tunnel_everything_is_as_without() {
    let site = secure([resp_with(200, &[("content-length", "9")], ""), close()]);
    let proxy = proxy_to(&site);
    let expired = Site::tls(Tls::with(&pki().expired), [resp(200, "ok")]);
    let (other, url, old) = (proxy_to(&expired), site.at(NOWHERE, "/"), expired.at(NOWHERE, "/"));
    let http2 = Site::setup().tls(Tls::with(&pki().good).alpn(&["h2"])).http2(|_| Reply::new(200, "hello"));
    let (third, new) = (proxy_to(&http2), http2.at(NOWHERE, "/"));
    let (first, second, last) = (through(&proxy, &url), through(&other, &old), through(&third, &new));
    all([
        row("two lengths", "down bad_response wait", (site, proxy), first),
        row("an expired certificate", "down tls_expired tls", (expired, other), second)
            .also("it was seen", |s| s.look.tls.is_some()),
        row("HTTP/2", "up", (http2, third), last.http(Http::V2)).also("5 bytes", |s| s.look.body_bytes == Some(5)),
    ])
    .await;
}

#[tokio::test]
async fn a_secret_of_the_proxy_is_in_no_message() {
    let proxy = Site::answer(|r| vec![resp(407, "x"), send(r.header("proxy-authorization").unwrap_or_default())]);
    let asked = through(&proxy, "https://one.test/").proxy_authorization("Basic hunter2").secrets(&["hunter2"]);
    let seen = asked.check().await;
    assert!(!seen.is("down connect_failed connect").message.contains("hunter2"));
}

#[test]
fn a_proxy_of_the_environment_is_not_obeyed() {
    let proxy = Site::serve([resp(500, "x")]);
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let alone = Alone::new("proxy::asks_a_site_directly", 256);
    names.into_iter().fold(alone, |alone, name| alone.env(name, proxy.url(""))).passes();
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
#[ignore = "run by the test above, in its environment"]
async fn asks_a_site_directly() {
    let site = Site::serve([resp(200, "ok")]);
    ask(&site.url("/")).check().await.is("up");
    let site = secure([resp(200, "ok")]);
    ask(&site.url("/")).trust(&pki().root).check().await.is("up");
}
