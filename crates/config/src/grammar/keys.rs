//! Every key of a config: what it may hold, what it is for, what holds when it is not there.

use super::{Content, Key, Kind, Names, Numbers, Privacy, Shape, key};
use crate::{rules, store, units};
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const DAY: u64 = 86_400_000;
const EVER: Duration = ms(1000 * 365 * DAY);
const ANY_TIME: Kind = Kind::Duration { min: ms(1), max: EVER };
const COUNT: Kind = Kind::Whole { min: 1, max: u32::MAX as u64 };
const ID: Kind = Kind::spelled(rules::id, "^[a-z0-9][a-z0-9._-]{0,127}$", Numbers::Any);
const NAME: Kind = Kind::text(rules::name);
const ANY: Kind = Kind::text(rules::any);
const URL: Kind = Kind::spelled(|s| rules::web_url(s).map(drop), "^\\s*[Hh][Tt][Tt][Pp][Ss]?:", Numbers::No);
const LISTEN: Kind = Kind::spelled(|s| rules::listen(s).map(drop), ":[0-9]+$", Numbers::No);
const HOST_PORT: Kind = Kind::spelled(rules::host_port, "^.+:[0-9]+$", Numbers::No);
const RESOLVER: Kind = Kind::spelled(|s| rules::resolver(s).map(drop), "^[0-9a-fA-F.:\\[\\]%]+$", Numbers::No);
const NETWORK: Kind = Kind::spelled(|s| rules::network(s).map(drop), "^[0-9a-fA-F.:]+(/[0-9]+)?$", Numbers::No);
const STATUS: Kind =
    Kind::spelled(|s| rules::status(s).map(drop), "^[1-9][0-9]{2}(-[1-9][0-9]{2})?$", Numbers::Within(100, 999));
const HEADER_VALUE: Kind = Kind::text(|s| rules::header_value(s).map(drop));
const TOPIC: Kind = Kind::spelled(rules::topic, "^[A-Za-z0-9._-]{1,249}$", Numbers::Any);
const PATTERN: Kind = Kind::BodyPattern;
const FILE: Kind = Kind::text(rules::not_empty);

const CERTIFICATES: Kind = Kind::File(Content::Certificates);
const PRIVATE_KEY: Kind = Kind::File(Content::PrivateKey);
const USERNAME_FILE: Kind = Kind::File(Content::Value(rules::username));
const PASSWORD_FILE: Kind = Kind::File(Content::Value(rules::no_control));
const TOKEN_FILE: Kind = Kind::File(Content::Value(rules::token));

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
        key("topic", TOPIC, "The topic of the results.").or("lapwing.results"),
        key("dead_topic", TOPIC, "The topic of the dead letters.").or("lapwing.results.dead"),
        key("group", NAME, "The consumer group of the writers.").or("lapwing-writer"),
        key("partitions", Kind::Whole { min: 1, max: 10_000 }, "When the topic has to be created.").or("6"),
        key(
            "replication",
            Kind::spelled(rules::replication, "^(auto|[1-9][0-9]*)$", Numbers::Within(1, u16::MAX as u64)),
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

const CREDENTIALS: &[&[&str]] = &[&["username", "username_file"], &["password", "password_file"]];

static PROPERTIES: Names = Names {
    check: rules::kafka_property,
    any_case: false,
    values: ANY,
    refused: Some(&rules::OURS),
    privacy: |name| {
        if ["password", "key", "secret"].iter().any(|s| name.contains(s)) { Privacy::Secret } else { Privacy::Open }
    },
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
        key("concurrency", Kind::Whole { min: 1, max: 1_000_000 }, "Checks in flight.").or("1000"),
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

/// The keys that every target has for itself.
const OWN: [Key; 3] = [
    key("url", URL, "What is asked: http or https.").required().private(Privacy::Url),
    key("id", ID, "The key of its results. Default: a slug of the name, or of the URL."),
    key("name", NAME, "What people read. Default: the id."),
];

const SHARED: [Key; 11] = [
    key("group", NAME, "Targets of one group stand together."),
    key("labels", Kind::Named(&LABELS), "Words to find it by."),
    key("enabled", Kind::Bool, "Whether it is checked.").or("true"),
    key("locations", Kind::some(&ID), "The locations that look. Default: all."),
    key("interval", Kind::Duration { min: ms(1000), max: ms(DAY) }, "From one check to the next, 1s to 24h.").or("60s"),
    key(
        "timeout",
        Kind::Duration { min: ms(1), max: ms(900_000) },
        "Of one attempt, all phases, at most 15m. Default: 10s, or less where retries need the time.",
    ),
    key("retries", Kind::Whole { min: 0, max: 100 }, "Further attempts before `down` is reported.").or("0"),
    key("request", Kind::Map(&REQUEST), "How to ask."),
    key("expect", Kind::Map(&LIMITS), "All must hold, else the target is `down`."),
    key("warn", Kind::Map(&LIMITS), "A miss is `degraded`."),
    key("incident", Kind::Map(&INCIDENT), "When results become an incident."),
];

static TARGET_KEYS: [Key; 14] = {
    let mut all = [OWN[0]; 14];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < OWN.len() { OWN[i] } else { SHARED[i - OWN.len()] };
        i += 1;
    }
    all
};

pub(crate) static TARGET: Shape = Shape {
    name: "target",
    doc: "What is watched, how to ask it, and what to expect.",
    exclusive: &[],
    keys: &TARGET_KEYS,
};

pub(crate) static DEFAULTS: Shape = Shape {
    name: "defaults",
    doc: "What holds for every target that does not say otherwise.",
    exclusive: &[],
    keys: &SHARED,
};

static LABELS: Names = Names {
    check: rules::name,
    any_case: false,
    values: Kind::text(rules::no_control),
    refused: None,
    privacy: |_| Privacy::Open,
};

pub(crate) static REQUEST: Shape = Shape {
    name: "request",
    doc: "How to ask.",
    exclusive: &[&["basic_auth", "bearer_token", "bearer_token_file"], &["body", "body_file"]],
    keys: &[
        key("method", Kind::text(|s| rules::method(s).map(drop)), "The method.").or("GET"),
        key(
            "headers",
            Kind::Named(&REQUEST_HEADERS),
            "Sent beside host, user-agent, accept and connection, or instead of them.",
        ),
        key("body", ANY, "What is sent."),
        key("body_file", Kind::File(Content::Body), "A file that holds what is sent, byte by byte."),
        key("basic_auth", Kind::Map(&BASIC_AUTH), "A user and a password."),
        key("bearer_token", Kind::text(rules::token), "A token.").private(Privacy::Secret),
        key("bearer_token_file", TOKEN_FILE, "A file that holds the token."),
        key(
            "redirects",
            Kind::Whole { min: 0, max: 1000 },
            "How many to follow; 0: the redirect itself is the answer.",
        )
        .or("10"),
        key("http", Kind::OneOf(&["auto", "1.1", "2"]), "The version of HTTP.").or("auto"),
        key("ip", Kind::OneOf(&["auto", "4", "6"]), "The family of addresses; auto: both.").or("auto"),
        key("resolver", Kind::list(&RESOLVER), "Name servers for this target, IP:PORT."),
        key(
            "proxy",
            Kind::spelled(|s| rules::proxy_url(s).map(drop), "^[Hh][Tt][Tt][Pp][Ss]?://", Numbers::No),
            "An HTTP proxy.",
        )
        .private(Privacy::Url),
        key("tls", Kind::Map(&TLS), "How to speak TLS."),
        key(
            "max_body",
            Kind::Size { min: 1, max: 2047 << 20 },
            "After decompression, at most 2047MiB; more is `body_too_large`.",
        )
        .or("10MiB"),
    ],
};

static REQUEST_HEADERS: Names = Names {
    check: |s| rules::header_name(s).map(drop),
    any_case: true,
    values: Kind::some(&HEADER_VALUE),
    refused: Some(&["content-length", "transfer-encoding"]),
    privacy: |name| if is_open_header(name) { Privacy::Open } else { Privacy::Secret },
};

/// Whether the value of a request header may be shown.
pub(crate) fn is_open_header(name: &str) -> bool {
    name.starts_with("accept") || matches!(name, "content-type" | "user-agent" | "host")
}

static BASIC_AUTH: Shape = Shape {
    name: "basic_auth",
    doc: "A user and a password.",
    exclusive: CREDENTIALS,
    keys: &[
        key("username", Kind::text(rules::username), "The user."),
        key("username_file", USERNAME_FILE, "A file that holds the user."),
        key("password", Kind::text(rules::no_control), "The password.").private(Privacy::Secret),
        key("password_file", PASSWORD_FILE, "A file that holds the password."),
    ],
};

static TLS: Shape = Shape {
    name: "tls",
    doc: "How to speak TLS.",
    exclusive: &[],
    keys: &[
        key("verify", Kind::Bool, "Whether the certificate and its name are verified.").or("true"),
        key("ca_file", CERTIFICATES, "PEM certificates to trust instead of the system's."),
        key("cert_file", CERTIFICATES, "Our PEM certificate, for servers that ask for one."),
        key("key_file", PRIVATE_KEY, "Its PEM key."),
        key(
            "server_name",
            Kind::text(rules::server_name),
            "The name asked for and verified, instead of the URL's host.",
        ),
        key("min_version", Kind::OneOf(&["1.2", "1.3"]), "The oldest version of TLS that will do.").or("1.2"),
    ],
};

pub(crate) static LIMITS: Shape = Shape {
    name: "limits",
    doc: "What is asked of an answer.",
    exclusive: &[],
    keys: &[
        key(
            "status",
            Kind::some(&STATUS),
            "Status codes and ranges. Default in `expect`: 200-299, with `redirects: 0` also 300-399.",
        ),
        key(
            "body",
            Kind::Short { key: "matches", shape: &BODY },
            "Patterns over the body; a text is one that must match.",
        ),
        key(
            "headers",
            Kind::Named(&EXPECTED_HEADERS),
            "Patterns over headers; of one sent more than once any value may match.",
        ),
        key("cel", Kind::text(rules::not_empty), "An expression in CEL over status, headers, body and time_ms."),
        key("time", ANY_TIME, "Total of the last attempt."),
        key(
            "certificate",
            Kind::spelled(|s| units::certificate(s).map(drop), CERTIFICATE_PATTERN, Numbers::No),
            "The certificate must stay valid this long, or for this share of its lifetime, like 20%.",
        ),
    ],
};

const CERTIFICATE_PATTERN: &str =
    r"^((?=[0-9])([0-9]+y)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?|[0-9]+(\.[0-9]+)?%)$";

static BODY: Shape = Shape {
    name: "body",
    doc: "Patterns of the regex crate's syntax over the body.",
    exclusive: &[],
    keys: &[
        key("matches", Kind::list(&PATTERN), "Each must match somewhere."),
        key("not_matches", Kind::list(&PATTERN), "None may match anywhere."),
    ],
};

static EXPECTED_HEADERS: Names = Names {
    check: |s| rules::any_header_name(s).map(drop),
    any_case: true,
    values: Kind::HeaderPattern,
    refused: None,
    privacy: |_| Privacy::Open,
};

static INCIDENT: Shape = Shape {
    name: "incident",
    doc: "When results become an incident.",
    exclusive: &[],
    keys: &[
        key("after", COUNT, "Results in a row that are not fine before it opens.").or("2"),
        key("recover", COUNT, "Results in a row that are fine before it closes.").or("1"),
        key(
            "locations",
            Kind::spelled(
                |s| rules::quorum(s).map(drop),
                "^(any|majority|all|[1-9][0-9]*)$",
                Numbers::Within(1, u32::MAX as u64),
            ),
            "Of how many locations: any, majority, all or a number.",
        )
        .or("majority"),
    ],
};
