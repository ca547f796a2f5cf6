//! Starting: what is waited for, what is refused, and TLS and SASL that work.

use super::stage::{AT_ONCE, LIMIT, join, next_batch, relayed, relayed_with, results, setting_at};
use bus::{
    Class,
    kafka::{Consumer, Error, Reach},
};
use model::kafka::{KafkaSetting, KafkaTls, Sasl};
use std::{path::Path, time::Duration};
use tempfile::TempDir;
use testkit::{Kafka, eventually, pki};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

async fn refused(setting: &KafkaSetting) -> Error {
    let (reach, stop) = (Reach::default(), CancellationToken::new());
    let consumer = timeout(LIMIT, Consumer::open(setting, AT_ONCE, reach.clone(), &stop)).await;
    let consumer = consumer.unwrap_or_else(|_| panic!("it is not told: {:?} of {setting:?}", reach.trouble()));
    let of_consumer = consumer.expect_err("the consumer is refused");
    let relayed = relayed_with(setting, &results(0..1, 1)).await;
    let of_relay = timeout(LIMIT, relayed.running).await.expect("it is told").unwrap().expect_err("so is the relay");
    assert_eq!((of_consumer.class(), of_relay.class()), (Class::Systemic, Class::Systemic));
    assert_eq!(relayed.queue.stats().results, 1);
    for secret in ["hunter2", "wrong"] {
        assert!(!of_consumer.to_string().contains(secret) && !of_relay.to_string().contains(secret));
    }
    of_consumer
}

fn sasl(mechanism: &str, password: &str) -> Option<Sasl> {
    Some(Sasl { mechanism: mechanism.to_owned(), username: "lapwing".to_owned(), password: password.to_owned() })
}

fn tls(folder: &Path, ca: &str) -> Option<KafkaTls> {
    std::fs::write(folder.join("ca.pem"), ca).unwrap();
    Some(KafkaTls { ca_file: Some(folder.join("ca.pem")), ..KafkaTls::default() })
}

/// Results go there and come back.
async fn works(setting: &KafkaSetting) {
    let mut relayed = relayed(setting).await;
    relayed.tail.append(&results(0..10, 3)).await.unwrap();
    let mut log = join(setting, AT_ONCE).await;
    let mut read = 0;
    while read < 10 {
        read += next_batch(&mut log).await.entries.len();
    }
    log.close().await;
    relayed.drain().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_waited_for_and_a_stop_is_a_clean_one() {
    let nowhere = format!("127.0.0.1:{}", testkit::free_port());
    let (reach, stop) = (Reach::default(), CancellationToken::new());
    let setting = setting_at(&nowhere);
    let (told, stopped) = (reach.clone(), stop.clone());
    let opening = tokio::spawn(async move { Consumer::open(&setting, AT_ONCE, told, &stopped).await });
    eventually("it is said", LIMIT, async || reach.trouble().is_some_and(|why| why.contains(&nowhere))).await;
    assert!(!opening.is_finished());
    stop.cancel();
    assert!(timeout(Duration::from_secs(5), opening).await.unwrap().unwrap().unwrap().is_none());

    let relayed = relayed_with(&setting_at(&nowhere), &results(0..1, 1)).await;
    eventually("it is said", LIMIT, async || relayed.reach.trouble().is_some()).await;
    relayed.no_more.cancel();
    relayed.give_up.cancel();
    timeout(Duration::from_secs(10), relayed.running).await.unwrap().unwrap().unwrap();
    assert_eq!(relayed.queue.stats().results, 1);
}

#[tokio::test]
async fn who_closes_every_connection_may_be_a_broker_later() {
    // As a balancer without a broker behind it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setting = setting_at(&listener.local_addr().unwrap().to_string());
    let closing = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    let stop = CancellationToken::new();
    let opening = Consumer::open(&setting, AT_ONCE, Reach::default(), &stop);
    assert!(timeout(Duration::from_secs(15), opening).await.is_err(), "it is not waited for");
    closing.abort();
}

/// As one that refuses us it closes the connection as soon as it is asked something; but then nobody is there.
#[tokio::test]
async fn a_broker_that_goes_while_it_is_asked_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let front = tokio::spawn(async move {
        let connect = || TcpStream::connect(testkit::kafka_brokers());
        let (mut client, _) = listener.accept().await.unwrap();
        let mut broker = connect().await.unwrap();
        broker.write_all(&message(&mut client).await).await.unwrap();
        client.write_all(&message(&mut broker).await).await.unwrap();
        message(&mut client).await;
        drop((client, listener));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let listener = TcpListener::bind(at).await.unwrap();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut broker = connect().await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut broker).await });
        }
    });
    let (setting, stop) = (setting_at(&at.to_string()), CancellationToken::new());
    let opened = timeout(LIMIT, Consumer::open(&setting, AT_ONCE, Reach::default(), &stop)).await.expect("it is back");
    opened.expect("it is waited for").expect("nobody stops it").close().await;
    front.abort();
}

/// A message of Kafka's protocol, with the length before it.
async fn message(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u32().await.unwrap();
    let mut message = [&length.to_be_bytes()[..], &vec![0; length as usize]].concat();
    stream.read_exact(&mut message[4..]).await.unwrap();
    message
}

#[tokio::test]
async fn users_and_tls_are_refused_with_the_cause_or_work() {
    let folder = TempDir::new().unwrap();
    let kafka = Kafka::options().tls(&pki().good).user("lapwing", "hunter2").start().await;
    let root = &pki().root.pem;

    let plain = setting_at(&kafka.sasl_brokers());
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let error = refused(&KafkaSetting { sasl: sasl(mechanism, "wrong"), ..plain.clone() }).await.to_string();
        assert!(error.to_lowercase().contains("authentication"), "{mechanism}: {error}");
        works(&KafkaSetting { sasl: sasl(mechanism, "hunter2"), ..setting_at(&kafka.sasl_brokers()) }).await;
    }

    let error = refused(&setting_at(&kafka.tls_brokers())).await.to_string();
    assert!(error.contains("kafka.tls"), "plain text on a TLS port: {error}");
    let error = refused(&setting_at(&kafka.sasl_brokers())).await.to_string();
    assert!(error.contains("kafka.sasl"), "nobody where a user is wanted: {error}");
    let stranger = KafkaSetting { tls: tls(folder.path(), &pki().other_root.pem), ..setting_at(&kafka.tls_brokers()) };
    let error = refused(&stranger).await.to_string();
    assert!(error.contains("certificate"), "a stranger: {error}");
    let error =
        refused(&KafkaSetting { tls: tls(folder.path(), root), ..setting_at(&kafka.brokers()) }).await.to_string();
    assert!(error.contains("plain text"), "TLS on a plain port: {error}");

    works(&KafkaSetting { tls: tls(folder.path(), root), ..setting_at(&kafka.tls_brokers()) }).await;
    let both = KafkaSetting {
        tls: tls(folder.path(), root),
        sasl: sasl("SCRAM-SHA-256", "hunter2"),
        ..setting_at(&kafka.sasl_tls_brokers())
    };
    works(&both).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let folder = TempDir::new().unwrap();
    let kafka = Kafka::options().tls(&pki().good).client_authority(&pki().root).start().await;
    let own = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(folder.path().join(name))
    };
    let nobody = KafkaTls { ca_file: own("ca.pem", &pki().root.pem), ..KafkaTls::default() };
    let client = KafkaTls {
        cert_file: own("client.pem", &pki().client.chain_pem),
        key_file: own("client.key", &pki().client.key_pem),
        ..nobody.clone()
    };
    works(&KafkaSetting { tls: Some(client), ..setting_at(&kafka.tls_brokers()) }).await;
    refused(&KafkaSetting { tls: Some(nobody), ..setting_at(&kafka.tls_brokers()) }).await;
}

#[tokio::test]
async fn a_property_that_librdkafka_does_not_know_is_named_without_its_value() {
    for (name, value) in [("linger.mss", "hunter2"), ("linger.ms", "hunter2"), ("ssl.key.password.x", "hunter2")] {
        let properties = vec![(name.to_owned(), value.to_owned())];
        let error = refused(&KafkaSetting { properties, ..setting_at("127.0.0.1:1") }).await.to_string();
        assert!(error.contains(name), "{error}");
    }
}
