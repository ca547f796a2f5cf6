//! Whatever the text, the loader answers.

use crate::helper::Folder;
use proptest::prelude::*;

const GOOD: [&str; 3] = [
    include_str!("contract.yaml"),
    include_str!("../../src/starter.yaml"),
    include_str!("../../../../lapwing.sample.yaml"),
];

const PIECES: [&str; 40] = [
    "targets:",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "url: ",
    "http://h/",
    "[",
    "]",
    "{",
    "}",
    ": ",
    ", ",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "|\n",
    ">-\n",
    "? ",
    "<<: ",
    "${A}",
    "${",
    "$$",
    "null",
    "~",
    "#",
    "\t",
    "é",
    "\u{feff}",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "expect: ",
    "5s",
    "200-299",
    "\u{0}",
    "\\x",
];

/// Loads, shows what it can, and checks that a mistake has a place.
fn load(text: &str) {
    let folder = Folder::new(text).variables(&[("A", "1")]);
    match config::parse(&folder.path("lapwing.yaml"), &folder.environment) {
        Ok(parsed) => assert!(!config::show(&parsed).is_empty()),
        Err(mistakes) => {
            assert!(!mistakes.list.is_empty());
            assert!(mistakes.list.iter().all(|m| !m.source.is_empty() && !m.message.is_empty()), "{mistakes}");
            assert!(!mistakes.to_string().contains("a bug of Lapwing"), "{mistakes}\n{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_good_config_with_a_change_never_panics(
        which in 0..GOOD.len(), at in 0.0..1.0f64, cut in 0..40usize, piece in 0..PIECES.len()
    ) {
        let text: Vec<char> = GOOD[which].chars().collect();
        let at = (at * text.len() as f64) as usize;
        let rest = text.iter().skip(at + cut);
        let changed: String = text[..at].iter().copied().chain(PIECES[piece].chars()).chain(rest.copied()).collect();
        load(&changed);
    }

    #[test]
    fn pieces_of_yaml_never_panic(pieces in prop::collection::vec(0..PIECES.len(), 0..60)) {
        load(&pieces.into_iter().map(|i| PIECES[i]).collect::<String>());
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}") {
        load(&text);
    }

    #[test]
    fn any_value_of_any_key_never_panics(value in "\\PC{0,40}", key in prop::sample::select(vec![
        "id", "name", "interval", "timeout", "retries", "locations", "labels", "request", "expect", "incident", "enabled",
    ])) {
        let quoted = serde_json::Value::from(value).to_string();
        load(&format!("targets:\n  - {{url: 'http://h/', {key}: {quoted}}}\n  - {quoted}\n"));
    }
}
