//! Plain values as YAML that is pleasant to read and safe to read back.

use serde_json::{Map, Value};
use std::fmt::Write;

pub(crate) fn write(map: &Map<String, Value>) -> String {
    let mut out = String::new();
    entries(&mut out, map, 0);
    out
}

fn entries(out: &mut String, map: &Map<String, Value>, indent: usize) {
    for (key, value) in map {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                entries(out, inner, indent + 2);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                out.push('\n');
                maps(out, items, indent + 2);
            }
            _ => {
                out.push(' ');
                flow(out, value);
                out.push('\n');
            }
        }
    }
}

fn maps(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        let start = out.len() + indent;
        match item {
            Value::Object(map) if !map.is_empty() => {
                entries(out, map, indent + 2);
                out.replace_range(start..start + 2, "- ");
            }
            other => {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str("- ");
                flow(out, other);
                out.push('\n');
            }
        }
    }
}

fn flow(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                flow(out, item);
            }
            out.push(']');
        }
        Value::String(s) => out.push_str(&text(s)),
        // Null, booleans, numbers, and what is empty, are the same in JSON; writing to a string can't fail.
        other => write!(out, "{other}").unwrap_or_default(),
    }
}

/// Without quotes only where no reader of YAML could take it for something else.
fn text(s: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | '+' | '%');
    let begins_well = s.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.iter().any(|w| w.eq_ignore_ascii_case(s));
    if begins_well
        && s.chars().all(safe)
        && !is_word
        && s.parse::<f64>().is_err()
        && !s.starts_with("0x")
        && !s.starts_with("0o")
    {
        return s.to_owned();
    }
    let quoted = Value::from(s).to_string();
    // JSON leaves these as they are; YAML readers differ on them.
    quoted
        .replace('\u{7f}', "\\x7f")
        .replace('\u{85}', "\\x85")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_reads_like_a_file_that_a_person_wrote() {
        let value = json!({
            "location": "home", "port": 8080, "ok": true, "none": {}, "empty": [],
            "web": {"listen": "127.0.0.1:8080", "title": "a \"b\" $"},
            "targets": [{"url": "https://h/?a", "status": ["200-299", "304"]}, {"id": "1"}],
        });
        let want = r#"location: home
port: 8080
ok: true
none: {}
empty: []
web:
  listen: "127.0.0.1:8080"
  title: "a \"b\" $"
targets:
  - url: "https://h/?a"
    status: [200-299, "304"]
  - id: "1"
"#;
        let Value::Object(map) = value else { panic!("a map") };
        assert_eq!(write(&map), want);
    }
}
