//! TLS handshakes that fail, and how late.

use crate::{
    ask::{Ask, ask},
    rows::{Row, all, row},
};
use model::Phase::Tls as InTls;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};
use testkit::{Site, Step, Tls, Version, pki, step::*};

const FAILED: &str = "down tls_failed tls";

/// These steps instead of a handshake.
fn instead(
    sentence: &'static str,
    want: &'static str,
    steps: impl IntoIterator<Item = Step>,
    more: fn(Ask) -> Ask,
) -> Row {
    let site = Site::setup().https().greet(steps);
    let url = site.url("/");
    row(sentence, want, site, more(ask(&url))).also("no certificate came", |s| s.look.tls.is_none())
}

fn plain(ask: Ask) -> Ask {
    ask
}

const HALF_A_SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03";
const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";

#[tokio::test]
async fn what_comes_instead_of_a_handshake_has_failed_in_tls() {
    all([
        instead("FIN", FAILED, [receive(), pause(200), close()], plain).takes(InTls, 200),
        instead("RST", FAILED, [receive(), pause(200), reset()], plain).takes(InTls, 200),
        instead("FIN before anything was read", FAILED, [close()], plain),
        instead("FIN inside a ServerHello", FAILED, [receive(), send(HALF_A_SERVER_HELLO), close()], plain),
        instead("an alert", FAILED, [receive(), pause(200), send(ALERT), close()], plain).takes(InTls, 200),
        instead("plain HTTP", FAILED, [receive(), resp(400, "plain HTTP was sent to a TLS port"), hold()], plain),
        instead("another protocol", FAILED, [send("220 mail.example ESMTP\r\n"), hold()], plain),
        instead("nothing", "down timeout tls", [hold()], |a| a.timeout(300)).takes(InTls, 300),
        instead("half a ServerHello", "down timeout tls", [receive(), send(HALF_A_SERVER_HELLO), hold()], |a| {
            a.timeout(300)
        })
        .takes(InTls, 300),
    ]
    .map(|row| row.also("the kernel was asked", |s| s.look.rtt.is_some())))
    .await;
}

#[tokio::test]
async fn a_message_says_why_a_handshake_failed() {
    for (steps, want) in [
        (vec![receive(), close()], "the server closed the connection during the TLS handshake"),
        (vec![receive(), reset()], "the server reset the connection during the TLS handshake"),
        (vec![receive(), send(ALERT), close()], "the server refused the TLS handshake: alert HandshakeFailure"),
        (vec![receive(), resp(400, "plain")], "the server does not speak TLS on this port"),
    ] {
        let site = Site::setup().https().greet(steps);
        assert_eq!(ask(&site.url("/")).check().await.is(FAILED).message, want);
        assert_eq!(site.connections(), 1, "it is not tried again");
    }
}

#[tokio::test]
async fn a_version_below_the_least_one_fails() {
    let site = Site::tls(Tls::with(&pki().good).only(Version::Tls12), [resp(200, "ok")]);
    let seen = ask(&site.url("/")).trust(&pki().root).only_tls13().check().await;
    assert!(seen.is(FAILED).message.contains("ProtocolVersion"), "{}", seen.message);
    assert!(site.requests().is_empty());
    ask(&site.url("/")).trust(&pki().root).check().await.is("up");
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_refused_fails_in_tls_under_both_versions() {
    let mut rows = Vec::new();
    for version in [Version::Tls12, Version::Tls13] {
        for client in [None, Some(&pki().unknown_client)] {
            let site =
                Site::tls(Tls::with(&pki().good).only(version).demand_client(&pki().root).late(150), [resp(200, "ok")]);
            let asked = ask(&site.url("/")).trust(&pki().root);
            let asked = client.map_or(asked.clone(), |c| asked.client(c));
            rows.push(
                row("a client certificate is demanded", FAILED, site, asked)
                    .takes(InTls, 150)
                    .also("the certificate was seen", |s| {
                        s.look.tls.as_ref().is_some_and(|t| t.subject == "CN=localhost")
                    })
                    .also("wait was not entered", |s| s.look.phases.wait.is_none())
                    .also("the alert is told", |s| {
                        s.message.starts_with("the server refused the TLS handshake: alert ")
                    }),
            );
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn a_client_certificate_is_seen_by_the_site() {
    for version in [Version::Tls12, Version::Tls13] {
        let site = Site::tls(Tls::with(&pki().good).only(version).demand_client(&pki().root), [resp(200, "ok")]);
        ask(&site.url("/")).trust(&pki().root).client(&pki().client).check().await.is("up");
        assert_eq!(site.requests()[0].tls.as_ref().unwrap().client.as_ref(), pki().client.chain.first());
    }
}

#[tokio::test]
async fn no_session_is_resumed() {
    for version in [Version::Tls12, Version::Tls13] {
        let site = Site::tls(Tls::with(&pki().good).only(version), [resp(200, "ok")]);
        let ask = ask(&site.url("/")).trust(&pki().root);
        let prober = ask.prober();
        for _ in 0..3 {
            ask.check_by(&prober).await.is("up");
        }
        let resumed: Vec<_> = site.requests().iter().map(|r| r.tls.as_ref().unwrap().resumed).collect();
        assert_eq!((resumed, site.connections()), (vec![false; 3], 3));
    }
}

#[tokio::test]
async fn the_name_that_is_asked_for_is_the_hosts_without_its_port_unless_another_is_set() {
    let site = Site::tls(Tls::with(&pki().good), [resp(200, "ok")]);
    let trusted = |host: &str| ask(&site.at(host, "/")).trust(&pki().root);
    for (asked, want) in [
        (trusted("localhost"), Some("localhost")),
        (trusted("127.0.0.1"), None),
        (trusted("127.0.0.1").server_name("one.test"), Some("one.test")),
    ] {
        asked.check().await.is("up");
        assert_eq!(site.requests().pop().unwrap().tls.unwrap().server_name.as_deref(), want);
    }
}

#[tokio::test]
async fn tls_options_do_not_matter_to_plain_http() {
    let site = Site::serve([resp(200, "ok")]);
    let seen = ask(&site.url("/")).trust(&pki().root).server_name("localhost").check().await;
    assert_eq!(seen.is("up").look.tls, None);
}

/// Speaks TLS, says this much in answer to a request, and then bytes that are no TLS.
fn garbled(answer: &'static str) -> SocketAddr {
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(pki().good.chain.clone(), pki().good.key_der())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        stream.flush().unwrap();
        // A record of the right form that nobody has encrypted.
        socket.write_all(b"\x17\x03\x03\0\x20not encrypted, not authenticated").unwrap();
        socket.read_to_end(&mut Vec::new()).ok();
    });
    address
}

#[tokio::test]
async fn tls_that_breaks_is_told_by_how_far_the_answer_had_come() {
    for (answer, want) in [
        ("", FAILED),
        ("HTTP/1.1 200 OK\r\n", "down closed wait"),
        ("HTTP/1.1 200 OK\r\n\r\nhello", "down truncated body"),
    ] {
        let url = format!("https://{}/", garbled(answer));
        ask(&url).trust(&pki().root).check().await.is(want);
    }
}
