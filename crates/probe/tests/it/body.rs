//! Bodies: where they end, what breaks them, and what is found in them.

use crate::{
    ask::{Ask, ask},
    rows::{OVERLOADED, Row, all, row},
};
use model::Phase::Body;
use testkit::{Site, Step, Tls, pki, step::*};

fn answered(
    sentence: &'static str,
    want: &'static str,
    steps: impl IntoIterator<Item = Step>,
    more: fn(Ask) -> Ask,
) -> Row {
    let site = Site::serve(steps);
    let url = site.url("/");
    row(sentence, want, site, more(ask(&url)))
}

fn plain(ask: Ask) -> Ask {
    ask
}

const CUT: &str = "down truncated body";

fn announced() -> Step {
    head(200, &[("content-length", "100")])
}

fn in_chunks() -> Step {
    head(200, &[("transfer-encoding", "chunked")])
}

#[tokio::test]
async fn a_body_that_is_not_what_was_announced_is_truncated() {
    let read = |n| move |s: &crate::ask::Seen| s.look.body_bytes == Some(n) && s.look.status == Some(200);
    all([
        answered("5 of 100 bytes", CUT, [announced(), send("hello"), pause(200), close()], plain)
            .takes(Body, 200)
            .also("5 bytes", read(5)),
        answered("RST after 5 of 100 bytes", CUT, [announced(), send("hello"), pause(200), reset()], plain)
            .takes(Body, 200)
            .also("5 bytes", read(5)),
        answered(
            "RST in a body that ends with the connection",
            CUT,
            [head(200, &[]), send("hello"), pause(200), reset()],
            plain,
        )
        .takes(Body, 200),
        answered("the end before the last chunk", CUT, [in_chunks(), chunk("hello"), close()], plain)
            .also("5 bytes", read(5)),
        answered("the end inside a chunk", CUT, [in_chunks(), send("5\r\nhel"), close()], plain)
            .also("3 bytes", read(3)),
        answered("the end inside a chunk's size", CUT, [in_chunks(), chunk("hello"), send("1"), close()], plain),
        answered(
            "the end inside the trailers",
            CUT,
            [in_chunks(), chunk("hello"), send("0\r\nx: y\r\n"), close()],
            plain,
        ),
        answered("a chunk without a size", CUT, [in_chunks(), chunk("hello"), send("zz\r\n"), hold()], plain)
            .also("5 bytes", read(5)),
        answered("a chunk longer than its size", CUT, [in_chunks(), send("5\r\nhello!\r\n"), hold()], plain),
        answered(
            "a chunk larger than any body",
            CUT,
            [in_chunks(), send("ffffffffffffffffff\r\nhello"), hold()],
            plain,
        ),
        answered("trailers without end", CUT, [in_chunks(), send("0\r\n"), endless("x: y\r\n".repeat(100), 0)], plain),
    ])
    .await;
}

#[tokio::test]
async fn a_broken_transfer_is_never_blamed_on_a_pattern() {
    let cut = || [announced(), send("hello"), close()];
    all([
        answered("the pattern has come already", CUT, cut(), |a| a.matches("hello")),
        answered("the pattern has not come yet", CUT, cut(), |a| a.matches("world")),
        answered("a forbidden pattern has come", CUT, cut(), |a| a.not_matches("hello")),
        answered("the time is up", "down timeout body", [announced(), send("hello"), hold()], |a| {
            a.matches("world").timeout(200)
        }),
        answered(
            "too large before the pattern",
            "down body_too_large body",
            [resp(200, "x".repeat(4096) + "needle")],
            |a| a.max_body(1024).matches("needle"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_in_body_with_what_was_read() {
    let late = |sentence, steps: Vec<Step>| {
        let site = Site::serve(steps);
        let url = site.url("/");
        row(sentence, "down timeout body", site, ask(&url).timeout(300)).takes(Body, 300)
    };
    all([
        late("half of it", vec![announced(), send("hello"), hold()])
            .also("5 bytes of a 200", |s| s.look.body_bytes == Some(5) && s.look.status == Some(200)),
        late("a byte every 20 ms", vec![announced(), endless("x", 20)]),
        late("chunks without end", vec![in_chunks(), endless("1\r\nx\r\n", 20)]),
        late("the last chunk does not come", vec![in_chunks(), chunk("hello"), hold()]),
        late("nothing after the head", vec![announced(), hold()]).also("0 bytes", |s| s.look.body_bytes == Some(0)),
    ])
    .await;
}

#[tokio::test]
async fn a_body_as_fast_as_it_goes_ends_with_the_time_too() {
    let site = Site::serve([head(200, &[]), endless([b'x'; 16384], 0)]);
    let seen = ask(&site.url("/")).max_body(u64::MAX).timeout(300).check().await;
    assert!(["down timeout body", OVERLOADED].contains(&seen.said.as_str()), "{} {}", seen.said, seen.message);
    assert!(seen.time(Body).as_millis() < 2000, "{:?}", seen.look.phases);
}

#[tokio::test]
async fn the_head_is_the_reason_whatever_becomes_of_the_body() {
    let not_found = || head(404, &[("content-length", "100")]);
    for (steps, then) in [
        (vec![not_found(), send("hello"), close()], "truncated"),
        (vec![not_found(), send("hello"), hold()], "timeout"),
        (vec![resp_with(404, &[("content-encoding", "gzip")], "hello")], "bad_encoding"),
        (vec![resp(404, "x".repeat(4096))], "body_too_large"),
    ] {
        let site = Site::serve(steps);
        let seen = ask(&site.url("/")).max_body(1024).timeout(300).check().await;
        seen.is("down status expect");
        let names_both = seen.message.starts_with("status 404, expected 200-299; then") && seen.message.contains(then);
        assert!(names_both, "{}", seen.message);
    }
}

#[tokio::test]
async fn a_body_ends_where_its_framing_says() {
    let read = |sentence, bytes, steps: Vec<Step>, more: fn(Ask) -> Ask| {
        answered(sentence, "up", steps, more).also("so many bytes", move |s| s.look.body_bytes == Some(bytes))
    };
    all([
        read("a length, and the connection stays open", 2, vec![resp(200, "ok"), hold()], plain),
        read(
            "the last chunk, and it stays open",
            11,
            vec![in_chunks(), chunk("hello"), chunk(" world"), last_chunk(&[]), hold()],
            |a| a.matches("^hello world$"),
        ),
        read(
            "extensions and trailers are not the body",
            5,
            vec![in_chunks(), send("5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n"), hold()],
            |a| a.matches("^hello$"),
        ),
        read(
            "what follows a length is not the body",
            5,
            vec![head(200, &[("content-length", "5")]), send("helloWORLD")],
            |a| a.matches("^hello$").not_matches("WORLD"),
        ),
        read("the end of the connection", 5, vec![head(200, &[]), send("hello"), close()], |a| a.matches("hello$")),
        read("HTTP/1.0", 5, vec![send("HTTP/1.0 200 OK\r\n\r\nhello"), close()], plain),
        read("HEAD has none, whatever the length", 0, vec![head(200, &[("content-length", "77")]), hold()], |a| {
            a.method("HEAD")
        }),
        read("204 has none", 0, vec![head(204, &[("content-length", "77")]), hold()], plain),
        read("304 has none", 0, vec![head(304, &[("content-length", "77")]), hold()], |a| a.status(&[304..=304])),
        read("a length of zero", 0, vec![resp(200, ""), hold()], plain),
    ])
    .await;
}

#[tokio::test]
async fn over_tls_an_end_without_close_notify_is_taken_unless_bytes_are_missing() {
    let over_tls = |sentence, want, steps: Vec<Step>| {
        let site = Site::tls(Tls::with(&pki().good), steps);
        let url = site.url("/");
        row(sentence, want, site, ask(&url).trust(&pki().root))
    };
    all([
        over_tls("the end of the connection", "up", vec![head(200, &[]), send("hello"), cut()])
            .also("5 bytes", |s| s.look.body_bytes == Some(5)),
        over_tls("the same with close_notify", "up", vec![head(200, &[]), send("hello"), close()]),
        over_tls("5 of 100 bytes", CUT, vec![announced(), send("hello"), pause(200), cut()]),
        over_tls("5 of 100 bytes with close_notify", CUT, vec![announced(), send("hello"), close()]),
        over_tls("RST", CUT, vec![head(200, &[]), send("hello"), pause(100), reset()]),
        over_tls("an end inside the head", "down closed wait", vec![send("HTTP/1.1 200 OK\r\n"), cut()]),
        over_tls("an end before the head", "down closed wait", vec![cut()])
            .also("told as over plain TCP", |s| s.message == "the server closed the connection before it answered"),
        over_tls("the same with close_notify", "down closed wait", vec![close()]),
    ])
    .await;
}

/// "hello" as gzip makes it.
const GZIPPED: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x86, 0xa6, 0x10, 0x36, 0x05, 0, 0, 0,
];

#[tokio::test]
async fn a_compressed_body_is_searched_as_the_text_that_it_is() {
    let labelled = |coding: &'static str, body: &'static [u8]| resp_with(200, &[("content-encoding", coding)], body);
    let length = GZIPPED.len().to_string();
    let cut_short = move || head(200, &[("content-encoding", "gzip"), ("content-length", length.as_str())]);
    all([
        answered("gzip", "up", [labelled("gzip", GZIPPED)], |a| a.matches("^hello$"))
            .also("5 bytes", |s| s.look.body_bytes == Some(5)),
        answered("gzip that is none", "down bad_encoding body", [labelled("GZIP", b"hello")], plain),
        answered("gzip that ends early", "down bad_encoding body", [labelled("gzip", &GZIPPED[..15])], plain),
        answered(
            "gzip whose transfer is cut",
            "down truncated body",
            [cut_short(), send(&GZIPPED[..15]), close()],
            plain,
        ),
        answered("stacked", "down bad_encoding body", [labelled("identity, br", b"\xffhello")], plain),
        answered("one that is not known", "up", [labelled("xxx", b"hello")], |a| a.matches("hello")),
        answered("identity", "up", [labelled("identity", b"hello")], |a| a.matches("hello")),
        answered("HEAD", "up", [head(200, &[("content-encoding", "gzip"), ("content-length", "77")])], |a| {
            a.method("HEAD")
        }),
        answered("an empty body", "up", [labelled("gzip", b"")], plain),
    ])
    .await;
}

#[tokio::test]
async fn a_body_may_have_max_body_bytes_and_no_more() {
    let limited = |sentence, want, steps: Vec<Step>| answered(sentence, want, steps, |a| a.max_body(1024));
    let too_large = "down body_too_large body";
    all([
        limited("just as many", "up", vec![resp(200, "a".repeat(1024))]),
        limited("one more", too_large, vec![resp(200, "a".repeat(1025))])
            .also("1024 bytes", |s| s.look.body_bytes == Some(1024)),
        limited("just as many in chunks", "up", vec![chunked(200, ["a".repeat(1000), "a".repeat(24)])]),
        limited("one more in chunks", too_large, vec![chunked(200, ["a".repeat(1000), "a".repeat(25)])]),
        limited("no end", too_large, vec![head(200, &[]), endless([b'a'; 512], 0)]),
        limited("late", too_large, vec![head(200, &[]), pause(200), fill(2000)]).takes(Body, 200),
    ])
    .await;
}

#[tokio::test]
async fn patterns_see_one_body_whatever_the_pieces() {
    let pieces = |sentence, want, parts: &'static [&'static str], more: fn(Ask) -> Ask| {
        let steps = parts.iter().flat_map(|&p| [chunk(p), pause(20)]);
        answered(sentence, want, [in_chunks()].into_iter().chain(steps).chain([last_chunk(&[])]), more)
    };
    let (missed, found) = ("down body_no_match expect", "down body_match expect");
    all([
        pieces("a match over two pieces", "up", &["one nee", "dle two"], |a| a.matches("needle")),
        pieces("a forbidden one over three", found, &["fatal ", "er", "ror"], |a| a.not_matches("fatal error")),
        pieces("no end inside the body", missed, &["the end", " not yet"], |a| a.matches("end$")),
        pieces("no forbidden end inside either", "up", &["the end", " not yet"], |a| a.not_matches("end$")),
        pieces("no word's edge between two pieces", missed, &["con", "cat", "enate"], |a| a.matches(r"\bcat\b")),
        pieces("all of several", missed, &["one ", "two"], |a| a.matches("one").matches("three")),
    ])
    .await;
}
