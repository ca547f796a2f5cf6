//! What must not be seen is nowhere to be seen, and the checks know what to hide.

use crate::helper::{Folder, load, target};

const PW: &str = "hunter2-swordfish";

#[test]
fn the_value_of_a_variable_is_in_no_message() {
    for line in [
        "timeout: ${S}",
        "interval: x${S}",
        "retries: ${S}",
        "enabled: ${S}",
        "id: '${S} '",
        "request: {method: '${S} x'}",
        "request: {tls: {min_version: '${S}', ca_file: '${S}'}}",
        "request: {body_file: '${S}'}",
        "request: {headers: {a: \"${S}\\n\"}}",
        "request: {proxy: '${S}'}",
        "request: {max_body: '${S}'}",
        "expect: {status: ['${S}'], body: '(${S}'}",
        "expect: {headers: {a: '(${S}'}}",
        "expect: {cel: '${S} == 1'}",
        "warn: {cel: 'status == ${S} S'}",
        "warn: {certificate: '${S}', time: '${S}'}",
        "incident: {locations: '${S}'}",
        "locations: '${S}/'",
    ] {
        let found = Folder::new(&target(&[line])).variables(&[("S", PW)]).mistakes();
        assert!(!found.is_empty(), "{line}");
        assert!(found.iter().all(|m| !m.contains("hunter2") && m.contains("${S}")), "{line}: {found:?}");
    }
    for line in [
        "location: '${S} '",
        "store: '${S}'",
        "web: {listen: '${S}'}",
        "include: '${S}'",
        "targets: ['${S}']",
        "store: 'postgres://h/?sslrootcert=${S}'",
        "guard: {deny: '${S}'}",
    ] {
        let found = Folder::new(line).variables(&[("S", PW)]).mistakes();
        assert!(found.len() == 1 && !found[0].contains(PW) && found[0].contains("${S}"), "{line}: {found:?}");
    }
    let folder = Folder::new("targets: ['http://${S}/', 'http://${S}/']").variables(&[("S", PW)]);
    assert!(folder.mistakes().len() == 1 && !folder.mistakes()[0].contains(PW), "{:?}", folder.mistakes());
}

#[test]
fn a_secret_that_is_written_down_is_in_no_message_either() {
    for line in [
        "request: {basic_auth: {username: u, password: \"hunter2-swordfish\\n\"}}",
        "request: {basic_auth: hunter2-swordfish}",
        "request: {bearer_token: \"hunter2-swordfish\\n\"}",
        "request: {bearer_token: [hunter2-swordfish]}",
        "request: {headers: {x-key: \"hunter2-swordfish\\n\"}}",
        "request: {headers: hunter2-swordfish}",
        "request: {proxy: 'ftp://u:hunter2-swordfish@p:1'}",
        "request: {proxy: 'http://u:hunter2-swordfish@p:1/path'}",
    ] {
        let found = Folder::new(&target(&[line])).mistakes();
        assert!(found.len() == 1 && !found[0].contains(PW), "{line}: {found:?}");
    }
    for url in ["http://u:hunter2-swordfish@a b/", "http://h:x/?token=hunter2-swordfish", "ftp://hunter2-swordfish@h/"]
    {
        let found = Folder::new(&format!("targets: ['{url}']")).mistakes();
        assert!(found.len() == 1 && !found[0].contains(PW), "{url}: {found:?}");
    }
    let found = Folder::new("store: 'mysql://u:hunter2-swordfish@h/db'\ntargets: []").mistakes();
    assert!(found.len() == 1 && !found[0].contains(PW), "{found:?}");
}

#[test]
fn what_stands_in_a_wrong_place_may_be_a_secret() {
    const URL: &str = "'http://u:hunter2-swordfish@h/?k=hunter2-swordfish'";
    for yaml in [
        format!("targets:\n- {URL}: {{interval: 5s}}"),
        format!("targets:\n- {URL}: {{interval: 5s}}\n  {URL}: {{interval: 5s}}"),
        format!("location: {URL}\ntargets: []"),
        format!("probe: {{online_check: [{URL}]}}\ntargets: []"),
        format!("probe: {{resolver: {URL}}}\ntargets: []"),
        format!("web: {{listen: {URL}}}\ntargets: []"),
        "include: 'http://u:hunter2-swordfish@h/'\ntargets: []".to_owned(),
        format!("kafka: {{brokers: {URL}}}\ntargets: []"),
        target(&[&format!("id: {URL}")]),
        target(&[&format!("timeout: {URL}")]),
        target(&[&format!("labels: {{a: b}}\n    {URL}: c")]),
        target(&[&format!("request: {{method: {URL}}}")]),
        target(&[&format!("request: {{body_file: {URL}}}")]),
        target(&[&format!("request: {{headers: {{{URL}: x}}}}")]),
        target(&["request: {bearer_token hunter2-swordfish: }"]),
        target(&["request: {basic_auth: {'u:hunter2-swordfish': , username: u}}"]),
        target(&[&format!("expect: {{status: {URL}}}")]),
        target(&[&format!("expect: {{cel: {URL}}}")]),
        target(&["expect: {body: 'http://u:hunter2-swordfish@h/('}"]),
    ] {
        let found = Folder::new(&yaml).mistakes();
        assert!(!found.is_empty() && found.iter().all(|line| !line.contains(PW)), "{yaml}: {found:?}");
    }
}

#[test]
fn a_request_knows_what_must_be_hidden() {
    let yaml = "targets:\n  - url: 'http://us%20er:p%40ss@h/?token=tok%2B1'\n    request:\n      headers: {x-api-key: key-1, accept: text/html, user-agent: me/1, authorization: Bearer abc}\n      body_file: b\n      basic_auth: {username_file: u, password: pass-1}\n      proxy: 'http://agent:proxy%2Dpw@p:1'\n";
    let folder = Folder::new(yaml).with("b", "{\"pin\": 1234}\n").with("u", "file-user\n");
    let request = folder.good().targets[0].request.clone();
    let secrets: Vec<_> = request.secrets.iter().map(|s| &**s).collect();
    for secret in [
        "us%20er",
        "us er",
        "p%40ss",
        "p@ss",
        "tok%2B1",
        "tok+1",
        "key-1",
        "abc",
        "{\"pin\": 1234}",
        "file-user",
        "pass-1",
        "ZmlsZS11c2VyOnBhc3MtMQ==",
        "proxy%2Dpw",
        "proxy-pw",
        "YWdlbnQ6cHJveHktcHc=",
    ] {
        assert!(secrets.contains(&secret), "{secret} is not in {secrets:?}");
    }
    assert!(!secrets.iter().any(|s| ["text/html", "me/1", "token", "h"].contains(s)), "{secrets:?}");
    assert!(load("targets: [http://h/]").targets[0].request.secrets.is_empty());
}

#[test]
fn debug_shows_no_secret() {
    let yaml = "store: sqlite:a.db\ntargets:\n  - url: http://h/\n    request: {headers: {x-api-key: hunter2-swordfish}, bearer_token: hunter2-swordfish}\n";
    let config = Folder::new(yaml).good();
    let request = &config.targets[0].request;
    assert!(!format!("{:?} {:?} {:?}", request.headers, request.authorization, config.store).contains(PW));
    let parsed = config::parse(&Folder::new("targets: []").path("lapwing.yaml"), &[("A", PW)].into_iter().collect());
    assert!(!format!("{parsed:?}").contains(PW));
}
