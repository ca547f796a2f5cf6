//! The `kafka` section as meant.

use crate::helper::{Folder, load, mistakes};
use model::kafka::{KafkaSetting, KafkaTls, Replication, Sasl};

fn kafka(section: &str) -> Option<KafkaSetting> {
    load(&format!("{section}\ntargets: []")).kafka
}

#[test]
fn without_a_section_there_is_no_kafka() {
    assert_eq!(kafka("location: home"), None);
    assert_eq!(kafka("kafka: null"), None);
}

#[test]
fn the_brokers_are_all_that_must_be_said() {
    let expected = KafkaSetting {
        brokers: vec!["b:9092".to_owned()],
        topic: "lapwing.results".to_owned(),
        dead_topic: "lapwing.results.dead".to_owned(),
        group: "lapwing-writer".to_owned(),
        partitions: 6,
        replication: Replication::Auto,
        tls: None,
        sasl: None,
        properties: Vec::new(),
    };
    assert_eq!(kafka("kafka: {brokers: 'b:9092'}"), Some(expected));
}

#[test]
fn what_is_written_is_meant() {
    let meant = kafka(
        "kafka: {brokers: ['a:1', 'b:2'], topic: t, dead_topic: d, group: g, partitions: '3', replication: 2, \
         properties: {linger.ms: 5, check.crcs: true, client.rack: null}}",
    )
    .expect("a section");
    assert_eq!(meant.brokers, ["a:1", "b:2"]);
    assert_eq!((&*meant.topic, &*meant.dead_topic, &*meant.group), ("t", "d", "g"));
    assert_eq!((meant.partitions, meant.replication), (3, Replication::Copies(2)));
    let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(meant.properties, [property("linger.ms", "5"), property("check.crcs", "true")]);
}

#[test]
fn an_empty_tls_section_speaks_tls() {
    assert_eq!(kafka("kafka: {brokers: 'b:1', tls: {}}").expect("a section").tls, Some(KafkaTls::default()));
}

#[test]
fn files_are_relative_to_the_config_and_passwords_are_read_from_theirs() {
    let yaml = "kafka: {brokers: 'b:1', tls: {ca_file: ca.pem}, \
                sasl: {mechanism: SCRAM-SHA-512, username: u, password_file: pw}}\ntargets: []";
    let ca = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    let folder = Folder::new(yaml).with("ca.pem", ca).with("pw", "hunter2\n");
    let config = folder.good();
    let meant = config.kafka.as_ref().expect("a section");
    assert_eq!(meant.tls.as_ref().expect("tls").ca_file, Some(folder.path("ca.pem")));
    let sasl = Sasl { mechanism: "SCRAM-SHA-512".to_owned(), username: "u".to_owned(), password: "hunter2".to_owned() };
    assert_eq!(meant.sasl, Some(sasl));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.files.contains(&folder.path("pw")), "a change of the password is not noticed");
}

#[test]
fn properties_that_exactness_rests_on_are_refused() {
    for name in [
        "enable.idempotence",
        "acks",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "partition.assignment.strategy",
        "message.timeout.ms",
        "group.id",
        "bootstrap.servers",
    ] {
        let found = mistakes(&format!("kafka: {{brokers: 'b:1', properties: {{{name}: x}}}}\ntargets: []"));
        assert!(found.len() == 1 && found[0].contains(name), "{name}: {found:?}");
    }
}
