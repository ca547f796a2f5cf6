//! Who gets to see credentials when a site sends us elsewhere.

use crate::ask::{Ask, ask};
use testkit::{Request, Site, Tls, pki, step::*};

const SHOWN: [&str; 3] = ["authorization", "cookie", "x-custom"];
const ALL: [Option<&str>; 3] = [Some("Bearer abc"), Some("k=v"), Some("kept")];
const NONE: [Option<&str>; 3] = [None, None, Some("kept")];

fn with_credentials(url: &str) -> Ask {
    ask(url).authorization("Bearer abc").header("cookie", "k=v").header("x-custom", "kept").trust(&pki().root)
}

fn seen(request: &Request) -> [Option<&str>; 3] {
    SHOWN.map(|name| request.header(name))
}

/// A site whose page `/` redirects there; `PORT` is its own port.
fn leading(to: &str) -> Site {
    let to = to.to_owned();
    Site::answer(move |request| {
        let port = request.header("host").and_then(|h| h.rsplit(':').next()).unwrap_or_default();
        if request.path() == "/" { vec![redirect(302, &to.replace("PORT", port))] } else { vec![resp(200, "ok")] }
    })
}

#[tokio::test]
async fn credentials_stay_with_the_host_and_its_port() {
    for to in ["/end", "http://localhost:PORT/end", "http://LOCALHOST:PORT/end"] {
        let site = leading(to);
        with_credentials(&site.at("localhost", "/")).check().await.is("up");
        assert_eq!(site.requests().iter().map(seen).collect::<Vec<_>>(), [ALL, ALL], "{to}");
    }
}

#[tokio::test]
async fn another_host_does_not_get_them() {
    for to in ["http://other.localhost:PORT/end", "http://127.0.0.1:PORT/end"] {
        let site = leading(to);
        with_credentials(&site.at("localhost", "/")).check().await.is("up");
        assert_eq!(site.requests().iter().map(seen).collect::<Vec<_>>(), [ALL, NONE], "{to}");
    }
}

#[tokio::test]
async fn another_port_does_not_get_them() {
    let end = Site::serve([resp(200, "ok")]);
    let site = leading(&end.url("/end"));
    with_credentials(&site.url("/")).check().await.is("up");
    assert_eq!(seen(&end.requests()[0]), NONE);
}

#[tokio::test]
async fn https_on_another_port_than_443_does_not_get_those_of_http() {
    let end = Site::tls(Tls::with(&pki().good), [resp(200, "ok")]);
    let site = leading(&end.url("/end"));
    with_credentials(&site.url("/")).check().await.is("up");
    assert_eq!(seen(&end.requests()[0]), NONE);
}

#[tokio::test]
async fn http_does_not_get_those_of_https() {
    let end = Site::serve([resp(200, "ok")]);
    let site = Site::tls(Tls::with(&pki().good), [redirect(302, &end.url("/end"))]);
    let seen_by_check = with_credentials(&site.url("/")).check().await;
    assert_eq!(seen_by_check.is("up").look.redirects, 1);
    assert_eq!((seen(&site.requests()[0]), seen(&end.requests()[0])), (ALL, NONE));
}

#[tokio::test]
async fn user_info_is_a_credential() {
    let site = leading("http://other.localhost:PORT/end");
    let url = site.at("localhost", "/").replace("://", "://user:pw@");
    ask(&url).check().await.is("up");
    let sent: Vec<_> = site.requests().iter().map(|r| r.header("authorization").is_some()).collect();
    assert_eq!(sent, [true, false]);
    let site = leading("/end");
    let url = site.url("/").replace("://", "://user:pw@");
    let seen = ask(&url).check().await;
    assert_eq!(seen.is("up").look.final_url, Some(site.url("/end")));
    assert!(site.requests().iter().all(|r| r.header("authorization") == Some("Basic dXNlcjpwdw==")));
}

#[tokio::test]
async fn a_client_certificate_is_a_credential() {
    let end = Site::tls(Tls::with(&pki().good).demand_client(&pki().root), [resp(200, "ok")]);
    let site = Site::tls(Tls::with(&pki().good).demand_client(&pki().root), [redirect(302, &end.url("/"))]);
    let seen = ask(&site.url("/")).trust(&pki().root).client(&pki().client).check().await;
    assert_eq!((seen.is("down tls_failed tls").look.redirects, site.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_configured_host_and_server_name_are_meant_for_their_host_alone() {
    let end = Site::tls(Tls::with(&pki().good), [resp(200, "ok")]);
    let site = Site::tls(Tls::with(&pki().good), [redirect(302, &end.at("localhost", "/"))]);
    ask(&site.url("/")).trust(&pki().root).server_name("one.test").header("host", "one.test").check().await.is("up");
    let (first, second) = (site.requests().remove(0), end.requests().remove(0));
    let name = |r: &Request| r.tls.clone().and_then(|t| t.server_name);
    assert_eq!((name(&first).as_deref(), first.header("host")), (Some("one.test"), Some("one.test")));
    let own = format!("localhost:{}", end.port());
    assert_eq!((name(&second).as_deref(), second.header("host")), (Some("localhost"), Some(own.as_str())));
}
