//! What a site was asked, and which answer it chose.

use crate::client::{End, GET, LIMIT, ask, connect, read_to_end};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use testkit::{Site, has_ipv6, step::*, until};

#[test]
fn a_request_is_kept_as_it_was_sent() {
    let site = Site::serve([resp(200, "")]);
    ask(&site, "POST /a/b?c=d HTTP/1.1\r\nHost: Here:80\r\nX-Two: 1\r\nContent-Length: 5\r\nx-two:  2 \r\n\r\nhello");
    let [request] = &site.requests()[..] else { panic!("one request") };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/a/b?c=d"));
    assert_eq!((request.version.as_str(), request.path()), ("HTTP/1.1", "/a/b"));
    assert_eq!(request.header("HOST"), Some("Here:80"));
    assert_eq!(request.all("x-two"), ["1", "2"]);
    assert_eq!(request.headers[1], ("X-Two".to_owned(), "1".to_owned()));
    assert_eq!(request.body, b"hello");
    assert!(request.head.ends_with(b"x-two:  2 \r\n\r\n"));
    assert_eq!(request.tls, None);
}

#[test]
fn a_chunked_body_is_undone() {
    let site = Site::setup().keep_alive().serve([resp(200, "")]);
    let chunks = "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\ntrailer: 1\r\n\r\n";
    let mut stream = connect(site.address());
    write!(stream, "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{GET}").unwrap();
    until("both are read", LIMIT, || site.requests().len() == 2);
    assert_eq!(site.requests()[0].body, b"abc0123456789");
    assert_eq!(site.requests()[1].method, "GET");
}

#[test]
fn an_absolute_target_has_a_path() {
    let site = Site::serve([resp(200, "")]);
    ask(&site, "GET http://example.org/x?y HTTP/1.1\r\n\r\n");
    ask(&site, "GET http://example.org HTTP/1.1\r\n\r\n");
    let paths: Vec<_> = site.requests().iter().map(|r| r.path().to_owned()).collect();
    assert_eq!(paths, ["/x", "/"]);
}

#[test]
fn half_a_request_is_none() {
    let site = Site::serve([resp(200, "")]);
    let mut stream = connect(site.address());
    stream.write_all(b"GET / HTTP/1.1\r\nhost").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream).end, End::Fin);
    assert!(site.requests().is_empty());
    assert_eq!(site.connections(), 1);
}

#[test]
fn routes_choose_by_path() {
    let site = Site::routes([("/", vec![resp(200, "root")]), ("/end", vec![reset()])]);
    assert!(ask(&site, "GET /?a=b HTTP/1.1\r\n\r\n").text.ends_with("root"));
    assert_eq!(ask(&site, "GET /end HTTP/1.1\r\n\r\n").end, End::Reset);
    assert!(ask(&site, "GET /else HTTP/1.1\r\n\r\n").text.starts_with("HTTP/1.1 404"));
    let site = Site::routes([("*", vec![resp(200, "any")])]);
    assert!(ask(&site, "GET /else HTTP/1.1\r\n\r\n").text.ends_with("any"));
}

#[test]
fn a_function_sees_the_request_and_its_number() {
    let site = Site::answer(|r| vec![resp(200, format!("{} {} {}", r.number, r.connection, r.method))]);
    assert!(ask(&site, GET).text.ends_with("0 0 GET"));
    assert!(ask(&site, "HEAD / HTTP/1.1\r\n\r\n").text.ends_with("1 1 HEAD"));
}

#[test]
fn a_function_that_panics_ends_its_connection_only() {
    let site = Site::answer(|r| match r.number {
        0 => std::panic::resume_unwind(Box::new("told to")),
        _ => vec![resp(200, "still here")],
    });
    assert_ne!(ask(&site, GET).end, End::Silence);
    until("it is counted as closed", LIMIT, || site.open() == 0);
    assert!(ask(&site, GET).text.ends_with("still here"));
}

#[test]
fn scripts_in_turn_and_a_change_of_mind() {
    let site = Site::setup().in_turn(vec![vec![resp(200, "1")], vec![reset()], vec![resp(200, "3")]]);
    assert!(ask(&site, GET).text.ends_with('1'));
    assert_eq!(ask(&site, GET).end, End::Reset);
    assert!(ask(&site, GET).text.ends_with('3'));
    assert!(ask(&site, GET).text.ends_with('3'));
    site.change([resp(500, "down")]);
    assert!(ask(&site, GET).text.ends_with("down"));
}

#[test]
fn a_connection_lives_on_only_when_told_so() {
    let site = Site::setup().keep_alive().serve([resp(200, "ok")]);
    let mut stream = connect(site.address());
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).unwrap();
        let mut answer = [0; "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".len()];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(b"ok"));
    }
    assert_eq!((site.connections(), site.requests().len(), site.open(), site.most_open()), (1, 3, 1, 1));
    assert_eq!(site.requests()[2].connection, 0);
}

#[test]
fn a_body_that_is_not_read_fills_the_pipe() {
    let site = Site::setup().ignore_bodies().serve([pause(10_000)]);
    let mut stream = connect(site.address());
    write!(stream, "POST / HTTP/1.1\r\ncontent-length: 50000000\r\n\r\n").unwrap();
    until("the head is seen", LIMIT, || site.requests().len() == 1);
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let written = (0..500).try_for_each(|_| stream.write_all(&[b'x'; 100_000]));
    assert_eq!(written.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(site.requests()[0].body.is_empty());
}

#[test]
fn a_slow_reader_is_slow() {
    let site = Site::setup().read_slowly(1000, 10).serve([resp(200, "ok")]);
    let started = Instant::now();
    let body = "x".repeat(10_000);
    assert!(ask(&site, &format!("POST / HTTP/1.1\r\ncontent-length: 10000\r\n\r\n{body}")).text.ends_with("ok"));
    assert!(started.elapsed() >= Duration::from_millis(95));
    assert_eq!(site.requests()[0].body.len(), 10_000);
}

#[test]
fn a_site_may_have_another_address_and_a_known_port() {
    let site = Site::setup().address("127.0.0.2").serve([resp(200, "two")]);
    assert_eq!(site.url("/a"), format!("http://127.0.0.2:{}/a", site.port()));
    assert_eq!(site.at("localhost", "/a"), format!("http://localhost:{}/a", site.port()));
    assert!(ask(&site, GET).text.ends_with("two"));
    let beside = Site::setup().address("127.0.0.3").port(site.port()).serve([resp(200, "three")]);
    assert_eq!(beside.port(), site.port());
    assert!(ask(&beside, GET).text.ends_with("three"));
    if has_ipv6() {
        let site = Site::setup().address("::1").serve([resp(200, "six")]);
        assert_eq!(site.url("/"), format!("http://[::1]:{}/", site.port()));
        assert!(ask(&site, GET).text.ends_with("six"));
    }
}
