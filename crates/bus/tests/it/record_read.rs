//! What a reader accepts as a result: each clause of the contract's paragraph, in its order.

use crate::results::{DUE, down};
use bus::record::{decode, encode};
use model::{
    UnixMs,
    batch::{Content, DeadReason},
    record::Record,
};
use proptest::prelude::*;

/// A day before which DUE must not be.
const NOW: UnixMs = DUE;

const BASE: &str = r#""v":1,"target":"t","location":"home","due_at":"2026-11-23T10:00:20.732Z","verdict":"up","interval_ms":30000,"started_at":"2026-11-23T10:00:20.736Z""#;

/// What is in place of a field of the least record that is a result; "" leaves the field out.
fn with(key: &str, json: &str) -> String {
    let others = BASE.split(',').filter(|field| !field.starts_with(&format!("\"{key}\":")));
    let field = if json.is_empty() { String::new() } else { format!(",\"{key}\":{json}") };
    format!("{{{}{field}}}", others.collect::<Vec<_>>().join(","))
}

/// In one word, what a record is.
fn judged(value: &[u8]) -> &'static str {
    match decode(value, NOW) {
        Content::Result(_) => "result",
        Content::UnknownKind => "unknown_kind",
        Content::Dead(letter) => {
            assert_eq!(letter.value, value, "a dead letter is kept byte for byte");
            assert!(!letter.message.is_empty() && !letter.message.contains('\n'), "{}", letter.message);
            letter.reason.word()
        }
    }
}

#[track_caller]
fn check(want: &str, value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    assert_eq!(judged(value), want, "{}", String::from_utf8_lossy(&value[..value.len().min(300)]));
}

#[track_caller]
fn record(value: &str) -> Record {
    match decode(value.as_bytes(), NOW) {
        Content::Result(record) => (**record).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_least_record_is_a_result() {
    check("result", with("", ""));
    let r = record(&with("", ""));
    assert_eq!((r.name, r.attempts, r.tls, r.status), (None, None, None, None));
    assert_eq!((r.due_at, r.started_at, r.interval_ms), (DUE, Some(UnixMs(DUE.0 + 4)), Some(30_000)));
}

#[test]
fn what_is_no_json() {
    for value in [
        "",
        " ",
        "\u{feff}{}",
        "{",
        "{}{}",
        "{} x",
        "nul",
        "{'v':1}",
        "{\"v\":1,}",
        "[1,]",
        "{\"v\" 1}",
        "{v:1}",
        "{\"v\":01}",
        "{\"v\":1.}",
        "{\"v\":.5}",
        "{\"v\":+1}",
        "{\"v\":1e}",
        "{\"v\":-}",
        "{\"v\":NaN}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u00é\"}",
        "{\"a\":\"open}",
        "\u{a0}{}",
    ] {
        check("not_json", value);
    }
    check("not_json", b"{\"a\":\"\xff\"}");
    check("not_json", b"{\"a\":\"\xed\xa0\x80\"}"); // a surrogate in UTF-8
}

#[test]
fn lone_surrogates_are_no_json_and_pairs_are_text() {
    for lone in
        [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\n", r"\ud800\ud800", r"\udc00\ud800", r"\ud83d\u0041", r"\uD800\"]
    {
        check("not_json", with("name", &format!("\"{lone}\"")));
        check("not_json", with("unknown", &format!("[{{\"x\":\"{lone}\"}}]")));
        check("not_json", with("unknown", &format!("{{\"{lone}\":1}}")));
    }
    assert_eq!(record(&with("name", r#""\uD83D\ude00\u00e9\/\t""#)).name.as_deref(), Some("😀é/\t"));
}

#[test]
fn a_key_given_twice_is_no_json_at_any_depth_and_however_it_is_written() {
    check("not_json", r#"{"v":1,"v":1}"#);
    check("not_json", r#"{"v":1,"\u0076":1}"#);
    check("not_json", with("unknown", r#"{"a":1,"a":null}"#));
    check("not_json", with("unknown", r#"[[{"b":{"":1,"":2}}]]"#));
    check("not_json", with("tls", r#"{"issuer":null,"issuer":"x"}"#));
    check("result", with("unknown", r#"{"a":{"a":{"a":1}},"A":1,"b":1}"#));
    let many = |last: &str| {
        let keys: Vec<_> = (0..5000).map(|n| format!("\"k{n}\":0")).collect();
        with("unknown", &format!("{{{},{last}:0}}", keys.join(",")))
    };
    check("result", many("\"other\""));
    check("not_json", many("\"k7\""));
    check("not_json", many("\"k4999\""));
}

#[test]
fn nesting_is_json_up_to_128() {
    let nested = |depth: usize, open: &str, close: &str| format!("{}0{}", open.repeat(depth), close.repeat(depth));
    check("result", with("unknown", &nested(127, "[", "]"))); // the record itself is the first level
    check("not_json", with("unknown", &nested(128, "[", "]")));
    check("result", with("unknown", &nested(127, "{\"a\":", "}")));
    check("not_json", with("unknown", &nested(128, "{\"a\":", "}")));
    check("not_json", "[".repeat(1_000_000));
}

#[test]
fn json_that_is_no_object_is_no_result() {
    for value in ["null", "1", "\"text\"", "[]", "true", "[{\"v\":2}]"] {
        check("not_a_result", value);
    }
}

#[test]
fn above_version_one_is_newer_before_all_else() {
    for v in ["2", "2147483648", "1.5", "1e2", "99999999999999999999999999"] {
        check("newer_version", with("v", v));
    }
    check("newer_version", r#"{"v":2}"#);
    check("newer_version", r#"{"v":2,"kind":"heartbeat"}"#);
    check("newer_version", r#"{"v":2,"target":17,"due_at":"soon"}"#);
    check("not_json", r#"{"v":2,"v":2}"#);
    for v in ["", "null", "0", "-1", "\"1\"", "\"2\"", "true", "1.0", "[2]"] {
        check("not_a_result", with("v", v));
    }
}

#[test]
fn a_kind_that_we_do_not_know_is_skipped_before_its_fields_are_judged() {
    for kind in ["\"heartbeat\"", "\"\"", "1", "{}", "false"] {
        check("unknown_kind", with("kind", kind));
    }
    check("unknown_kind", r#"{"kind":"heartbeat","target":7}"#);
    check("result", with("kind", "null"));
}

#[test]
fn what_must_be_there() {
    for key in ["v", "target", "location", "due_at", "verdict", "interval_ms", "started_at"] {
        check("not_a_result", with(key, ""));
        check("not_a_result", with(key, "null"));
    }
    for key in ["interval_ms", "started_at"] {
        let late = with(key, "").replace('}', r#","reason":"late"}"#);
        check("result", late);
        let other = with(key, "").replace('}', r#","reason":"stopping"}"#);
        check("not_a_result", other);
    }
}

#[test]
fn ids_follow_their_grammar() {
    for key in ["target", "location"] {
        for good in ["a", "0", "a.b_c-d", &"x".repeat(128)] {
            check("result", with(key, &format!("\"{good}\"")));
        }
        for bad in ["", "A", "-a", "a b", "é", &"x".repeat(129)] {
            check("not_a_result", with(key, &format!("\"{bad}\"")));
        }
        check("not_a_result", with(key, "1"));
    }
}

#[test]
fn verdicts_are_known_and_reasons_need_not_be() {
    for verdict in ["up", "degraded", "down", "unknown"] {
        check("result", with("verdict", &format!("\"{verdict}\"")));
    }
    for verdict in ["\"UP\"", "\"\"", "\"late\"", "1"] {
        check("not_a_result", with("verdict", verdict));
    }
    assert_eq!(record(&with("reason", "\"eclipse\"")).reason.as_deref(), Some("eclipse"));
    assert_eq!(record(&with("phase", "\"umbra\"")).phase.as_deref(), Some("umbra"));
}

#[test]
fn times_have_one_form() {
    for key in ["due_at", "started_at"] {
        for bad in ["2026-11-23T10:00:20Z", "2026-11-23T10:00:20.732+00:00", "2026-11-31T10:00:20.732Z", "now", ""] {
            check("not_a_result", with(key, &format!("\"{bad}\"")));
        }
        check("not_a_result", with(key, "1795428020732"));
    }
    check("not_a_result", with("tls", r#"{"not_after":"2026-11-23"}"#));
    check("result", with("tls", r#"{"not_after":"9999-12-31T23:59:59.000Z","not_before":"1950-01-01T00:00:00.000Z"}"#));
}

#[test]
fn due_at_is_from_1970_to_a_day_ahead() {
    for (due, want) in [
        ("1970-01-01T00:00:00.000Z", "result"),
        ("1969-12-31T23:59:59.999Z", "not_a_result"),
        ("2026-11-24T10:00:20.732Z", "result"),
        ("2026-11-24T10:00:20.733Z", "not_a_result"),
    ] {
        check(want, with("due_at", &format!("\"{due}\"")));
    }
    check("result", with("started_at", "\"9000-01-01T00:00:00.000Z\""));
}

#[test]
fn whole_numbers_have_their_range() {
    for key in [
        "interval_ms",
        "attempts",
        "redirects",
        "dns_us",
        "connect_us",
        "tls_us",
        "wait_us",
        "transfer_us",
        "total_us",
        "body_bytes",
        "rtt_us",
        "retransmits",
        "lag_us",
    ] {
        for good in ["0", "2147483647"] {
            check("result", with(key, good));
        }
        for bad in ["-1", "2147483648", "1.5", "1e2", "99999999999999999999", "\"1\"", "true", "[]"] {
            check("not_a_result", with(key, bad));
        }
        if key != "interval_ms" {
            check("result", with(key, "null"));
        }
    }
    for (status, want) in [("100", "result"), ("999", "result"), ("99", "not_a_result"), ("1000", "not_a_result")] {
        check(want, with("status", status));
    }
}

#[test]
fn texts_are_free_of_nul_and_at_most_64_kib() {
    let longest = "x".repeat(64 << 10);
    let keys = ["name", "group", "url", "reason", "phase", "message", "http", "peer", "final_url"];
    for key in keys {
        check("result", with(key, &format!("\"{longest}\"")));
        check("not_a_result", with(key, &format!("\"{longest}x\"")));
        check("not_a_result", with(key, r#""a\u0000b""#));
        check("not_a_result", with(key, "5"));
    }
    check("not_a_result", with("name", &format!("\"{}\"", "é".repeat((32 << 10) + 1))));
    for key in ["version", "issuer", "subject"] {
        check("not_a_result", with("tls", &format!("{{\"{key}\":\"{longest}x\"}}")));
        check("not_a_result", with("tls", &format!("{{\"{key}\":\"\\u0000\"}}")));
    }
}

#[test]
fn unknown_fields_are_not_judged() {
    check("result", with("unknown", &format!("\"{}\"", "x".repeat(70_000))));
    check("result", with("unknown", r#""\u0000""#));
    check("result", with("unknown", "-1.5e9999"));
    check("result", with("\\u0000", "1"));
    check("result", with("tls", r#"{"unknown":[1,{"x":-0}]}"#));
    check("not_a_result", with("tls", "[]"));
    check("not_a_result", with("tls", "\"1.3\""));
    check("result", with("tls", "null"));
}

#[test]
fn white_space_around_is_fine() {
    check(
        "result",
        format!(" \t\r\n{} \n", with("", "").replace(',', " ,\n").replace(':', " : ").replace(" : 00 : 20", ":00:20")),
    );
}

#[test]
fn a_schema_registrys_prefix_is_read_behind() {
    let prefixed = |prefix: &[u8], json: &str| [prefix, json.as_bytes()].concat();
    check("result", prefixed(b"\0\0\0\0\x07", &with("", "")));
    check("result", prefixed(b"\0{{{{", &with("", "")));
    check("newer_version", prefixed(b"\0\0\0\0\x07", r#"{"v":2}"#));
    for no_json in [&b"\0"[..], b"\0\0\0\0", b"\0\0\0\0\x07", b"\0\0\0\0\x07\0\0\0\0\x07{}"] {
        check("not_json", no_json);
    }
}

#[test]
fn a_message_names_the_field_and_never_the_value() {
    for (key, json) in [("url", "\"hunter2\\u0000\""), ("status", "\"hunter2\""), ("target", "\"hunter2 \"")] {
        let Content::Dead(letter) = decode(with(key, json).as_bytes(), NOW) else { panic!("{key}") };
        assert_eq!(letter.reason, DeadReason::NotAResult);
        assert!(
            letter.message.contains(&format!("`{key}`")) && !letter.message.contains("hunter2"),
            "{}",
            letter.message
        );
    }
}

/// Texts that are nearly JSON.
fn near_json() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[\\[\\]{}:,\" \\\\]",
        "-?[0-9]{1,3}(\\.[0-9]{0,2})?(e[+-]?[0-9]{0,2})?",
        "\"[a-c]{0,2}\":",
        "\"([a-z]|\\\\[nu\"]|\\\\u[0-9a-f]{4}){0,3}\"",
        "(true|false|null|tru)",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        judged(&bytes);
    }

    #[test]
    fn a_damaged_record_does_not_make_the_reader_panic(at in 0usize..700, byte in any::<u8>(), cut in 0usize..700) {
        let mut value = Vec::new();
        encode(&down(), &mut value);
        if let Some(b) = value.get_mut(at) { *b = byte }
        value.truncate(cut);
        judged(&value);
    }

    /// `serde_json` is the second opinion: what it refuses is refused (but for numbers that it can't hold), and what it takes is
    /// taken, but for lone surrogates and repeated keys.
    #[test]
    fn two_parsers_agree_on_what_is_json(text in near_json()) {
        let ours = judged(text.as_bytes()) != "not_json";
        match serde_json::from_str::<Unique>(&text) {
            Ok(_) => prop_assert!(ours, "refused: {}", text),
            Err(e) => prop_assert!(!ours || e.to_string().contains("number out of range"), "taken: {} ({})", text, e),
        }
    }
}

/// Any JSON, for `serde_json`, with every key of an object there once.
struct Unique;

impl<'de> serde::Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unique)
    }
}

impl<'de> serde::de::Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Self>()?;
            if !seen.insert(key) {
                return Err(serde::de::Error::custom("a key twice"));
            }
        }
        Ok(self)
    }
}
