//! The keys of a target, and so of `defaults`.

use super::{Content, Key, Kind, Names, Numbers, Privacy, Shape, key, kinds::*};
use crate::{rules, units};

/// The keys that every target has for itself.
const OWN: [Key; 3] = [
    key("url", URL, "What is asked: http or https.").required().private(Privacy::Url),
    key("id", ID, "The key of its results. Default: a slug of the name, or of the URL."),
    key("name", NAME, "What people read. Default: the id."),
];

/// Whether the key is one of those that every target has for itself.
pub(crate) fn is_own(key: &str) -> bool {
    OWN.iter().any(|k| k.name == key)
}

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
            Kind::spelled(|s| rules::proxy_url(s).map(drop), "^[Hh][Tt][Tt][Pp]://", Numbers::No),
            "An HTTP proxy, http://[user:password@]host[:port].",
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
        key("cel", Kind::Cel, "An expression in CEL over status, headers, body.text, body.json and time_ms."),
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
