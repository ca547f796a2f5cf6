//! From the `kafka` section to librdkafka's properties: ours as defaults, then the user's, then those that exactness rests on.

use model::kafka::KafkaSetting;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use std::env;

type Properties = [(&'static str, &'static str)];

/// Of every client.
const COMMON: &Properties = &[
    ("client.id", "lapwing"),
    ("socket.keepalive.enable", "true"),
    // A broker that is back is found again within seconds.
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.connection.setup.timeout.ms", "5000"),
    // A broker that is frozen, or cut off without a word, is given up after this.
    ("socket.timeout.ms", "30000"),
    // A partition that was added, or a leader that has moved, is noticed within this.
    ("topic.metadata.refresh.interval.ms", "10000"),
];

const PRODUCER: &Properties = &[
    ("compression.type", "zstd"),
    ("linger.ms", "50"),
    ("request.timeout.ms", "20000"),
    ("retry.backoff.max.ms", "1000"),
];

const PRODUCER_FIXED: &Properties = &[("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", "0")];

const CONSUMER: &Properties = &[
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2500"),
    ("queued.min.messages", "20000"),
    // How long fetching rests when a partition's queue is full.
    ("fetch.queue.backoff.ms", "20"),
    // They tell whether the group has let us in.
    ("statistics.interval.ms", "2000"),
];

/// How much waits in memory for the writer, over all partitions, before librdkafka stops fetching.
const AHEAD_KIB: usize = 48 << 10;
/// The largest answer to a fetch, over all partitions; of zstd, which becomes twenty times as much. A batch of a producer comes
/// whole, also if it is larger than the share of its partition.
const FETCH_BYTES: usize = 1536 << 10;

const CONSUMER_FIXED: &Properties = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "false"),
    ("isolation.level", "read_committed"),
    // An offset that is gone is a gap to be told, not to be jumped over.
    ("auto.offset.reset", "error"),
];

/// A client that only asks.
pub(super) fn asking(setting: &KafkaSetting) -> ClientConfig {
    let mut config = common(setting);
    users(&mut config, setting);
    // It is no member of the group.
    config.remove("group.instance.id");
    config
}

pub(crate) fn producer(setting: &KafkaSetting) -> ClientConfig {
    let mut config = common(setting);
    set(&mut config, PRODUCER);
    users(&mut config, setting);
    set(&mut config, PRODUCER_FIXED);
    config
}

/// A producer that says so when a record does not arrive, and takes whatever a consumer was given.
pub(super) fn copier(setting: &KafkaSetting) -> ClientConfig {
    let mut config = producer(setting);
    config.set("linger.ms", "5");
    config.set("message.timeout.ms", "20000");
    config.set("message.max.bytes", "1000000000");
    config
}

/// A member of the group of the writers. Memory for what is fetched ahead is shared by all `partitions`, as if all were ours.
pub(super) fn consumer(setting: &KafkaSetting, partitions: usize) -> ClientConfig {
    let mut config = common(setting);
    set(&mut config, CONSUMER);
    let share = |all: usize, least, most| (all / partitions.max(1)).clamp(least, most).to_string();
    // Less for each would be batches that are not worth their commit.
    config.set("queued.max.messages.kbytes", share(AHEAD_KIB, 512, 4096));
    config.set("fetch.message.max.bytes", share(FETCH_BYTES, 64 << 10, 256 << 10));
    users(&mut config, setting);
    set(&mut config, CONSUMER_FIXED);
    config.set("group.id", &setting.group);
    config
}

fn common(setting: &KafkaSetting) -> ClientConfig {
    let mut config = ClientConfig::new();
    set(&mut config, COMMON);
    // What a connection ended of is told in the log alone (see `reach`).
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("bootstrap.servers", setting.brokers.join(","));
    config.set("security.protocol", protocol(setting));
    tls(&mut config, setting);
    if let Some(sasl) = &setting.sasl {
        config.set("sasl.mechanism", &sasl.mechanism);
        config.set("sasl.username", &sasl.username);
        config.set("sasl.password", &sasl.password);
    }
    config
}

fn protocol(setting: &KafkaSetting) -> &'static str {
    match (&setting.tls, &setting.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    }
}

fn tls(config: &mut ClientConfig, setting: &KafkaSetting) {
    let Some(tls) = &setting.tls else { return };
    let set_by = |name| env::var(name).ok().filter(|path| !path.is_empty());
    let ca = match &tls.ca_file {
        Some(path) => path.display().to_string(),
        // The bundled OpenSSL knows no system: librdkafka looks where systems keep their roots.
        None => set_by("SSL_CERT_FILE").or_else(|| set_by("SSL_CERT_DIR")).unwrap_or_else(|| "probe".to_owned()),
    };
    config.set("ssl.ca.location", ca);
    for (property, file) in [("ssl.certificate.location", &tls.cert_file), ("ssl.key.location", &tls.key_file)] {
        if let Some(path) = file {
            config.set(property, path.display().to_string());
        }
    }
}

fn users(config: &mut ClientConfig, setting: &KafkaSetting) {
    for (name, value) in &setting.properties {
        config.set(name, value);
    }
}

fn set(config: &mut ClientConfig, properties: &Properties) {
    for (name, value) in properties {
        config.set(*name, *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::kafka::{KafkaTls, Replication, Sasl};

    fn setting() -> KafkaSetting {
        KafkaSetting {
            brokers: vec!["a:1".to_owned(), "b:2".to_owned()],
            topic: "t".to_owned(),
            dead_topic: "d".to_owned(),
            group: "g".to_owned(),
            partitions: 6,
            replication: Replication::Auto,
            tls: None,
            sasl: None,
            properties: Vec::new(),
        }
    }

    fn with(properties: &[(&str, &str)]) -> KafkaSetting {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        KafkaSetting { properties: properties.iter().map(own).collect(), ..setting() }
    }

    #[test]
    fn properties_win_over_defaults_and_lose_against_what_exactness_rests_on() {
        let setting = with(&[("linger.ms", "5"), ("auto.offset.reset", "latest"), ("session.timeout.ms", "20000")]);
        assert_eq!(producer(&setting).get("linger.ms"), Some("5"));
        assert_eq!(consumer(&setting, 6).get("auto.offset.reset"), Some("error"));
        assert_eq!(consumer(&setting, 6).get("session.timeout.ms"), Some("20000"));
    }

    #[test]
    fn many_partitions_share_the_memory_for_what_is_fetched_ahead() {
        let ahead = |partitions| {
            let config = consumer(&setting(), partitions);
            ["queued.max.messages.kbytes", "fetch.message.max.bytes"]
                .map(|name| config.get(name).unwrap().parse::<usize>().unwrap())
        };
        assert_eq!(ahead(0), ahead(1));
        assert_eq!(ahead(6), [4096, 262_144]);
        assert_eq!(ahead(24), [2048, 65_536]);
        // Less for each would be batches that are too small.
        assert_eq!(ahead(1000), [512, 65_536]);
        let own = with(&[("fetch.message.max.bytes", "1000000")]);
        assert_eq!(consumer(&own, 60).get("fetch.message.max.bytes"), Some("1000000"));
    }

    #[test]
    fn librdkafka_takes_all_of_ours() {
        for config in [asking(&setting()), producer(&setting()), copier(&setting()), consumer(&setting(), 6)] {
            config.create_native_config().unwrap();
        }
    }

    #[test]
    fn the_protocol_follows_from_the_sections() {
        let sasl = Sasl { mechanism: "PLAIN".to_owned(), username: "u".to_owned(), password: "p".to_owned() };
        for (tls, sasl, protocol) in [
            (None, None, "plaintext"),
            (Some(KafkaTls::default()), None, "ssl"),
            (None, Some(sasl.clone()), "sasl_plaintext"),
            (Some(KafkaTls::default()), Some(sasl), "sasl_ssl"),
        ] {
            let config = asking(&KafkaSetting { tls, sasl, ..setting() });
            assert_eq!(config.get("security.protocol"), Some(protocol));
        }
    }
}
