//! Each step does what its name says, seen from the other end of the socket.

use crate::client::{End, GET, LIMIT, ask, connect, read_to_end};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testkit::{Site, Step, step::*, until};

fn check(steps: impl IntoIterator<Item = Step>, text: &str, end: &End) {
    let seen = ask(&Site::serve(steps), GET);
    assert_eq!((seen.text.as_str(), &seen.end), (text, end));
}

#[test]
fn what_is_sent_arrives_and_a_script_ends_in_good_order() {
    check([send("hello "), send("world")], "hello world", &End::Fin);
    check([send("a"), close(), send("never")], "a", &End::Fin);
    check([send("a"), cut()], "a", &End::Fin);
    check([], "", &End::Fin);
}

#[test]
fn a_reset_is_a_reset() {
    check([reset()], "", &End::Reset);
    check([send("half"), pause(50), reset()], "half", &End::Reset);
}

#[test]
fn a_tunnel_leads_to_another_site_whatever_host_was_asked_for() {
    let site = Site::serve([resp(200, "ok")]);
    let proxy = Site::serve([head(200, &[]), tunnel(site.port())]);
    let seen = ask(&proxy, &format!("CONNECT nowhere.test:443 HTTP/1.1\r\n\r\n{GET}"));
    assert_eq!(seen.text, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!((seen.end, proxy.requests()[0].target.as_str()), (End::Fin, "nowhere.test:443"));
    assert_eq!(site.requests().len(), 1);
}

#[test]
fn responses_are_well_formed() {
    check([resp(200, "ok")], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", &End::Fin);
    check(
        [resp_with(503, &[("retry-after", "1")], "")],
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        &End::Fin,
    );
    check([redirect(302, "/there")], "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n", &End::Fin);
    check(
        [head(103, &[("link", "</a.css>")]), head(200, &[])],
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        &End::Fin,
    );
}

#[test]
fn chunks_are_well_formed() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check(
        [chunked(200, ["one", "sixteen bytes!!!"])],
        &format!("{head}3\r\none\r\n10\r\nsixteen bytes!!!\r\n0\r\n\r\n"),
        &End::Fin,
    );
    check([chunk("ab"), last_chunk(&[])], "2\r\nab\r\n0\r\n\r\n", &End::Fin);
    check([last_chunk(&[("sum", "1")])], "0\r\nsum: 1\r\n\r\n", &End::Fin);
}

#[test]
fn pauses_and_drips_take_their_time() {
    for (steps, text) in [(vec![pause(100), send("a")], "a"), (vec![drip("abcde", 20)], "abcde")] {
        let started = Instant::now();
        check(steps, text, &End::Fin);
        assert!(started.elapsed() >= Duration::from_millis(100));
    }
}

#[test]
fn holding_says_nothing_until_the_peer_goes_away() {
    let site = Site::serve([send("a"), hold(), send("never")]);
    let mut stream = connect(site.address());
    stream.write_all(GET.as_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    let seen = read_to_end(&mut stream);
    assert_eq!((seen.text.as_str(), seen.end), ("", End::Silence));
    assert_eq!(site.open(), 1);
    drop(stream);
    until("the site lets go", LIMIT, || site.open() == 0);
}

#[test]
fn a_long_body_needs_no_memory_and_ends_with_its_tail() {
    let site = Site::serve([fill(3_000_000), send("tail")]);
    let text = ask(&site, GET).text;
    assert_eq!(text.len(), 3_000_004);
    assert!(text.starts_with("xxx") && text.ends_with("xxtail"));
    assert_eq!(site.sent(), 3_000_004);
}

#[test]
fn endless_is_endless_until_the_peer_goes_away() {
    for every in [0, 1] {
        let site = Site::serve([endless("0123456789", every)]);
        let mut stream = connect(site.address());
        stream.write_all(GET.as_bytes()).unwrap();
        let mut bytes = [0; 95];
        stream.read_exact(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"01234567890123"));
        assert_eq!(site.open(), 1);
        drop(stream);
        until("the site lets go", LIMIT, || site.open() == 0);
    }
}

#[test]
fn a_greeting_does_not_wait_for_a_request() {
    let seen = ask(&Site::greet([send("220 hello\r\n")]), "");
    assert_eq!((seen.text.as_str(), seen.end), ("220 hello\r\n", End::Fin));
    assert_eq!(ask(&Site::greet([close()]), "").end, End::Fin);
    assert_eq!(ask(&Site::greet([reset()]), "").end, End::Reset);
    let site = Site::greet([receive(), reset()]);
    let mut stream = connect(site.address());
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(read_to_end(&mut stream).end, End::Silence, "nothing happens before the client speaks");
    stream.write_all(b"\x16").unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(read_to_end(&mut stream).end, End::Reset);
    assert!(site.requests().is_empty());
}

#[test]
fn a_dropped_site_is_gone_with_its_connections() {
    let site = Site::serve([send("a"), hold()]);
    let address = site.address();
    let mut stream = connect(address);
    stream.write_all(GET.as_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    drop(site);
    assert!(matches!(read_to_end(&mut stream).end, End::Fin | End::Reset));
    until("nobody listens", LIMIT, || TcpStream::connect(address).is_err());
}

#[test]
fn a_port_that_was_left_can_be_taken_again() {
    let site = Site::serve([resp(200, "first")]);
    let port = site.port();
    assert!(ask(&site, GET).text.ends_with("first"));
    drop(site);
    let site = Site::setup().port(port).serve([resp(200, "second")]);
    assert!(ask(&site, GET).text.ends_with("second"));
    drop(site);
    Site::setup().port(port).serve([]);
}

#[test]
fn a_site_is_gone_when_its_test_panics() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let site = Site::serve([hold()]);
        sender.send(site.address()).unwrap();
        std::panic::resume_unwind(Box::new("the test failed"));
    });
    assert!(test.join().is_err());
    let address = receiver.recv().unwrap();
    until("nobody listens", LIMIT, || TcpStream::connect(address).is_err());
}
