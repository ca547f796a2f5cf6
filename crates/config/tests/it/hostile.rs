//! Text that wants to hurt.

use crate::helper::{Folder, load, mistakes};
use std::time::{Duration, Instant};

#[track_caller]
fn refused(yaml: &str, words: &str) {
    let start = Instant::now();
    let found = mistakes(yaml);
    assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
}

#[test]
fn depth_is_limited() {
    refused(&format!("a: {}", "[".repeat(100_000)), "within one another");
    refused(&format!("a: {}", "{a: ".repeat(100_000)), "within one another");
    refused(&"- ".repeat(100_000), "within one another");
    let levels = |n: usize| format!("x: {}1{}\ntargets: []", "[".repeat(n), "]".repeat(n));
    assert!(mistakes(&levels(60))[0].contains("`x` is not known"));
    refused(&levels(64), "within one another");
}

#[test]
fn aliases_do_not_multiply() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..20 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", ")));
    }
    refused(&bomb, "aliases");
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for i in 1..100 {
        deep.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    refused(&deep, "within one another");
    refused("a: &a [*a]", "inside the value that it names");
    refused("a: *nowhere", "anchor");
}

#[test]
fn anchors_are_there_for_those_who_need_them() {
    let config = load(
        "defaults:\n  request: &r {redirects: 3}\ntargets:\n  - {url: http://a/, request: *r}\n  - {url: http://b/, expect: &e {body: x}}\n  - {url: http://c/, expect: *e, name: &n C}\n  - {url: http://d/, group: *n}\n",
    );
    assert_eq!(config.targets[0].request.redirects, 3);
    assert!(config.targets[2].patterns.is_some());
    assert_eq!(config.targets[3].group.as_deref(), Some("C"));
}

#[test]
fn what_yaml_can_do_and_a_config_does_not_need_is_refused() {
    refused("targets: []\n---\ntargets: []\n", "several documents");
    refused("defaults: &d {}\ntargets:\n  - url: http://a/\n    request:\n      <<: *d\n", "merge keys");
    refused("location: !secret x\ntargets: []", "tags");
    refused("location: !!binary aGk=\ntargets: []", "location");
    refused("web: !x {}\ntargets: []", "tags");
    refused("? [a, b]\n: c\n", "key");
    refused("? {a: b}\n: c\n", "key");
    refused(": c\n", "key is missing");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    for (bytes, words) in [
        (&b"targets: []\0"[..], "NUL"),
        (b"\xff\xfet\0a\0", "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "UTF-8"),
        (b"location: \xe9\ntargets: []", "UTF-8"),
    ] {
        let found = Folder::new("").with("lapwing.yaml", bytes).mistakes();
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
    }
    assert_eq!(Folder::new("\u{feff}targets: []").mistakes(), [""; 0]);
    assert_eq!(Folder::new("targets:\r\n  - http://h/\r\n").good().targets.len(), 1);
}

#[test]
fn a_huge_file_is_refused_before_it_is_read_whole() {
    let folder = Folder::new("");
    let file = std::fs::File::create(folder.path("lapwing.yaml")).expect("made");
    file.set_len(1 << 40).expect("sparse");
    let found = folder.mistakes();
    assert_eq!(found, ["lapwing.yaml: the file is larger than 64MiB"]);
}

#[test]
fn a_mistake_in_every_line_is_a_list_that_ends() {
    let yaml: String = (0..5000).map(|i| format!("key{i}: x\n")).collect();
    let found = mistakes(&yaml);
    assert_eq!((found.len(), found.last().map(String::as_str)), (101, Some("and 4900 more")));
}

#[test]
fn many_targets_are_not_hostile() {
    let mut yaml = "defaults: {interval: 5m, expect: {body: 'abc'}}\ntargets:\n".to_owned();
    for i in 0..20_000 {
        yaml.push_str(&format!("  - url: https://host-{i}.example.org/some/path\n    id: target-{i}\n    name: Target number {i}\n    group: g{}\n    timeout: 5s\n    expect: {{status: [200-299]}}\n", i % 100));
    }
    assert_eq!(load(&yaml).targets.len(), 20_000);
}

#[test]
fn what_is_too_long_is_not_thought_about() {
    refused(&format!("? {}\n: x\ntargets: []", "a".repeat(2_000_000)), "a key is longer than 1024 bytes");
    refused(
        &format!("targets:\n  - {{url: 'http://h/', expect: {{body: '{}'}}}}", "a".repeat(2_000_000)),
        "longer than 256KiB",
    );
    refused(&format!("targets: ['http://h/{}']", "a".repeat(2_000_000)), "longer than 16384 bytes");
    refused(&format!("location: {}\ntargets: []", "a".repeat(2_000_000)), "location: \"aaa");
}

#[test]
fn sheer_numbers_are_refused() {
    let keys: String = (0..10_001).map(|i| format!("    k{i}: x\n")).collect();
    refused(
        &format!("targets:\n  - url: http://h/\n    labels:\n{}", keys.replace("    k", "      k")),
        "more than 10000 keys",
    );
    let anchors: String = (0..10_002).map(|i| format!("  - &a{i} http://h{i}/\n")).collect();
    refused(&format!("targets:\n{anchors}"), "more than 10000 anchors");
    let found = Folder::new(&format!("location: {}", "${A} ".repeat(200_000))).variables(&[("A", "b")]).mistakes();
    assert!(found.len() == 1 && found[0].len() < 300 && found[0].contains("${A}"), "{found:?}");
}
