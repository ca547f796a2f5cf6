//! Sites that speak HTTP/2 badly: what broke, when, and whose word it was. None of them is asked twice.

use crate::{
    ask::{Ask, PHASES, ask},
    rows::{OVERLOADED, Row, all, row},
};
use model::{
    Phase::{Body, Wait},
    target::Http,
};
use proptest::prelude::*;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::{
    Setup, Site, Step, Tls,
    http2::{
        CONTINUATION, DATA, END_HEADERS, HEADERS, PING, SETTINGS, begin, block, data, frame, go_away, head, last_data,
        reset_stream, whole_head,
    },
    pki,
    step::{close, cut, drip, endless, hold, pause, reset, resp, send},
};

const CLOSED: &str = "down closed wait";
const BAD: &str = "down bad_response wait";
const CUT: &str = "down truncated body";

/// These steps in answer to a request over HTTP/2.
fn raw(sentence: &'static str, want: &'static str, steps: impl IntoIterator<Item = Step>, more: fn(Ask) -> Ask) -> Row {
    on(Site::setup(), sentence, want, steps, more)
}

/// The same after the settings.
fn answered(sentence: &'static str, want: &'static str, steps: impl IntoIterator<Item = Step>) -> Row {
    raw(sentence, want, [begin()].into_iter().chain(steps), |a| a)
}

/// The same over TLS.
fn over_tls(sentence: &'static str, want: &'static str, steps: impl IntoIterator<Item = Step>) -> Row {
    let setup = Site::setup().tls(Tls::with(&pki().good).alpn(&["h2"]));
    on(setup, sentence, want, [begin()].into_iter().chain(steps), |a| a)
}

fn on(
    setup: Setup,
    sentence: &'static str,
    want: &'static str,
    steps: impl IntoIterator<Item = Step>,
    more: fn(Ask) -> Ask,
) -> Row {
    let site = Arc::new(setup.frames(steps));
    let (url, kept) = (site.url("/"), Arc::clone(&site));
    row(sentence, want, kept, more(ask(&url).trust(&pki().root).http(Http::V2)))
        .also("one request on each connection", move |_| site.requests().len() == site.connections())
}

#[tokio::test]
async fn an_end_before_the_head_is_closed() {
    all([
        answered("RST_STREAM", CLOSED, [pause(200), reset_stream(2), hold()]).takes(Wait, 200),
        answered("RST_STREAM without an error", CLOSED, [reset_stream(0), hold()]),
        answered("REFUSED_STREAM", CLOSED, [reset_stream(7), hold()]),
        answered("RST_STREAM after an interim head", CLOSED, [head(103, &[]), reset_stream(8), hold()]),
        answered("GOAWAY that leaves us out", CLOSED, [pause(200), go_away(0, 0), hold()]).takes(Wait, 200),
        answered("GOAWAY with an error", CLOSED, [go_away(1, 11), hold()]),
        answered("GOAWAY and FIN", CLOSED, [go_away(0, 2), close()]),
        answered("GOAWAY that lets us finish, and FIN", CLOSED, [go_away(1, 0), close()]),
        answered("FIN", CLOSED, [pause(200), close()]).takes(Wait, 200),
        over_tls("RST_STREAM over TLS", CLOSED, [reset_stream(2), hold()]),
        over_tls("FIN over TLS", CLOSED, [close()]),
        over_tls("FIN without close_notify", CLOSED, [cut()]),
        over_tls("RST over TLS", CLOSED, [reset()]),
        answered("RST", CLOSED, [pause(200), reset()]).takes(Wait, 200),
        answered("FIN inside the head", CLOSED, [frame(HEADERS, 0, 1, block(&[(":status", "200")])), close()]),
        answered("FIN inside a frame", CLOSED, [send([0, 0, 9, HEADERS, END_HEADERS, 0, 0, 0, 1, 0x88]), close()]),
        raw("FIN before the settings", CLOSED, [close()], |a| a),
        raw("FIN inside the settings", CLOSED, [send([0, 0, 6, SETTINGS]), close()], |a| a),
    ]
    .map(|row| row.also("no status is known", |s| s.look.status.is_none() && s.look.http.is_none())))
    .await;
}

#[tokio::test]
async fn what_is_not_http2_is_a_bad_response() {
    let long = "v".repeat(10_000);
    let more = (0..40).map(|_| frame(CONTINUATION, 0, 1, block(&[("x", long.as_str())])));
    let too_large = [frame(HEADERS, 0, 1, block(&[(":status", "200")]))].into_iter().chain(more);
    all([
        raw("HTTP/1.1", BAD, [pause(200), resp(400, "this is HTTP/1.1"), hold()], |a| a).takes(Wait, 200),
        raw("another protocol", BAD, [send("220 mail.example ESMTP\r\n"), hold()], |a| a),
        raw("NUL bytes", BAD, [send([0; 64]), hold()], |a| a),
        raw("an answer without settings", BAD, [whole_head(200, &[]), hold()], |a| a),
        raw("settings of a wrong length", BAD, [frame(SETTINGS, 0, 0, [0; 5]), hold()], |a| a),
        answered("a frame that is too long", BAD, [send(b"\x7f\xff\xff\x00\x00\x00\x00\x00\x01"), hold()]),
        answered("a head on stream 0", BAD, [frame(HEADERS, END_HEADERS, 0, [0x88]), hold()]),
        answered("a head on a stream that nobody opened", BAD, [frame(HEADERS, END_HEADERS, 3, [0x88]), hold()]),
        answered("a body before the head", BAD, [data("hello"), hold()]),
        answered("a body after an interim head", BAD, [head(103, &[]), data("hello"), hold()]),
        answered("a ping of a wrong length", BAD, [frame(PING, 0, 0, [0; 7]), hold()]),
        answered("a head that is no HPACK", BAD, [frame(HEADERS, END_HEADERS, 1, [0xff; 8]), hold()]),
        answered("a head without a status", BAD, [frame(HEADERS, END_HEADERS, 1, block(&[("x", "y")])), hold()]),
        answered("a status that is none", BAD, [frame(HEADERS, END_HEADERS, 1, block(&[(":status", "abc")])), hold()]),
        answered("a name in capitals", BAD, [head(200, &[("X-Upper", "1")]), hold()]),
        answered("a header of HTTP/1.1", BAD, [head(200, &[("connection", "close")]), hold()]),
        answered("two lengths", BAD, [head(200, &[("content-length", "5"), ("content-length", "6")]), hold()]),
        answered("a length that is none", BAD, [head(200, &[("content-length", "five")]), hold()]),
        answered("a head that is cut by another frame", BAD, [frame(HEADERS, 0, 1, [0x88]), data("hello"), hold()]),
        answered("a head without end", BAD, too_large.chain([hold()])),
        answered("interim heads without end", BAD, [flood(&head(103, &[("link", long.as_str())]), 0)]),
        answered("a pushed answer", BAD, [frame(5, END_HEADERS, 1, [0, 0, 0, 2, 0x82]), hold()]),
    ]
    .map(|row| row.also("no status is known", |s| s.look.status.is_none() && s.look.phases.transfer.is_none())))
    .await;
}

#[tokio::test]
async fn an_end_inside_the_body_is_truncated() {
    let begun = || [head(200, &[]), data("hello")];
    let broken = |sentence, steps: Vec<Step>| {
        answered(sentence, CUT, begun().into_iter().chain(steps)).also("5 bytes", |s| s.look.body_bytes == Some(5))
    };
    let announced = |n: &str, steps: [Step; 2]| [head(200, &[("content-length", n)])].into_iter().chain(steps);
    all([
        broken("RST_STREAM", vec![pause(200), reset_stream(2), hold()]).takes(Body, 200),
        broken("RST_STREAM without an error", vec![reset_stream(0), hold()]),
        broken("RST_STREAM with CANCEL", vec![reset_stream(8), hold()]),
        broken("GOAWAY that leaves us out", vec![go_away(0, 0), hold()]),
        broken("GOAWAY with an error", vec![go_away(1, 2), hold()]),
        broken("GOAWAY and FIN", vec![go_away(0, 2), close()]),
        broken("FIN", vec![pause(200), close()]).takes(Body, 200),
        over_tls("FIN over TLS", CUT, begun().into_iter().chain([close()])),
        over_tls("FIN without close_notify", CUT, begun().into_iter().chain([cut()])),
        broken("RST", vec![pause(100), reset()]),
        broken("FIN inside a frame", vec![send([0, 0, 9, DATA, 0, 0, 0, 0, 1]), close()]),
        broken("a frame that is too long", vec![send(b"\x7f\xff\xff\x00\x00\x00\x00\x00\x01"), hold()]),
        broken("trailers that do not end it", vec![frame(HEADERS, END_HEADERS, 1, block(&[("x", "y")])), hold()]),
        broken("a ping of a wrong length", vec![frame(PING, 0, 0, [0; 7]), hold()]),
        broken("text", vec![send("HTTP/1.1 200 OK\r\n\r\n"), hold()]),
        answered("fewer bytes than announced", CUT, announced("9", [last_data("hello"), hold()])),
        answered("more bytes than announced", CUT, announced("3", [last_data("hello"), hold()])),
    ]
    .map(|row| row.also("the status is known", |s| s.look.status == Some(200))))
    .await;
}

#[tokio::test]
async fn a_status_that_is_not_expected_is_the_reason_also_when_the_body_breaks() {
    let steps = [head(500, &[]), data("hello"), reset_stream(2), hold()];
    all([answered("500", "down status expect", steps)
        .also("the message names both", |s| s.message.contains("500") && s.message.contains("truncated"))])
    .await;
}

#[tokio::test]
async fn what_does_not_come_in_time_is_a_timeout_where_it_struck() {
    let late = |sentence, want, steps: Vec<Step>| {
        raw(sentence, want, steps, |a| a.timeout(1000)).also("it took its time", |s| {
            s.look.total.is_some_and(|t| t >= Duration::from_millis(900) && t < Duration::from_secs(5)) // without ours
        })
    };
    let (wait, body) = ("down timeout wait", "down timeout body");
    let ping = frame(PING, 0, 0, [1; 8]);
    let begun = || vec![begin(), head(200, &[]), data("hello")];
    let with = |step: Step| begun().into_iter().chain([step]).collect::<Vec<_>>();
    all([
        late("nothing", wait, vec![hold()]),
        late("settings alone", wait, vec![begin(), hold()]),
        late("half a head", wait, vec![begin(), frame(HEADERS, 0, 1, [0x88]), hold()]),
        late("half a frame", wait, vec![begin(), send([0, 0, 9, HEADERS]), hold()]),
        late(
            "a head that drips",
            wait,
            vec![begin(), drip([0, 0, 1, HEADERS, END_HEADERS, 0, 0, 0, 1, 0x88], 300), hold()],
        ),
        late("interim heads now and then", wait, vec![begin(), flood(&head(103, &[]), 50)]),
        late("pings now and then", wait, vec![begin(), flood(&ping, 50)]),
        late("GOAWAY that lets us finish, and silence", wait, vec![begin(), go_away(1, 0), hold()]),
        late("a body that stalls", body, with(hold())),
        late("a body that goes on and on", body, with(flood(&data("x"), 50))),
        late("pings inside the body", body, with(flood(&ping, 50))),
    ])
    .await;
}

/// A site that never lets us wait must not keep us for ever.
#[tokio::test]
async fn a_flood_ends_by_the_deadline_or_before() {
    for step in [frame(PING, 0, 0, [1; 8]), frame(0x4d, 0, 0, "?"), frame(SETTINGS, 0, 0, []), data(""), data("x")] {
        let site = Site::setup().frames([begin(), head(200, &[]), flood(&step, 0)]);
        let begun = Instant::now();
        let seen = ask(&site.url("/")).http(Http::V2).timeout(500).check().await;
        assert!(
            ["down timeout body", CUT, OVERLOADED].contains(&seen.said.as_str()),
            "{step:?}: {} {}",
            seen.said,
            seen.message
        );
        assert!(begun.elapsed() < Duration::from_secs(10), "{step:?} took {:?}", begun.elapsed());
    }
}

/// The same frame again and again, many in one write.
fn flood(step: &Step, pause_ms: u64) -> Step {
    let Step::Send(bytes) = step else { panic!("{step:?} is no frame") };
    endless(bytes.repeat(if pause_ms == 0 { 100 } else { 1 }), pause_ms)
}

/// Frames that look like some, in any order.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![Just(DATA), Just(HEADERS), Just(CONTINUATION), 0u8..12];
    let payloads = prop_oneof![
        Just(block(&[(":status", "200")])),
        Just(block(&[(":status", "103")])),
        Just(vec![0x88]),
        Just(vec![]),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let one = (kinds, any::<u8>(), prop_oneof![Just(1u32), Just(0), Just(3), any::<u32>()], payloads).prop_map(
        |(kind, flags, stream, payload)| match frame(kind, flags, stream, payload) {
            Step::Send(bytes) => bytes,
            _ => Vec::new(),
        },
    );
    let noise = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(prop_oneof![9 => one, 1 => noise], 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// `check` itself holds every result against what the contract says of all: the phases add up, those are there that were
    /// entered, a failure has its own phase.
    #[test]
    fn no_frames_make_it_panic_and_it_always_ends(bytes in hostile(), begins in any::<bool>(), ends in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = if begins { begin() } else { send("") };
        let last = if ends { close() } else { hold() };
        let site = Site::setup().frames([first, send(&bytes), last]);
        let asked = ask(&site.url("/")).http(Http::V2).timeout(if ends { 20_000 } else { 100 });
        let begun = Instant::now();
        let seen = runtime.block_on(asked.check());
        let expected = ["up", CLOSED, BAD, CUT, "down status expect", "down timeout wait", "down timeout body", OVERLOADED];
        prop_assert!(expected.contains(&seen.said.as_str()), "{} {}", seen.said, seen.message);
        prop_assert!(!(ends && seen.said.contains("timeout")), "{} {}", seen.said, seen.message);
        prop_assert!(begun.elapsed() < Duration::from_secs(15));
        prop_assert!(PHASES.iter().all(|&p| seen.time(p) <= begun.elapsed()));
    }
}
