//! Files that a config names: more targets, secrets, bodies, certificates.

use crate::helper::{Folder, target};
use model::target::PrivateKey;
use std::path::PathBuf;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBAUG\n-----END PRIVATE KEY-----\n";

fn ids(folder: &Folder) -> Vec<String> {
    folder.good().targets.iter().map(|t| t.id.to_string()).collect()
}

#[test]
fn included_targets_stand_after_the_others_sorted_by_file() {
    for include in ["[targets/*.yaml]", "targets/*.yaml", "[targets/b.yaml, targets/a.yaml, 'targets/*.yaml']"] {
        let folder = Folder::new(&format!("include: {include}\ndefaults: {{interval: 5s}}\ntargets: [http://t/]\n"))
            .with("targets/b.yaml", "targets: [http://b/]")
            .with("targets/a.yaml", "targets: [http://a1/, http://a2/]")
            .with("targets/.half.yaml", "targets: [")
            .with("targets/c.txt", "no");
        assert_eq!(ids(&folder), ["t", "a1", "a2", "b"], "{include}");
        assert!(folder.good().targets.iter().all(|t| t.interval_ms == 5000));
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_fine_and_a_name_that_is_not_there_is_not() {
    assert_eq!(Folder::new("include: [targets/*.yaml]\ntargets: []").mistakes(), [""; 0]);
    let found = Folder::new("targets: []\ninclude: [more.yaml, targets]").with("targets/x", "").mistakes();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("lapwing.yaml:2: include[0]: \"more.yaml\" cannot be read: No such file"),
        "{found:?}"
    );
    assert!(found[1].contains("is a folder"), "{found:?}");
}

#[test]
fn an_included_file_is_named_and_has_only_targets() {
    let folder = Folder::new("include: '*.yml'\ntargets: [http://a/]")
        .with("1.yml", "defaults: {}\ntargets: []")
        .with("2.yml", "targets:\n  - url: http://b/\n    intervall: 5s\n")
        .with("3.yml", "targets: [http://a/]")
        .with("4.yml", "")
        .with("5.yml", "targets:\n")
        .with("6.yml", "{}");
    let found = folder.mistakes();
    let starts: Vec<_> = found.iter().map(|m| m.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        starts,
        [
            "1.yml:1 defaults",
            "2.yml:3 targets[0].intervall",
            "3.yml:1 targets[0].id",
            "4.yml the file is empty; `targets",
            "5.yml:1 targets",
            "6.yml:1 `targets` is missing"
        ],
        "{found:#?}"
    );
    assert!(found[2].contains("lapwing.yaml:2"), "{found:?}");
}

#[test]
fn the_config_does_not_include_itself() {
    assert_eq!(
        ids(&Folder::new("include: '*.yaml'\ntargets: [http://a/]").with("b.yaml", "targets: [http://b/]")),
        ["a", "b"]
    );
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let folder = Folder::new("include: sub/t.yaml\ndefaults: {request: {body_file: b.txt}}\ntargets: [http://a/]")
        .with("b.txt", "of the config")
        .with("sub/b.txt", "of the included file")
        .with("sub/t.yaml", "targets:\n  - http://b/\n  - {url: 'http://c/', request: {body_file: b.txt}}");
    let bodies: Vec<_> = folder
        .good()
        .targets
        .iter()
        .map(|t| String::from_utf8_lossy(t.request.body.as_deref().unwrap()).into_owned())
        .collect();
    assert_eq!(bodies, ["of the config", "of the config", "of the included file"]);
}

#[test]
fn one_line_end_is_removed_from_a_value_and_none_from_a_body() {
    let folder = Folder::new(&target(&["request: {basic_auth: {username_file: u, password_file: p}, body_file: b}"]))
        .with("u", "Aladdin\r\n")
        .with("p", "open sesame")
        .with("b", "x\n");
    let request = folder.good().targets[0].request.clone();
    assert_eq!(request.authorization.as_ref().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(request.body.as_deref(), Some(&b"x\n"[..]));
    let folder = Folder::new(&target(&["request: {bearer_token_file: t}"])).with("t", "tok-1\n");
    assert_eq!(folder.good().targets[0].request.authorization.as_ref().unwrap(), "Bearer tok-1");
    let folder = folder.with("t", "tok-1\n\n");
    assert!(folder.mistakes()[0].contains("targets[0].request.bearer_token_file"), "{:?}", folder.mistakes());
    assert!(!folder.mistakes()[0].contains("tok-1"), "{:?}", folder.mistakes());
}

#[test]
fn certificates_and_keys_are_read() {
    let yaml = target(&["request: {tls: {ca_file: ca.pem, cert_file: c.pem, key_file: k.pem}}"]);
    let folder = Folder::new(&yaml)
        .with("ca.pem", format!("a comment\n{CERTIFICATE}{CERTIFICATE}"))
        .with("c.pem", CERTIFICATE)
        .with("k.pem", KEY);
    let tls = folder.good().targets[0].request.tls.clone();
    assert_eq!(tls.ca.as_deref(), Some(&[vec![1, 2, 3], vec![1, 2, 3]][..]));
    let client = tls.client.clone().expect("a certificate");
    assert_eq!(client.chain.len(), 1);
    assert!(matches!(&client.key, PrivateKey::Pkcs8(der) if **der == [4, 5, 6]));
    for (kind, is) in [("EC", 0), ("RSA", 1)] {
        let folder = Folder::new(&target(&["request: {tls: {cert_file: c, key_file: k}}"]))
            .with("c", CERTIFICATE)
            .with("k", KEY.replace("PRIVATE", &format!("{kind} PRIVATE")));
        let client = folder.good().targets[0].request.tls.client.clone().expect("a certificate");
        assert_eq!(matches!(client.key, PrivateKey::Pkcs1(_)), is == 1);
        assert_eq!(matches!(client.key, PrivateKey::Sec1(_)), is == 0);
    }
}

#[test]
fn a_file_that_does_not_hold_what_it_must_is_named() {
    for (line, content, words) in [
        ("request: {tls: {ca_file: f}}", "this is no certificate", "no certificate"),
        ("request: {tls: {ca_file: f}}", KEY, "no certificate"),
        ("request: {tls: {ca_file: f}}", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "PEM"),
        ("request: {tls: {ca_file: f, cert_file: f}}", CERTIFICATE, "`cert_file` needs `key_file`"),
        ("request: {tls: {ca_file: g, cert_file: f, key_file: f}}", CERTIFICATE, "\"g\" cannot be read"),
        ("request: {tls: {cert_file: f, key_file: f}}", CERTIFICATE, "no private key"),
        (
            "request: {tls: {cert_file: k, key_file: f}}",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "encrypted",
        ),
        ("request: {bearer_token_file: f}", "", "empty"),
        ("request: {body_file: .}", "", "not a regular file"),
    ] {
        let found = Folder::new(&target(&[line])).with("f", content).with("k", CERTIFICATE).mistakes();
        assert!(
            found.iter().any(|m| m.starts_with("lapwing.yaml:3: targets[0].request.") && m.contains(words)),
            "{line}: {found:?}"
        );
    }
    let found = Folder::new(&target(&["request: {basic_auth: {username: u, password_file: f}}"]))
        .with("f", [0xff, 0xfe])
        .mistakes();
    assert!(found[0].contains("not UTF-8"), "{found:?}");
}

#[test]
fn what_is_in_defaults_is_named_there() {
    let folder = Folder::new("defaults:\n  request: {tls: {cert_file: c}}\ntargets: [http://a/, http://b/]")
        .with("c", CERTIFICATE);
    assert_eq!(
        folder.mistakes(),
        ["lapwing.yaml:2: defaults.request.tls.cert_file: `cert_file` needs `key_file` beside it"]
    );
}

#[test]
fn everything_that_was_read_is_listed_for_the_watcher() {
    let folder =
        Folder::new("include: [sub/*.yaml, 'deep/**/x.yaml']\ntargets: [{url: 'http://a/', request: {body_file: b}}]")
            .with("b", "x")
            .with("sub/t.yaml", "targets: []");
    let mut files = folder.good().files;
    files.sort();
    let mut want: Vec<PathBuf> =
        ["lapwing.yaml", ".env", "sub/t.yaml", "sub", "deep", "b"].iter().map(|n| folder.path(n)).collect();
    want.sort();
    assert_eq!(files, want);
}
