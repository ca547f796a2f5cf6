//! Wrong credentials, on either side: the end of the program with code 3, a line that says which and what to do, and no secret.

use super::{
    changes::result,
    stage::{Role, Stage},
};
use crate::at_work::{LIMIT, stop};
use testkit::{Identity, Kafka, OnWire, Postgres, Running, TestDatabase, free_port, pki, until};

const SECRET: &str = "hunter2-swordfish";

/// The section `kafka` for a broker, and everything that it may name.
fn role(name: &'static str, brokers: &str, more: &str, store: &str) -> Role {
    let kafka = format!("kafka: {{brokers: \"{brokers}\", topic: t{}, {more}}}\n", free_port());
    let role = Role::new(name, &format!("{kafka}{store}"));
    pki().write(role.at.program.folder());
    role
}

#[track_caller]
fn refused(role: &Role, says: &[&str]) {
    is_refused(role.at.program.spawn(&[role.name(), "-vv"]), says);
}

#[track_caller]
fn is_refused(running: Running, says: &[&str]) {
    let output = running.wait(LIMIT);
    let last = output.stderr.lines().last().unwrap_or_default();
    assert_eq!(output.code, 3, "{output}");
    for part in says {
        assert!(last.contains(part), "{last}\ndoes not say: {part}");
    }
    assert!(!output.stderr.contains(SECRET) && !output.stdout.contains(SECRET), "{output}");
}

async fn kafka(identity: &Identity) -> Kafka {
    Kafka::options().tls(identity).user("lapwing", "hunter2").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_kafka() {
    let good = kafka(&pki().good).await;
    let sasl = |mechanism: &str| format!("sasl: {{mechanism: {mechanism}, username: lapwing, password: {SECRET}}}");
    let (plain, tls, scram) = (sasl("PLAIN"), "tls: {ca_file: root.pem}", sasl("SCRAM-SHA-512"));
    for (brokers, more, says) in [
        (good.sasl_brokers(), plain.clone(), ["uthentication", "check kafka.sasl"]),
        (good.sasl_brokers(), scram.clone(), ["uthentication", "check kafka.sasl"]),
        (good.sasl_tls_brokers(), format!("{tls}, {scram}"), ["uthentication", "check kafka.sasl"]),
        (good.sasl_brokers(), String::new(), ["wants to know who", "kafka.sasl"]),
        (
            good.tls_brokers(),
            "tls: {ca_file: other_root.pem}".to_owned(),
            ["certificate", "does not hold the authority"],
        ),
        (good.tls_brokers(), "tls: {}".to_owned(), ["certificate", "does not hold the authority"]),
        (good.tls_brokers(), String::new(), ["speaks TLS", "kafka.tls"]),
        (good.brokers(), tls.to_owned(), ["speaks plain text", "kafka.tls"]),
        (good.brokers(), plain.clone(), ["kafka.sasl", ""]),
    ] {
        let roles = ["write", "probe"].map(|name| role(name, &brokers, &more, ""));
        roles.each_ref().map(Role::start).into_iter().for_each(|running| is_refused(running, &says));
    }
    drop(good);
    for (identity, says) in
        [(&pki().expired, "it has expired"), (&pki().wrong_host, "for other names than kafka.brokers")]
    {
        let kafka = kafka(identity).await;
        refused(&role("write", &kafka.tls_brokers(), tls, ""), &[says]);
    }
    let wants = Kafka::options().tls(&pki().good).client_authority(&pki().root).start().await;
    let own = |name: &str| format!("tls: {{ca_file: root.pem, cert_file: {name}.pem, key_file: {name}.key}}");
    for more in [tls.to_owned(), own("unknown_client")] {
        refused(&role("write", &wants.tls_brokers(), &more, ""), &["certificate", "kafka.tls.cert_file"]);
    }
    refused(
        &role("write", &wants.tls_brokers(), "tls: {ca_file: root.pem, cert_file: client.pem, key_file: good.key}", ""),
        &["key"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_postgresql() {
    for (identity, query, says) in [
        (&pki().good, "sslmode=verify-full&sslrootcert=root.pem", ["refuses the login", "check user and password"]),
        (&pki().good, "sslmode=verify-full&sslrootcert=other_root.pem", ["not trusted", "sslrootcert"]),
        (&pki().expired, "sslmode=verify-full&sslrootcert=root.pem", ["expired", "needs a new one"]),
        (&pki().wrong_host, "sslmode=verify-full&sslrootcert=root.pem", ["not for 127.0.0.1", "in the store URL"]),
    ] {
        let server = Postgres::options().tls(identity).start().await;
        let store = format!("store: \"postgres://somebody:{SECRET}@127.0.0.1:{}/postgres?{query}\"\n", server.port());
        refused(&role("write", "127.0.0.1:1", "", &store), &says);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_changed_at_work_is_waited_for_and_shown_nowhere() {
    let kafka = Kafka::options().user("lapwing", SECRET).start().await;
    let stage = Stage::on(kafka.brokers(), TestDatabase::new().await);
    let url: String = stage.database.role().await;
    let name = url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).unwrap().0.to_owned();
    let password = |word: &str| format!("alter role {name} password '{word}'");
    stage.database.execute(&format!("{}; grant all on schema public to {name}", password(SECRET))).await;
    let own = url.split_once('@').unwrap().1;
    let sasl = format!("sasl: {{mechanism: SCRAM-SHA-256, username: lapwing, password: {SECRET}}}");
    let kafka_section = stage.kafka_with(&sasl).replace(&kafka.brokers(), &kafka.sasl_brokers());
    let mut writer = Role::new("write", &format!("{kafka_section}store: \"postgres://{name}:{SECRET}@{own}\"\n"));
    writer.at.program = writer.at.program.env("RUST_LOG", "trace");
    let writing = writer.started();
    stage.topic.put(&[OnWire::value(result("t", 1))]);
    stage.wait_for_rows(1).await;

    stage.database.execute(&password("another")).await;
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{name}'");
    stage.database.execute(&end).await;
    until("/readyz says that the login is refused", LIMIT, || {
        let (status, body) = writer.at.readiness();
        status == 503 && body.contains("password authentication failed")
    });
    let readiness = writer.at.readiness().1;
    let metrics = writer.at.get("/metrics").unwrap().body;
    let processes = std::fs::read_to_string(format!("/proc/{}/cmdline", writing.pid())).unwrap();
    let status = writer.at.program.run(&["db", "status"]);
    let config = writer.at.program.run(&["config", "show"]);
    stage.database.execute(&password(SECRET)).await;
    stage.topic.put(&[OnWire::value(result("u", 1))]);
    stage.wait_for_rows(2).await;
    until("/readyz says 200 again", LIMIT, || writer.at.readiness().0 == 200);
    let output = stop(writing);
    assert_eq!((output.code, status.code, config.code), (0, 3, 0), "{output}");
    for text in [readiness, metrics, processes, status.to_string(), config.to_string(), output.to_string()] {
        let at = text.find(SECRET).map(|at| text[at.saturating_sub(300)..].chars().take(400).collect::<String>());
        assert_eq!(at, None);
    }
}
