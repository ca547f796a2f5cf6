//! How Kafka is reached: the `kafka` section of a config, as meant. Made by `config`, used by `bus`.

use std::{fmt, path::PathBuf};

/// The topic of the results, unless a config names another.
pub const RESULTS_TOPIC: &str = "lapwing.results";
/// The topic of the dead letters, unless a config names another.
pub const DEAD_TOPIC: &str = "lapwing.results.dead";

#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSetting {
    /// Some of the brokers, `host:port`; at least one.
    pub brokers: Vec<String>,
    /// The topic of the results.
    pub topic: String,
    /// The topic of the dead letters.
    pub dead_topic: String,
    /// The consumer group of the writers.
    pub group: String,
    /// When a topic has to be created; at least 1.
    pub partitions: i32,
    /// When a topic has to be created.
    pub replication: Replication,
    /// `None`: plain text.
    pub tls: Option<KafkaTls>,
    pub sasl: Option<Sasl>,
    /// Properties of librdkafka, for producer and consumer, in the order of the file.
    pub properties: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// As many as there are brokers, at most three.
    Auto,
    Copies(u16),
}

impl Replication {
    /// Copies of a topic in a cluster of so many brokers.
    pub fn copies(self, brokers: usize) -> i32 {
        match self {
            Self::Auto => brokers.clamp(1, 3) as i32, // at most 3
            Self::Copies(n) => i32::from(n),
        }
    }
}

/// PEM files; all may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaTls {
    /// Trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    pub username: String,
    pub password: String,
}

/// Whether a property's value must not be seen. (The contract, section 3.)
pub fn is_secret_property(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "key", "secret"].iter().any(|s| name.contains(s))
}

impl fmt::Debug for KafkaSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<_> = self.properties.iter().map(|(name, value)| (name, shown(name, value))).collect();
        f.debug_struct("KafkaSetting")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("dead_topic", &self.dead_topic)
            .field("group", &self.group)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("tls", &self.tls)
            .field("sasl", &self.sasl)
            .field("properties", &properties)
            .finish()
    }
}

fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    if is_secret_property(name) { "***" } else { value }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_replication_is_three_where_there_are_three() {
        assert_eq!([0, 1, 2, 3, 9].map(|brokers| Replication::Auto.copies(brokers)), [1, 1, 2, 3, 3]);
        assert_eq!(Replication::Copies(5).copies(1), 5);
    }

    #[test]
    fn no_secret_is_shown() {
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let setting = KafkaSetting {
            brokers: vec!["broker:9092".to_owned()],
            topic: "t".to_owned(),
            dead_topic: "d".to_owned(),
            group: "g".to_owned(),
            partitions: 6,
            replication: Replication::Auto,
            tls: None,
            sasl: Some(Sasl {
                mechanism: "PLAIN".to_owned(),
                username: "hunter1".to_owned(),
                password: "hunter2".to_owned(),
            }),
            properties: vec![
                property("ssl.key.pem", "hunter3"),
                property("sasl.oauthbearer.client.secret", "hunter4"),
                property("linger.ms", "5"),
            ],
        };
        let shown = format!("{setting:?}");
        assert!(!shown.contains("hunter") && shown.contains("linger.ms") && shown.contains('5'), "{shown}");
    }
}
