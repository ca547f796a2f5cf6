//! Ports where nobody answers, and a GET.

use crate::client::{GET, LIMIT, ask, read_to_end};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use testkit::{Backlog, Refused, Site, free_port, get, step::*};

#[test]
fn a_refused_port_refuses_and_nobody_else_gets_it() {
    let refused = Refused::new();
    let error = TcpStream::connect(("127.0.0.1", refused.port())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(TcpListener::bind(("127.0.0.1", refused.port())).is_err());
    assert_eq!(refused.url("/a"), format!("http://127.0.0.1:{}/a", refused.port()));
}

#[test]
fn a_refused_port_may_become_a_site() {
    let refused = Refused::new();
    let port = refused.port();
    let site = refused.serve([resp(200, "open now")]);
    assert_eq!(site.port(), port);
    assert!(ask(&site, GET).text.ends_with("open now"));
}

#[test]
fn a_full_backlog_lets_nobody_in_until_it_is_released() {
    let backlog = Backlog::new();
    let address = ([127, 0, 0, 1], backlog.port()).into();
    for _ in 0..3 {
        let error = TcpStream::connect_timeout(&address, Duration::from_millis(60)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    let waiting = std::thread::spawn(move || {
        let mut stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
        read_to_end(&mut stream).text
    });
    std::thread::sleep(Duration::from_millis(100));
    let site = backlog.release([resp(200, "let in")]);
    assert!(waiting.join().unwrap().ends_with("let in"));
    assert_eq!(site.connections(), 1, "the filler is not counted");
}

#[test]
fn free_ports_are_free_and_differ() {
    let ports: std::collections::HashSet<_> = (0..50).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 50);
    for port in ports {
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}

#[test]
fn a_get_is_taken_apart() {
    let site = Site::routes([
        ("/plain", vec![resp_with(503, &[("X-A", "b")], "{\"ready\":false}")]),
        ("/chunked", vec![chunked(200, ["one ", "two"])]),
        ("/garbage", vec![send("no http")]),
    ]);
    let answer = get(&site.url("/plain")).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (503, "{\"ready\":false}"));
    assert_eq!(answer.header("x-a"), Some("b"));
    assert_eq!(get(&site.url("/chunked")).unwrap().body, "one two");
    assert!(get(&site.url("/garbage")).unwrap_err().to_string().contains("no http"));
    assert_eq!(get(&Refused::new().url("/")).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(get("https://localhost/").is_err());
}
