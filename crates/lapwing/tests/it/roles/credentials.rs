//! Wrong credentials, on either side: the end of the program with code 3, a line that says which and what to do, and no secret.

use super::stage::Role;
use crate::at_work::LIMIT;
use testkit::{Identity, Kafka, Postgres, Running, free_port, pki};

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
