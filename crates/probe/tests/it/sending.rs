//! Requests with bodies, and sites that answer before they have read them, or never read them.

use crate::{
    ask::{Ask, ask},
    rows::{all, row},
};
use model::Phase::Wait;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
};
use testkit::{Site, Step, Tls, pki, step::*};

const MIB: usize = 1 << 20;

fn post(url: &str, bytes: usize) -> Ask {
    ask(url).method("POST").body(vec![b'x'; bytes])
}

#[tokio::test]
async fn a_body_arrives_whole() {
    let site = Site::serve([resp(200, "ok")]);
    post(&site.url("/"), 3 * MIB + 1).check().await.is("up");
    let request = &site.requests()[0];
    assert_eq!(request.header("content-length"), Some((3 * MIB + 1).to_string().as_str()));
    assert!(request.body.len() == 3 * MIB + 1 && request.body.iter().all(|&c| c == b'x'));
}

#[tokio::test]
async fn a_body_arrives_whole_over_tls() {
    let site = Site::tls(Tls::with(&pki().good), [resp(200, "ok")]);
    post(&site.url("/"), 3 * MIB + 1).trust(&pki().root).check().await.is("up");
    assert_eq!(site.requests()[0].body.len(), 3 * MIB + 1);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_sent_is_the_answer() {
    for end in [hold(), close(), reset()] {
        // A reset may overtake what was sent before it.
        let steps = [resp(413, "too big"), pause(100), end];
        let site = Site::setup().ignore_bodies().serve(steps);
        let seen = post(&site.url("/"), 8 * MIB).check().await;
        assert_eq!(seen.is("down status expect").look.status, Some(413));
        assert_eq!(site.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_comes_early_over_tls_is_the_answer() {
    let site = Site::setup().tls(Tls::with(&pki().good)).ignore_bodies().serve([resp(413, "too big"), hold()]);
    let seen = post(&site.url("/"), 8 * MIB).trust(&pki().root).check().await;
    assert_eq!(seen.is("down status expect").look.status, Some(413));
}

#[tokio::test]
async fn a_site_that_reads_nothing_is_a_timeout_in_wait() {
    let never = |steps: Vec<Step>| Site::setup().ignore_bodies().greet(steps);
    let (plain, in_tls) = (never(vec![pause(20_000)]), Site::setup().tls(Tls::with(&pki().good)).ignore_bodies());
    let in_tls = in_tls.greet([pause(20_000)]);
    let (plain_url, tls_url) = (plain.url("/"), in_tls.url("/"));
    all([
        row("plain", "down timeout wait", plain, post(&plain_url, 8 * MIB).timeout(300)).takes(Wait, 300),
        row("over TLS", "down timeout wait", in_tls, post(&tls_url, 8 * MIB).timeout(600).trust(&pki().root))
            .also("most of it in wait", |s| s.time(Wait).as_millis() > 300),
    ])
    .await;
}

/// Answers with a head at once, then reads the whole request, and only then sends the body.
fn half_way(length: usize) -> (SocketAddr, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (mut stream, _) = listener.accept()?;
        let mut seen = Vec::new();
        while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            seen.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")?;
        std::io::copy(&mut (&mut stream as &mut TcpStream).take(length as u64), &mut std::io::sink())?;
        stream.write_all(b"done")
    };
    (address, std::thread::spawn(serve))
}

#[tokio::test]
async fn a_site_that_answers_while_it_reads_gets_the_rest_of_the_body() {
    let (address, site) = half_way(32 * MIB);
    let seen = post(&format!("http://{address}/"), 32 * MIB).matches("^done$").check().await;
    seen.is("up");
    site.join().unwrap().unwrap();
}
