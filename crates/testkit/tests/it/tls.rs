//! TLS sites, seen by a client that verifies: also how a handshake fails.

use crate::client::{End, GET, LIMIT, Wishes, ask, handshake, read_to_end};
use std::io::Write;
use std::time::{Duration, Instant};
use testkit::{Site, Step, Tls, Version, pki, step::*, until};

fn site(tls: Tls, steps: impl IntoIterator<Item = Step>) -> Site {
    Site::tls(tls, steps)
}

#[test]
fn a_site_answers_over_tls_and_tells_what_was_agreed() {
    for version in [Version::Tls12, Version::Tls13] {
        let site = site(Tls::with(&pki().good).only(version), [resp(200, "secret")]);
        let mut stream = handshake(&site, &Wishes::trusting(&pki().root.der)).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
        let seen = read_to_end(&mut stream);
        assert!(seen.text.ends_with("secret"));
        assert_eq!(seen.end, End::Fin, "with close_notify");
        let session = site.requests()[0].tls.clone().unwrap();
        assert_eq!((session.version, session.server_name.as_deref()), (version, Some("localhost")));
        assert_eq!((session.alpn, session.client, session.resumed), (None, None, false));
        assert!(site.url("/").starts_with("https://127.0.0.1:"));
    }
}

#[test]
fn a_client_that_insists_on_another_version_is_refused() {
    let site = site(Tls::with(&pki().good).only(Version::Tls12), [resp(200, "")]);
    let wishes = Wishes { versions: &[Version::Tls13], ..Wishes::trusting(&pki().root.der) };
    let error = handshake(&site, &wishes).unwrap_err();
    assert!(error.contains("ProtocolVersion"), "{error}");
    until("the site notes why", LIMIT, || site.refused_handshakes().len() == 1);
}

#[test]
fn an_end_without_close_notify_is_seen() {
    let site = site(Tls::with(&pki().good), [send("abc"), cut()]);
    let mut stream = handshake(&site, &Wishes::trusting(&pki().root.der)).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    let seen = read_to_end(&mut stream);
    assert_eq!((seen.text.as_str(), seen.end), ("abc", End::Cut));
}

#[test]
fn a_reset_after_the_handshake_is_seen() {
    let site = site(Tls::with(&pki().good), [send("abc"), pause(50), reset()]);
    let mut stream = handshake(&site, &Wishes::trusting(&pki().root.der)).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    let seen = read_to_end(&mut stream);
    assert_eq!((seen.text.as_str(), seen.end), ("abc", End::Reset));
}

#[test]
fn a_greeting_over_tls_comes_after_the_handshake() {
    let site = Site::setup().tls(Tls::with(&pki().good)).greet([send("hi")]);
    let mut stream = handshake(&site, &Wishes::trusting(&pki().root.der)).unwrap();
    assert_eq!(read_to_end(&mut stream).text, "hi");
}

#[test]
fn protocols_are_agreed_on_or_refused() {
    let site = site(Tls::with(&pki().good).alpn(&["http/1.1"]), [resp(200, "")]);
    let wishes = Wishes { alpn: &["h2", "http/1.1"], ..Wishes::trusting(&pki().root.der) };
    let mut stream = handshake(&site, &wishes).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    read_to_end(&mut stream);
    assert_eq!(site.requests()[0].tls.as_ref().unwrap().alpn.as_deref(), Some("http/1.1"));
    let error = handshake(&site, &Wishes { alpn: &["h2"], ..wishes }).unwrap_err();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[test]
fn a_client_certificate_is_demanded() {
    let site = site(Tls::with(&pki().good).demand_client(&pki().root), [resp(200, "")]);
    let wishes = Wishes { client: Some(&pki().client), ..Wishes::trusting(&pki().root.der) };
    let mut stream = handshake(&site, &wishes).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    read_to_end(&mut stream);
    assert_eq!(site.requests()[0].tls.as_ref().unwrap().client.as_ref(), pki().client.chain.first());
}

/// Under TLS 1.3 the client's side of the handshake is already over when it is refused: the alert must not be lost to an RST.
#[test]
fn a_refused_client_reads_the_alert() {
    let alert = |client, version| {
        let versions = &[version];
        let site = site(Tls::with(&pki().good).demand_client(&pki().root), [resp(200, "")]);
        let mut stream = handshake(&site, &Wishes { client, versions, ..Wishes::trusting(&pki().root.der) })?;
        stream.write_all(GET.as_bytes()).and_then(|()| std::io::read_to_string(stream)).map_err(|e| e.to_string())
    };
    for version in [Version::Tls12, Version::Tls13] {
        let error = alert(None, version).unwrap_err();
        assert!(error.contains("alert: CertificateRequired"), "{error}");
        let error = alert(Some(&pki().unknown_client), version).unwrap_err();
        assert!(error.contains("alert: UnknownCA"), "{error}");
    }
}

#[test]
fn a_late_handshake_is_late() {
    let site = site(Tls::with(&pki().good).late(100), [resp(200, "")]);
    let started = Instant::now();
    handshake(&site, &Wishes::trusting(&pki().root.der)).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(95));
}

#[test]
fn something_else_than_a_handshake_may_come() {
    let fails = |steps: Vec<Step>| {
        let site = Site::setup().https().greet(steps);
        assert!(site.url("/").starts_with("https://"));
        handshake(&site, &Wishes::trusting(&pki().root.der)).unwrap_err()
    };
    let half_a_server_hello = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03";
    for (steps, word) in [
        (vec![receive(), close()], "end of file"),
        (vec![receive(), send(half_a_server_hello), close()], "end of file"),
        (vec![receive(), reset()], "reset"),
        (vec![receive(), resp(400, "this is http")], "corrupt"),
    ] {
        let error = fails(steps);
        assert!(error.to_lowercase().contains(word), "{error}");
    }
}

#[test]
fn plain_text_on_a_tls_port_is_refused() {
    let site = site(Tls::with(&pki().good), [resp(200, "")]);
    assert_eq!(ask(&site, GET).end, End::Fin);
    assert!(site.requests().is_empty());
    until("the site notes why", LIMIT, || site.refused_handshakes().len() == 1);
}
