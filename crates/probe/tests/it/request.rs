//! What a site is asked: the bytes.

use crate::ask::{AGENT, Ask, ask};
use testkit::{Request, Site, has_ipv6, step::*};

/// The request that a site receives; its path is `/` unless the URL of the site is changed.
async fn sent(more: impl FnOnce(&Site, Ask) -> Ask) -> (Site, Request) {
    let site = Site::serve([resp(200, "ok")]);
    let ask = more(&site, ask(&site.url("/")));
    ask.check().await.is("up");
    let request = site.requests().remove(0);
    (site, request)
}

fn head_of(request: &Request) -> String {
    String::from_utf8(request.head.clone()).unwrap()
}

#[tokio::test]
async fn a_plain_get_is_these_bytes() {
    let (site, request) = sent(|_, ask| ask).await;
    let host = site.address();
    let want =
        format!("GET / HTTP/1.1\r\nhost: {host}\r\nuser-agent: {AGENT}\r\naccept: */*\r\nconnection: close\r\n\r\n");
    assert_eq!((head_of(&request), request.body.as_slice()), (want, &b""[..]));
}

#[tokio::test]
async fn a_url_is_asked_for_as_it_is_written() {
    for (path, want) in [
        ("", "/"),
        ("/a/b?x=1&y=%20#part", "/a/b?x=1&y=%20"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("?only=query", "/?only=query"),
        ("/a/../b/./c", "/b/c"),
        ("/?", "/?"),
        ("//double", "//double"),
    ] {
        let site = Site::serve([resp(200, "ok")]);
        ask(&site.url(path)).check().await.is("up");
        assert_eq!(site.requests()[0].target, want, "{path}");
    }
}

#[tokio::test]
async fn the_host_is_that_of_the_url() {
    let site = Site::serve([resp(200, "ok")]);
    for (host, want) in
        [("localhost", "localhost"), ("b\u{fc}cher.localhost", "xn--bcher-kva.localhost"), ("LOCALHOST", "localhost")]
    {
        ask(&site.at(host, "/")).check().await.is("up");
        let request = site.requests().pop().unwrap();
        assert_eq!(request.header("host"), Some(format!("{want}:{}", site.port()).as_str()));
    }
    if has_ipv6() {
        let site = Site::setup().address("::1").serve([resp(200, "ok")]);
        ask(&site.url("/")).check().await.is("up");
        assert_eq!(site.requests()[0].header("host"), Some(format!("[::1]:{}", site.port()).as_str()));
    }
}

#[tokio::test]
async fn methods_are_sent_as_they_are_and_those_with_a_body_say_its_length() {
    for (method, body, length) in [
        ("GET", None, None),
        ("HEAD", None, None),
        ("OPTIONS", None, None),
        ("DELETE", None, None),
        ("PURGE", None, None),
        ("POST", None, Some("0")),
        ("PUT", None, Some("0")),
        ("PATCH", Some("abc"), Some("3")),
        ("POST", Some("one\ntwo\n"), Some("8")),
        ("GET", Some("query"), Some("5")),
        ("DELETE", Some(""), Some("0")),
    ] {
        let with_body = |ask: Ask| body.map_or(ask.clone(), |b| ask.body(b));
        let (_site, request) = sent(|_, ask| with_body(ask.method(method))).await;
        assert_eq!((request.method.as_str(), request.header("content-length")), (method, length));
        assert_eq!(request.body, body.unwrap_or_default().as_bytes());
    }
}

#[tokio::test]
async fn a_configured_header_replaces_the_default_of_its_name() {
    let replaced =
        [("user-agent", "mine/1"), ("accept", "text/html"), ("connection", "keep-alive"), ("host", "other.example")];
    let (_site, request) = sent(|_, ask| replaced.iter().fold(ask, |ask, (n, v)| ask.header(n, v))).await;
    for (name, value) in replaced {
        assert_eq!(request.all(name), [value]);
    }
}

#[tokio::test]
async fn other_headers_are_added_in_their_order_repeats_too() {
    let (_site, request) =
        sent(|_, ask| ask.header("x-a", "1").header("x-b", "caf\u{e9}").header("x-a", "2").header("x-empty", "")).await;
    assert_eq!(
        (request.all("x-a"), request.header("x-b"), request.header("x-empty")),
        (vec!["1", "2"], Some("caf\u{e9}"), Some(""))
    );
}

#[tokio::test]
async fn the_framing_is_not_for_headers_to_say() {
    let (_site, request) = sent(|_, ask| {
        ask.method("POST").body("abc").header("content-length", "99").header("transfer-encoding", "chunked")
    })
    .await;
    assert_eq!((request.all("content-length"), request.header("transfer-encoding")), (vec!["3"], None));
}

#[tokio::test]
async fn credentials_arrive() {
    let (_site, request) = sent(|_, ask| ask.authorization("Bearer abc")).await;
    assert_eq!(request.all("authorization"), ["Bearer abc"]);
    for (user_info, want) in [
        ("Aladdin:open%3As%C3%A9same", "Basic QWxhZGRpbjpvcGVuOnPDqXNhbWU="), // of Aladdin:open:sésame
        ("user", "Basic dXNlcjo="),
        (":pw", "Basic OnB3"),
    ] {
        let site = Site::serve([resp(200, "ok")]);
        let url = site.url("/").replace("://", &format!("://{user_info}@"));
        ask(&url).check().await.is("up");
        let request = &site.requests()[0];
        assert_eq!(request.all("authorization"), [want], "{user_info}");
        assert!(!head_of(request).contains('@'), "{}", head_of(request));
    }
}

#[tokio::test]
async fn one_authorization_is_sent_the_most_explicit() {
    let site = Site::serve([resp(200, "ok")]);
    let url = site.url("/").replace("://", "://user:pw@");
    ask(&url).authorization("Bearer abc").check().await.is("up");
    ask(&url).authorization("Bearer abc").header("authorization", "Custom x").check().await.is("up");
    let sent: Vec<_> = site.requests().iter().map(|r| r.all("authorization").join("; ")).collect();
    assert_eq!(sent, ["Bearer abc", "Custom x"]);
}

#[tokio::test]
async fn every_check_has_a_connection_of_its_own() {
    let site = Site::setup().keep_alive().serve([resp(200, "ok")]);
    let ask = ask(&site.url("/"));
    let prober = ask.prober();
    for _ in 0..3 {
        ask.check_by(&prober).await.is("up");
    }
    let connections: Vec<_> = site.requests().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}
