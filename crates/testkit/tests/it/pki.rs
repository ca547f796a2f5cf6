//! Each certificate is as good, or as bad, as its name says, judged by rustls.

use crate::client::{Wishes, handshake};
use std::time::{Duration, SystemTime};
use testkit::{Authority, Identity, Pki, Site, Tls, pki, step::resp};

fn judged(identity: &Identity, trust: &Authority, name: &str) -> Result<(), String> {
    let site = Site::tls(Tls::with(identity), [resp(200, "")]);
    handshake(&site, &Wishes { name, ..Wishes::trusting(&trust.der) }).map(|_| ())
}

#[test]
fn the_good_ones_are_good() {
    let Pki { root, short_root, .. } = pki();
    for (identity, trust) in [
        (&pki().good, root),
        (&pki().by_intermediate, root),
        (&pki().by_short_intermediate, root),
        (&pki().by_short_root, short_root),
        (&pki().extra_intermediate, root),
        (&pki().soon, root),
        (&pki().aged, root),
    ] {
        for name in ["localhost", "127.0.0.1", "::1", "one.test", "a.wild.test"] {
            assert_eq!(judged(identity, trust, name), Ok(()), "{identity:?} for {name}");
        }
    }
    assert_eq!(judged(&pki().name_only, root, "localhost"), Ok(()));
    assert_eq!(judged(&pki().wrong_host, root, "other.example"), Ok(()));
}

#[test]
fn the_bad_ones_are_bad_in_their_way() {
    for (identity, name, word) in [
        (&pki().expired, "localhost", "expired"),
        (&pki().not_yet_valid, "localhost", "not valid yet"),
        (&pki().wrong_host, "localhost", "not valid for"),
        (&pki().name_only, "127.0.0.1", "not valid for"),
        (&pki().common_name_only, "localhost", "not valid for"),
        (&pki().unknown_ca, "localhost", "UnknownIssuer"),
        (&pki().intermediate_missing, "localhost", "UnknownIssuer"),
        (&pki().self_signed, "localhost", "UnknownIssuer"),
        (&pki().self_signed_ca, "localhost", "CaUsedAsEndEntity"),
    ] {
        let error = judged(identity, &pki().root, name).unwrap_err();
        assert!(error.contains(word), "{identity:?}: {error}");
    }
}

#[test]
fn dates_are_what_the_name_says() {
    let days_left = |at: SystemTime| at.duration_since(SystemTime::now()).unwrap().as_secs_f64() / 86_400.0;
    let close_to = |at, days: f64| (days_left(at) - days).abs() < 0.1;
    assert!(close_to(pki().soon.not_after, 3.0));
    assert!(close_to(pki().short_intermediate.not_after, 3.0));
    assert!(close_to(pki().short_root.not_after, 3.0));
    assert!(close_to(pki().by_short_intermediate.not_after, 90.0));
    assert!(close_to(pki().aged.not_after, 10.0));
    let life = pki().aged.not_after.duration_since(pki().aged.not_before).unwrap();
    assert_eq!(life, Duration::from_secs(100 * 86_400));
}

#[test]
fn files_are_written_under_the_names_of_the_fields() {
    let folder = tempfile::tempdir().unwrap();
    pki().write(folder.path());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("root.pem"), pki().root.pem);
    assert_eq!(read("by_intermediate.pem").matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(read("good.pem").matches("BEGIN CERTIFICATE").count(), 1);
    assert!(read("client.key").starts_with("-----BEGIN PRIVATE KEY-----"));
    let names = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 3 + 2 * pki().identities().len());
}

#[test]
fn a_private_key_is_not_printed() {
    assert_eq!(format!("{:?}", pki().good), "Identity(\"good\")");
    assert!(!format!("{:?}", pki()).contains("PRIVATE"));
}
