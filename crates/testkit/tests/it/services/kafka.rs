//! A broker of a test's own.

use super::wire::Client;
use super::{LIMIT, listens};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Kafka, Pki, kafka_brokers, pki, unique, until};

#[test]
fn the_shared_one_answers() {
    let brokers = kafka_brokers();
    let first = brokers.split(',').next().unwrap();
    assert_eq!(Client::connect(first).versions().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_survive_a_stop_and_a_kill() {
    let mut kafka = Kafka::start().await;
    let (brokers, topic) = (kafka.brokers(), unique("topic"));
    assert_eq!(Client::connect(&brokers).create_topic(&topic), 0);
    kafka.stop().await;
    assert!(!listens(kafka.port()));
    kafka.restart().await;
    assert_eq!(kafka.brokers(), brokers);
    until("the topic is back", LIMIT, || Client::connect(&brokers).has_topic(&topic));
    kafka.kill9();
    assert!(!listens(kafka.port()));
    kafka.restart().await;
    until("the topic is back", LIMIT, || Client::connect(&brokers).has_topic(&topic));
    // Not made by having been asked for.
    assert!(!Client::connect(&brokers).has_topic("never-made"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_one_is_silent_and_goes_on() {
    let mut kafka = Kafka::options().property("message.max.bytes", "2000000").start().await;
    let mut client = Client::connect(&kafka.brokers());
    assert_eq!(client.versions().unwrap(), 0);
    kafka.pause();
    let silent = TcpStream::connect(kafka.brokers()).unwrap();
    silent.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(Client::over(&silent).versions().is_err());
    kafka.resume();
    assert_eq!(client.versions().unwrap(), 0);
    drop(kafka);
    assert!(client.versions().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_tls_and_asks_who_one_is() {
    let Pki { good, root, .. } = pki();
    let mut kafka = Kafka::options().tls(good).user("writer", "open sesame").start().await;
    let tls = |broker: &str| {
        let tcp = TcpStream::connect(broker).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let name = ServerName::try_from("localhost").unwrap();
        Client::over(StreamOwned::new(ClientConnection::new(config, name).unwrap(), tcp))
    };
    assert_eq!(tls(&kafka.tls_brokers()).versions().unwrap(), 0);
    assert_eq!(Client::connect(&kafka.sasl_brokers()).log_in("writer", "open sesame"), 0);
    assert_eq!(tls(&kafka.sasl_tls_brokers()).log_in("writer", "open sesame"), 0);
    const AUTHENTICATION_FAILED: i16 = 58;
    assert_eq!(Client::connect(&kafka.sasl_brokers()).log_in("writer", "guessed"), AUTHENTICATION_FAILED);
    let refused = Client::connect(&kafka.tls_brokers()).versions();
    assert!(refused.is_err(), "plain text on a TLS port");
    kafka.restart().await;
    assert_eq!(tls(&kafka.sasl_tls_brokers()).log_in("writer", "open sesame"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_can_not_start_shows_why() {
    let started = Instant::now();
    let error = Kafka::options().property("log.segment.bytes", "much").try_start().await.unwrap_err().to_string();
    assert!(error.contains("Kafka ended") && error.contains("log.segment.bytes"), "{error}");
    assert!(started.elapsed() < LIMIT);
}
