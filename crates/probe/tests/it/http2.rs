//! Checks over HTTP/2: when it is spoken, what a site sees, and answers as they should be.

use crate::{
    ask::{Ask, Seen, ask},
    rows::{Row, all, row},
};
use model::{
    Phase::{Body, Wait},
    result::HttpVersion,
    target::Http,
};
use testkit::{
    Request, Setup, Site, Step, Tls,
    http2::{self, Reply, begin, data, frame, go_away, last_data, reset_stream, trailers, whole_head},
    pki,
    step::*,
};

const MIB: usize = 1 << 20;

fn offering(alpn: &[&str]) -> Setup {
    Site::setup().tls(Tls::with(&pki().good).alpn(alpn))
}

/// A site that speaks HTTP/2 as it should be.
fn good(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Site {
    offering(&["h2", "http/1.1"]).http2(answer)
}

fn secure(url: &str) -> Ask {
    ask(url).trust(&pki().root)
}

fn spoken(seen: &Seen) -> Option<&'static str> {
    seen.look.http.map(HttpVersion::word)
}

/// These frames in answer to a request, over TLS.
fn answered(sentence: &'static str, steps: impl IntoIterator<Item = Step>, more: fn(Ask) -> Ask) -> Row {
    let site = offering(&["h2"]).frames([begin()].into_iter().chain(steps));
    let url = site.url("/");
    row(sentence, "up", site, more(secure(&url)))
}

fn plain(ask: Ask) -> Ask {
    ask
}

#[tokio::test]
async fn it_is_spoken_where_the_handshake_agrees_on_it() {
    let site = good(|_| Reply::new(200, "hello"));
    for (version, agreed) in [(Http::Auto, "h2"), (Http::V2, "h2")] {
        let seen = secure(&site.url("/")).http(version).check().await;
        assert_eq!((spoken(seen.is("up")), seen.look.body_bytes), (Some("2"), Some(5)));
        assert_eq!(site.requests().pop().unwrap().tls.unwrap().alpn.as_deref(), Some(agreed));
    }
}

#[tokio::test]
async fn http_1_1_is_spoken_where_it_is_not() {
    for (site, version, agreed) in [
        (offering(&["h2", "http/1.1"]), Http::V1_1, Some("http/1.1")),
        (offering(&["http/1.1"]), Http::Auto, Some("http/1.1")),
        (offering(&[]), Http::Auto, None),
        (offering(&[]), Http::V1_1, None),
    ] {
        let site = site.serve([resp(200, "ok")]);
        let seen = secure(&site.url("/")).http(version).check().await;
        assert_eq!(spoken(seen.is("up")), Some("1.1"), "{version:?}");
        assert_eq!(site.requests()[0].tls.as_ref().unwrap().alpn.as_deref(), agreed, "{version:?}");
    }
}

#[tokio::test]
async fn a_site_that_declines_what_is_demanded_fails_in_tls() {
    let [none, old, new] = [&[][..], &["http/1.1"], &["h2"]].map(|alpn| offering(alpn).serve([resp(200, "ok")]));
    for (site, version, why) in
        [(&none, Http::V2, "declined"), (&old, Http::V2, "NoApplication"), (&new, Http::V1_1, "NoApplication")]
    {
        let seen = secure(&site.url("/")).http(version).check().await;
        assert!(seen.is("down tls_failed tls").message.contains(why), "{}", seen.message);
        assert_eq!((site.requests().len(), seen.look.phases.wait), (0, None));
    }
}

#[tokio::test]
async fn without_tls_it_is_spoken_at_once_if_it_is_demanded() {
    let site = Site::setup().http2(|_| Reply::new(200, "hello"));
    let seen = ask(&site.url("/")).http(Http::V2).check().await;
    assert_eq!((spoken(seen.is("up")), seen.look.tls.is_some()), (Some("2"), false));
    let old = Site::serve([resp(400, "what?")]);
    ask(&old.url("/")).http(Http::V2).check().await.is("down bad_response wait");
    ask(&old.url("/")).check().await.is("down status expect");
}

#[tokio::test]
async fn a_site_sees_the_request_that_is_configured() {
    let site = good(|_| Reply::new(200, "ok"));
    let asked = secure(&site.at("localhost", "/a%20b?x=1&y")).method("POST").body("abc").authorization("Bearer t");
    let asked = asked.header("content-type", "text/plain").header("x-two", "1").header("x-two", "2");
    asked.header("te", "gzip").header("upgrade", "x").header("keep-alive", "1").check().await.is("up");
    let request = site.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.target.as_str(), &request.body[..]),
        ("POST", "/a%20b?x=1&y", &b"abc"[..])
    );
    let own = format!("localhost:{}", site.port());
    for (name, want) in [
        (":authority", vec![own.as_str()]),
        (":scheme", vec!["https"]),
        ("user-agent", vec![crate::ask::AGENT]),
        ("accept", vec!["*/*"]),
        ("content-type", vec!["text/plain"]),
        ("content-length", vec!["3"]),
        ("authorization", vec!["Bearer t"]),
        ("x-two", vec!["1", "2"]),
    ] {
        assert_eq!(request.all(name), want, "{name}");
    }
    for name in ["host", "connection", "te", "upgrade", "keep-alive", "accept-encoding", "cookie", "referer"] {
        assert_eq!(request.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_configured_host_is_the_authority() {
    let site = good(|_| Reply::new(200, "ok"));
    secure(&site.url("/")).header("host", "one.test").check().await.is("up");
    let request = site.requests().remove(0);
    assert_eq!((request.header(":authority"), request.header("host")), (Some("one.test"), None));
}

#[tokio::test]
async fn bodies_of_any_size_go_both_ways() {
    let site = good(|r| Reply::new(200, vec![b'x'; r.body.len()]));
    let seen = secure(&site.url("/")).method("PUT").body(vec![b'y'; 5 * MIB + 1]).check().await;
    assert_eq!(seen.is("up").look.body_bytes, Some(5 * MIB as u64 + 1));
    assert!(site.requests()[0].body.len() == 5 * MIB + 1 && site.requests()[0].body.iter().all(|&c| c == b'y'));
}

#[tokio::test]
async fn every_hop_has_a_connection_of_its_own_whatever_is_spoken_there() {
    let end = Site::serve([resp(200, "ok")]);
    let to = end.url("/end");
    let site = good(move |r| Reply::new(307, "").header("location", if r.number == 0 { "/next" } else { &to }));
    let seen = secure(&site.url("/")).method("POST").body("abc").check().await;
    assert_eq!((spoken(seen.is("up")), seen.look.redirects), (Some("1.1"), 2));
    let connections: Vec<_> = site.requests().iter().map(|r| (r.connection, r.body.clone())).collect();
    assert_eq!(connections, [(0, b"abc".to_vec()), (1, b"abc".to_vec())]);
    assert_eq!(end.requests()[0].body, b"abc");
}

#[tokio::test]
async fn a_location_that_is_too_long_to_be_asked_for_is_a_bad_redirect() {
    let there = Site::setup().http2(|_| Reply::new(200, "ok"));
    let to = there.url(&format!("/{}", "a".repeat(70_000)));
    let site = Site::setup().frames([begin(), long_redirect(&to), hold()]);
    let seen = ask(&site.url("/")).http(Http::V2).check().await;
    assert_eq!(seen.is("down bad_redirect wait").look.redirects, 1);
    assert!(there.requests().is_empty());
}

/// A head of several frames: none may be longer than 16 KiB.
fn long_redirect(to: &str) -> Step {
    let block = http2::block(&[(":status", "302"), ("location", to)]);
    let pieces: Vec<_> = block.chunks(16 << 10).collect();
    let frames = pieces.iter().enumerate().map(|(i, piece)| {
        let kind = if i == 0 { http2::HEADERS } else { http2::CONTINUATION };
        let flags = if i + 1 == pieces.len() { http2::END_HEADERS } else { 0 };
        match frame(kind, flags, 1, piece) {
            Step::Send(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    });
    send(frames.collect::<Vec<_>>().concat())
}

#[tokio::test]
async fn answers_that_are_unusual_but_right_are_read() {
    let padded = [[4].as_slice(), b"hello", &[0; 4]].concat();
    let tiny = (0..3000).map(|_| data("x"));
    all([
        answered("a head alone", [whole_head(200, &[]), hold()], plain).also("empty", |s| s.look.body_bytes == Some(0)),
        answered("HEAD", [whole_head(200, &[("content-length", "77")]), hold()], |a| a.method("HEAD")),
        answered("204", [whole_head(204, &[]), hold()], plain),
        answered("trailers", [http2::head(200, &[]), data("hello"), trailers(&[("x-sum", "1")]), hold()], |a| {
            a.matches("^hello$")
        }),
        answered(
            "a body in pieces, some of them empty",
            [http2::head(200, &[]), data("he"), data(""), data("llo"), last_data(""), hold()],
            |a| a.matches("^hello$"),
        ),
        answered(
            "padding",
            [http2::head(200, &[]), frame(http2::DATA, http2::PADDED | http2::END_STREAM, 1, padded), hold()],
            |a| a.matches("^hello$"),
        ),
        answered(
            "3000 pieces of one byte",
            [http2::head(200, &[])].into_iter().chain(tiny).chain([last_data("y"), hold()]),
            plain,
        )
        .also("all of them", |s| s.look.body_bytes == Some(3001)),
        answered(
            "interim heads",
            [
                http2::head(103, &[("link", "x")]),
                http2::head(100, &[]),
                http2::head(200, &[]),
                last_data("hello"),
                hold(),
            ],
            plain,
        )
        .also("200", |s| s.look.status == Some(200)),
        answered(
            "pings and frames that nobody knows",
            [
                frame(http2::PING, 0, 0, [7; 8]),
                frame(0x4d, 0, 0, "?"),
                http2::head(200, &[]),
                frame(http2::PING, 0, 0, [8; 8]),
                last_data("hello"),
                hold(),
            ],
            plain,
        ),
        answered(
            "GOAWAY that lets us finish",
            [go_away(1, 0), http2::head(200, &[]), go_away(1, 0), last_data("hello"), close()],
            plain,
        ),
        answered("GOAWAY behind the end", [http2::head(200, &[]), last_data("hello"), go_away(0, 2), close()], plain),
        answered("a reset behind the end", [http2::head(200, &[]), last_data("hello"), reset_stream(0), hold()], plain),
        answered(
            "one frame byte by byte",
            [drip([0, 0, 1, 0x88, 0, 0, 0, 0, 0, 1], 1), whole_head(200, &[]), hold()],
            plain,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_pause_is_in_its_phase() {
    all([
        answered("before the head", [pause(250), whole_head(200, &[]), hold()], plain).takes(Wait, 250),
        answered("after an interim head", [http2::head(103, &[]), pause(250), whole_head(200, &[]), hold()], plain)
            .takes(Wait, 250),
        answered("inside the body", [http2::head(200, &[]), data("a"), pause(250), last_data("b"), hold()], plain)
            .takes(Body, 250),
        answered(
            "before the trailers",
            [http2::head(200, &[]), data("a"), pause(250), trailers(&[("x", "y")]), hold()],
            plain,
        )
        .takes(Body, 250),
    ])
    .await;
}

/// "hello" as gzip makes it.
const GZIPPED: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x86, 0xa6, 0x10, 0x36, 0x05, 0, 0, 0,
];

#[tokio::test]
async fn a_body_is_unpacked_searched_and_limited_as_any_other() {
    let site = good(|r| match r.path() {
        "/gzip" => Reply::new(200, GZIPPED).header("content-encoding", "gzip"),
        "/cut" => Reply::new(200, &GZIPPED[..15]).header("content-encoding", "gzip"),
        "/large" => Reply::new(200, vec![b'x'; 3 * MIB]),
        _ => Reply::new(404, "").header("x-found", "no"),
    });
    let at = |path: &str| secure(&site.url(path));
    at("/gzip").matches("^hello$").check().await.is("up");
    at("/cut").check().await.is("down bad_encoding body");
    at("/large").matches("needle").check().await.is("down body_no_match expect");
    let limited = at("/large").max_body(1000).check().await;
    assert_eq!(limited.is("down body_too_large body").look.body_bytes, Some(1000));
    at("/none").check().await.is("down status expect");
    at("/none").status(&[404..=404]).expect_header("X-Found", "^yes$").check().await.is("down header expect");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_sent_is_the_answer() {
    let early = [begin(), http2::head(413, &[]), last_data("too big"), reset_stream(0), hold()];
    let site = offering(&["h2"]).ignore_bodies().frames(early);
    let seen = secure(&site.url("/")).method("POST").body(vec![b'x'; 8 * MIB]).check().await;
    assert_eq!(seen.is("down status expect").look.status, Some(413));
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_fails_in_tls() {
    let site = Site::setup()
        .tls(Tls::with(&pki().good).alpn(&["h2"]).demand_client(&pki().root))
        .http2(|_| Reply::new(200, "ok"));
    let seen = secure(&site.url("/")).check().await;
    assert_eq!(seen.is("down tls_failed tls").look.phases.wait, None);
    secure(&site.url("/")).client(&pki().client).check().await.is("up");
}
