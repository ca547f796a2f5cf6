//! What a check takes, and what becomes of it when there is nothing left to take.

use crate::{
    alone::Alone,
    ask::{ask, due},
};
use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use testkit::{Backlog, Site, Tls, pki, step::*};

#[test]
fn a_large_body_is_searched_in_constant_memory() {
    Alone::new("limits::large_body", 1024).passes();
}

#[tokio::test]
#[ignore = "needs a process of its own: run by the test before"]
async fn large_body() {
    const LENGTH: u64 = 256 << 20;
    let length = (LENGTH + 6).to_string();
    let site = Site::serve([head(200, &[("content-length", &length)]), fill(LENGTH), send("needle"), hold()]);
    let before = peak_kib();
    let asked =
        ask(&site.url("/")).max_body(1 << 30).timeout(120_000).matches("xneedle$").not_matches("(?i)fatal.error");
    assert_eq!(asked.check().await.is("up").look.body_bytes, Some(LENGTH + 6));
    let grown = peak_kib() - before;
    assert!(grown < 64 << 10, "memory grew by {grown} KiB");
}

/// Work of ours, seconds of it in one piece of body: on the one thread there is, others go on meanwhile.
#[tokio::test]
async fn a_body_that_unpacks_to_much_leaves_others_their_turn() {
    let zeros = gzip(&vec![0; 8 << 20]);
    let length = zeros.len().to_string();
    let site = Site::serve([head(200, &[("content-encoding", "gzip"), ("content-length", &length)]), send(zeros)]);
    let asked = ask(&site.url("/")).timeout(120_000).not_matches(r"\bé+\b");
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let longest_yet = Arc::clone(&longest);
    let other = tokio::spawn(async move {
        loop {
            let begun = Instant::now();
            tokio::task::yield_now().await;
            let mut longest = longest_yet.lock().unwrap();
            *longest = longest.max(begun.elapsed());
        }
    });
    let begun = Instant::now();
    assert_eq!(asked.check().await.is("up").look.body_bytes, Some(8 << 20));
    let took = begun.elapsed();
    other.abort();
    let longest = *longest.lock().unwrap();
    assert!(longest < took / 3, "{longest:?} of {took:?} in one turn");
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The most memory that this process has had (`VmHWM`, see proc_pid_status(5)).
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn without_a_descriptor_nobody_knows_how_the_site_is() {
    Alone::new("limits::no_descriptors", 64).passes();
}

#[tokio::test]
#[ignore = "needs a process of its own: run by the test before"]
async fn no_descriptors() {
    let site = Site::serve([resp(200, "ok")]);
    let (literal, name) = (ask(&site.url("/")), ask(&site.at("localhost", "/")));
    let prober = name.prober();
    literal.check_by(&prober).await.is("up"); // so that the site has all that it needs
    testkit::eventually("the connection is gone", Duration::from_secs(20), async || site.open() == 0).await;
    let taken = take_all();
    for asked in [&literal, &name] {
        let seen = asked.check_by(&prober).await;
        assert!(seen.is("unknown prober_failed").message.contains("no file descriptor left"), "{}", seen.message);
        assert_eq!(seen.result.finding.as_ref().and_then(|f| f.phase), None);
    }
    drop(taken);
    // What could not be read before must not be remembered as empty.
    name.check_by(&prober).await.is("up");
    literal.check_by(&prober).await.is("up");
}

/// The one address hangs until the time is up, and has the last descriptor; whether the other one would have answered nobody knows.
#[test]
fn an_address_that_could_not_be_tried_for_lack_of_a_descriptor_is_not_taken_for_silent() {
    if testkit::has_ipv6() {
        Alone::new("limits::a_descriptor_for_one_address", 64).passes();
    }
}

#[tokio::test]
#[ignore = "needs a process of its own: run by the test before"]
async fn a_descriptor_for_one_address() {
    let one = Backlog::new();
    let other = one.also_on("::1");
    let asked = ask(&other.at("two.localhost", "/")).timeout(2000);
    let prober = asked.prober();
    asked.check_by(&prober).await.is("down timeout connect");
    let mut taken = take_all();
    taken.pop();
    let seen = asked.check_by(&prober).await;
    assert!(seen.is("unknown prober_failed").message.contains("no file descriptor left"), "{}", seen.message);
}

/// Every descriptor that is left.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn a_store_of_certificates_that_could_not_be_opened_is_not_remembered_as_empty() {
    let folder = tempfile::tempdir().unwrap();
    Alone::new("limits::one_descriptor", 64).env("SSL_CERT_FILE", folder.path().join("root.pem")).passes();
}

#[tokio::test]
#[ignore = "needs a process of its own: run by the test before"]
async fn one_descriptor() {
    std::fs::write(std::env::var("SSL_CERT_FILE").unwrap(), &pki().root.pem).unwrap();
    let site = Site::tls(Tls::with(&pki().good), [resp(200, "ok")]);
    let asked = ask(&site.url("/"));
    let prober = asked.prober();
    let mut taken = take_all();
    taken.pop(); // for the connection
    let seen = asked.check_by(&prober).await;
    assert!(seen.is("unknown prober_failed").message.contains("system's certificates"), "{}", seen.message);
    drop(taken);
    asked.check_by(&prober).await.is("up");
}

#[tokio::test]
async fn a_check_in_flight_is_small() {
    let site = Site::serve([resp(200, "ok")]);
    let asked = ask(&site.url("/"));
    let prober = asked.prober();
    let check = prober.check(&asked.target, due());
    assert!(size_of_val(&check) < 4096, "{} bytes", size_of_val(&check));
    drop(check);
}

#[tokio::test]
async fn a_check_that_is_dropped_leaves_nothing_behind() {
    let plain = Site::serve([hold()]);
    let in_tls = Site::tls(Tls::with(&pki().good), [hold()]);
    for site in [&plain, &in_tls] {
        let asked = ask(&site.url("/")).trust(&pki().root);
        let check = tokio::time::timeout(Duration::from_millis(300), asked.check()).await;
        assert!(check.is_err());
        testkit::eventually("the connection is gone", Duration::from_secs(20), async || site.open() == 0).await;
    }
}
