//! A site that speaks HTTP/2 frame by frame sends the frames that it was told to, once it was asked.

use crate::client::connect;
use std::io::{Read, Write};
use testkit::{Site, http2::*, step::hold};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NO_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

#[test]
fn frames_come_after_a_request_just_as_they_were_told() {
    let site = Site::setup().frames([begin(), head(200, &[("a", "b")]), last_data("hi"), go_away(1, 2)]);
    let mut stream = connect(site.address());
    // POST / with a body of one byte: the site waits for its end.
    let asked = [PREFACE, NO_SETTINGS, b"\0\0\x01\x01\x04\0\0\0\x01\x83", b"\0\0\x01\0\x01\0\0\0\x01x"];
    asked.iter().for_each(|bytes| stream.write_all(bytes).unwrap());
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).unwrap();
    let want: [&[u8]; 5] = [
        NO_SETTINGS,
        b"\0\0\0\x04\x01\0\0\0\0",
        b"\0\0\x12\x01\x04\0\0\0\x01\0\x07:status\x03200\0\x01a\x01b",
        b"\0\0\x02\0\x01\0\0\0\x01hi",
        b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\x02",
    ];
    assert_eq!(seen, want.concat());
    let requests = site.requests();
    assert_eq!((requests.len(), requests[0].body.as_slice()), (1, &b"x"[..]));
}

#[test]
fn what_is_not_http2_is_not_answered() {
    let site = Site::setup().frames([begin(), hold()]);
    let mut stream = connect(site.address());
    stream.write_all(b"GET / HTTP/1.1\r\nhost: somewhere\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    // Bytes that were not read make a reset of the end.
    let _ = stream.read_to_end(&mut seen);
    assert_eq!((seen.len(), site.requests().len()), (0, 0));
}
