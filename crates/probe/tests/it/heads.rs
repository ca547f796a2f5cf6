//! What comes instead of a response head, and how late it may come.

use crate::{
    ask::ask,
    rows::{Row, all, row},
};
use model::Phase::Wait;
use testkit::{Site, Step, step::*};

fn answered(sentence: &'static str, want: &'static str, steps: impl IntoIterator<Item = Step>) -> Row {
    let site = Site::serve(steps);
    let url = site.url("/");
    row(sentence, want, site, ask(&url))
}

const CLOSED: &str = "down closed wait";
const BAD: &str = "down bad_response wait";
const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n";

#[tokio::test]
async fn an_end_before_a_whole_head_is_closed() {
    all([
        answered("FIN instead of an answer", CLOSED, [pause(200), close()]).takes(Wait, 200),
        answered("RST instead of an answer", CLOSED, [pause(200), reset()]).takes(Wait, 200),
        answered("FIN inside the head", CLOSED, [send(HALF), pause(200), close()]).takes(Wait, 200),
        answered("RST inside the head", CLOSED, [send(HALF), pause(200), reset()]).takes(Wait, 200),
        answered("FIN after an interim head", CLOSED, [head(103, &[]), close()]),
    ]
    .map(|row| row.also("no status is known", |s| s.look.status.is_none() && s.look.http.is_none())))
    .await;
}

#[tokio::test]
async fn a_message_says_how_the_connection_ended_and_when() {
    for (steps, want) in [
        (vec![close()], "the server closed the connection before it answered"),
        (vec![reset()], "the server reset the connection before it answered"),
        (vec![send(HALF), close()], "the server closed the connection before its response head was complete"),
    ] {
        let site = Site::serve(steps);
        assert_eq!(ask(&site.url("/")).check().await.is(CLOSED).message, want);
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_bad_response() {
    let two_lengths = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!";
    let no_length = "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n";
    let coding = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    all([
        answered("NUL bytes", BAD, [pause(200), send([0; 64]), hold()]).takes(Wait, 200),
        answered("a page without a head", BAD, [send("<html><body>hello</body></html>\n"), hold()]),
        answered("HTTP/2 frames", BAD, [send(b"\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\x64"), hold()]),
        answered("a status that is no number", BAD, [send("HTTP/1.1 abc OK\r\n\r\n"), hold()]),
        answered("a status below 100", BAD, [send("HTTP/1.1 042 OK\r\n\r\n"), hold()]),
        answered("a header line without a colon", BAD, [send("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), hold()]),
        answered("two lengths", BAD, [send(two_lengths), hold()]),
        answered("a length below zero", BAD, [send(no_length), hold()]),
        answered("a transfer coding that nobody asked for", BAD, [send(coding), hold()]),
    ])
    .await;
}

#[tokio::test]
async fn a_server_of_another_protocol_that_speaks_first_is_a_bad_response() {
    let greeting = |text: &str| Site::greet([send(text), hold()]);
    for text in ["220 mail.example ESMTP\r\n", "SSH-2.0-OpenSSH_9.9\r\n"] {
        let site = greeting(text);
        let seen = ask(&site.url("/")).check().await;
        assert!(seen.is(BAD).message.contains("not HTTP/1"), "{}", seen.message);
    }
}

#[tokio::test]
async fn a_head_without_end_is_a_bad_response_soon() {
    let value = [send("HTTP/1.1 200 OK\r\nx: "), endless([b'v'; 4096], 0)];
    let lines = [send("HTTP/1.1 200 OK\r\n"), endless("x: y\r\n".repeat(1000), 0)];
    let interims = [endless("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(100), 0)];
    all([
        answered("one value without end", BAD, value),
        answered("lines without end", BAD, lines),
        answered("interim heads without end", BAD, interims),
    ])
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_a_timeout_in_wait() {
    let late = |sentence, steps: Vec<Step>| {
        let site = Site::serve(steps);
        let url = site.url("/");
        row(sentence, "down timeout wait", site, ask(&url).timeout(300))
            .takes(Wait, 300)
            .also("no status is known", |s| {
                s.look.status.is_none() && s.look.phases.transfer.is_none() && s.look.rtt.is_some()
            })
    };
    all([
        late("nothing comes", vec![hold()]),
        late("it comes too late", vec![pause(2000), resp(200, "ok")]),
        late("half a status line comes", vec![send("HTTP/1.1 20"), hold()]),
        late("the empty line never comes", vec![send(HALF), hold()]),
        late("a line comes every 50 ms for ever", vec![send("HTTP/1.1 200 OK\r\n"), endless("x: y\r\n", 50)]),
        late("an interim head comes every 50 ms for ever", vec![endless("HTTP/1.1 100 Continue\r\n\r\n", 50)]),
    ])
    .await;
}

#[tokio::test]
async fn heads_that_are_unusual_but_right_are_read() {
    let many: Vec<(String, String)> = (0..300).map(|i| (format!("x-{i}"), "v".repeat(40))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    all([
        answered("no reason phrase", "up", [send("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok"), hold()]),
        answered("300 headers", "up", [resp_with(200, &many, "ok"), hold()]),
        answered("an unasked 100 before it", "up", [head(100, &[]), resp(200, "ok"), hold()]),
        answered("one byte at a time", "up", [drip("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 1), hold()]),
        answered(
            "a line that is folded",
            "up",
            [send("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n"), hold()],
        ),
        answered(
            "lines that end without a carriage return",
            "up",
            [send("HTTP/1.1 200 OK\ncontent-length: 0\n\n"), hold()],
        ),
        answered(
            "bytes that are not ASCII",
            "up",
            [send(b"HTTP/1.1 200 OK\r\nx: caf\xe9\r\ncontent-length: 0\r\n\r\n"), hold()],
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_version_is_that_of_the_answer() {
    for (version, steps) in [("1.0", vec![send("HTTP/1.0 200 OK\r\n\r\nhello")]), ("1.1", vec![resp(200, "hello")])] {
        let site = Site::serve(steps);
        let seen = ask(&site.url("/")).check().await;
        assert_eq!(seen.is("up").look.http.map(model::result::HttpVersion::word), Some(version));
        assert_eq!(seen.look.body_bytes, Some(5));
    }
}

#[tokio::test]
async fn a_broken_answer_is_not_asked_for_again() {
    for steps in [vec![close()], vec![reset()], vec![send(HALF), close()], vec![send([0; 8])]] {
        let site = Site::serve(steps);
        ask(&site.url("/")).check().await;
        assert_eq!((site.connections(), site.requests().len()), (1, 1));
    }
}
