//! The keys of a config but those of its targets: what each may hold, what it is for, what holds when it is not there.

use super::{
    Kind, Names, Numbers, Privacy, Shape, key,
    kinds::*,
    target::{DEFAULTS, TARGET},
};
use crate::{rules, store};
use model::kafka::is_secret_property;

pub(crate) static CONFIG: Shape = Shape {
    name: "config",
    doc: "What Lapwing watches, how, and where it keeps what it finds.",
    exclusive: &[],
    keys: &[
        key("location", ID, "The name of the place that looks.").or("default"),
        key(
            "data_dir",
            FILE,
            "The folder of what Lapwing writes; LAPWING_DATA_DIR wins. Default: the config's folder.",
        ),
        key(
            "store",
            Kind::spelled(|s| store::parse(s).map(drop), "^(sqlite|postgres|postgresql):", Numbers::No),
            "Where results are stored: sqlite:FILE, relative to data_dir, or postgres://user:password@host/database.",
        )
        .or("sqlite:lapwing.db")
        .private(Privacy::Url),
        key(
            "kafka",
            Kind::Map(&KAFKA),
            "The log between `lapwing probe` and `lapwing write`; `run` uses it when it is there.",
        ),
        key("queue", Kind::Map(&QUEUE), "Where results wait until they are stored."),
        key("web", Kind::Map(&WEB), "The dashboard and the API, of `run` and `serve`."),
        key("metrics", Kind::Map(&METRICS), "Metrics and health of `probe` and `write`."),
        key("retention", Kind::Map(&RETENTION), "How long what is stored is kept."),
        key(
            "shutdown_grace",
            Kind::Duration { min: ms(0), max: ms(DAY) },
            "How long a stop waits for what is in flight.",
        )
        .or("10s"),
        key("probe", Kind::Map(&PROBE), "How this process checks."),
        key("guard", Kind::Map(&GUARD), "Which addresses may be asked."),
        key("include", Kind::list(&FILE), "Files with more `targets`; patterns like targets/*.yaml may be used."),
        key("defaults", Kind::Map(&DEFAULTS), "What holds for every target that does not say otherwise."),
        key(
            "targets",
            Kind::list(&Kind::Short { key: "url", shape: &TARGET }),
            "What is watched. A URL is short for a target that says nothing else.",
        ),
    ],
};

/// A file that `include` names.
pub(crate) static INCLUDED: Shape = Shape {
    name: "included",
    doc: "More targets.",
    exclusive: &[],
    keys: &[key("targets", Kind::list(&Kind::Short { key: "url", shape: &TARGET }), "What is watched.").required()],
};

pub(crate) static KAFKA: Shape = Shape {
    name: "kafka",
    doc: "How Kafka is reached.",
    exclusive: &[],
    keys: &[
        key("brokers", Kind::some(&HOST_PORT), "Some of the brokers, host:port.").required(),
        key("topic", TOPIC, "The topic of the results.").or(model::kafka::RESULTS_TOPIC),
        key("dead_topic", TOPIC, "The topic of the dead letters.").or(model::kafka::DEAD_TOPIC),
        key("group", NAME, "The consumer group of the writers.").or("lapwing-writer"),
        key("partitions", Kind::Whole { min: 1, max: 10_000 }, "When the topic has to be created.").or("6"),
        key(
            "replication",
            Kind::spelled(
                |s| rules::replication(s).map(drop),
                "^(auto|[1-9][0-9]*)$",
                Numbers::Within(1, u16::MAX as u64),
            ),
            "Copies, when the topic has to be created.",
        )
        .or("auto"),
        key("tls", Kind::Map(&KAFKA_TLS), "Speak TLS; {} trusts the system's roots."),
        key("sasl", Kind::Map(&SASL), "Say who we are."),
        key("properties", Kind::Named(&PROPERTIES), "Any property of librdkafka, but those that exactness rests on."),
    ],
};

static KAFKA_TLS: Shape = Shape {
    name: "kafka_tls",
    doc: "TLS to the brokers.",
    exclusive: &[],
    keys: &[
        key("ca_file", CERTIFICATES, "PEM certificates to trust instead of the system's."),
        key("cert_file", CERTIFICATES, "Our PEM certificate."),
        key("key_file", PRIVATE_KEY, "Its PEM key."),
    ],
};

static SASL: Shape = Shape {
    name: "sasl",
    doc: "Authentication to the brokers.",
    exclusive: CREDENTIALS,
    keys: &[
        key("mechanism", Kind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), "How the password is shown.")
            .required(),
        key("username", Kind::text(rules::no_control), "The user."),
        key("username_file", USERNAME_FILE, "A file that holds the user."),
        key("password", Kind::text(rules::no_control), "The password.").private(Privacy::Secret),
        key("password_file", PASSWORD_FILE, "A file that holds the password."),
    ],
};

static PROPERTIES: Names = Names {
    check: rules::kafka_property,
    any_case: false,
    values: ANY,
    refused: Some(&rules::OURS),
    privacy: |name| if is_secret_property(name) { Privacy::Secret } else { Privacy::Open },
};

static QUEUE: Shape = Shape {
    name: "queue",
    doc: "The durable queue in front of the store.",
    exclusive: &[],
    keys: &[
        key("path", FILE, "Its file, relative to data_dir.").or("lapwing-queue.db"),
        key("max_size", Kind::Size { min: 4 << 10, max: 1 << 50 }, "Beyond this the oldest results go.").or("1GiB"),
    ],
};

static WEB: Shape = Shape {
    name: "web",
    doc: "The dashboard.",
    exclusive: &[],
    keys: &[
        key("listen", LISTEN, "host:port, or :port for every address.").or("127.0.0.1:8080"),
        key("title", NAME, "The title of the pages.").or("Status"),
    ],
};

static METRICS: Shape = Shape {
    name: "metrics",
    doc: "Metrics and health.",
    exclusive: &[],
    keys: &[key(
        "listen",
        LISTEN,
        "host:port, or :port for every address. Default: 127.0.0.1:9464, of `write` 127.0.0.1:9465.",
    )],
};

const KEPT: Kind = Kind::Duration { min: ms(1000), max: EVER };

static RETENTION: Shape = Shape {
    name: "retention",
    doc: "How long what is stored is kept.",
    exclusive: &[],
    keys: &[
        key("checks", KEPT, "Single results.").or("30d"),
        key("hourly", KEPT, "Hourly summaries.").or("400d"),
        key("daily", KEPT, "Daily summaries.").or("10y"),
        key("incidents", KEPT, "Incidents.").or("10y"),
    ],
};

/// What a site reads in its log, unless `probe.user_agent` says otherwise.
pub(crate) const USER_AGENT: &str = concat!("lapwing/", env!("CARGO_PKG_VERSION"));

static PROBE: Shape = Shape {
    name: "probe",
    doc: "How this process checks.",
    exclusive: &[],
    keys: &[
        key("concurrency", Kind::Whole { min: 1, max: 1_000_000 }, "Checks in flight; each may need two open files.")
            .or("1000"),
        key("per_host", Kind::Whole { min: 1, max: 1_000_000 }, "Checks in flight to one host:port.").or("8"),
        key("resolver", Kind::list(&RESOLVER), "Name servers, IP:PORT. Default: the system's."),
        key(
            "online_check",
            Kind::list(&HOST_PORT),
            "host:port; when none of them can be connected to, failures are `prober_offline`.",
        ),
        key(
            "user_agent",
            Kind::text(|s| rules::not_empty(s).and_then(|()| rules::header_value(s).map(drop))),
            "The user-agent header, where a target sets none.",
        )
        .or(USER_AGENT),
    ],
};

static GUARD: Shape = Shape {
    name: "guard",
    doc: "Which addresses may be asked. `deny` beats `allow`, `allow` beats the rest.",
    exclusive: &[],
    keys: &[
        key("private", Kind::OneOf(&["allow", "deny"]), "Loopback, private, shared and unique-local addresses.")
            .or("allow"),
        key("deny", Kind::list(&NETWORK), "Addresses and ranges that are never asked."),
        key(
            "allow",
            Kind::list(&NETWORK),
            "Addresses and ranges that are asked although they are private, link-local or metadata.",
        ),
    ],
};
