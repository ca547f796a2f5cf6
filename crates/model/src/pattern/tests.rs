use super::*;
use proptest::prelude::*;

/// Which of the patterns match the body, cut at the given places.
fn search(patterns: &[&str], body: &[u8], cuts: &[usize]) -> Vec<bool> {
    let texts: Vec<String> = patterns.iter().map(|&s| s.to_owned()).collect();
    let mut search = Search::new(Arc::new(Patterns::new(&texts).expect("good patterns")));
    let mut from = 0;
    for &cut in cuts {
        let cut = cut.clamp(from, body.len());
        search.feed(&body[from..cut]);
        from = cut;
    }
    search.feed(&body[from..]);
    let matched = search.finish();
    (0..patterns.len()).map(|i| matched.contains(i)).collect()
}

/// The same asked of the `regex` crate on the whole body.
fn whole(patterns: &[&str], body: &[u8]) -> Vec<bool> {
    patterns.iter().map(|p| regex::bytes::Regex::new(p).expect("a good pattern").is_match(body)).collect()
}

/// Every chunking of a short body, and the answers of the `regex` crate.
fn check(pattern: &str, body: &str) {
    let (body, want) = (body.as_bytes(), whole(&[pattern], body.as_bytes()));
    for cut in 0..=body.len() {
        assert_eq!(search(&[pattern], body, &[cut]), want, "{pattern} on {body:?} cut at {cut}");
    }
    let every: Vec<usize> = (0..body.len()).collect();
    assert_eq!(search(&[pattern], body, &every), want, "{pattern} on {body:?} byte by byte");
}

#[test]
fn a_match_across_chunks_is_found() {
    check("needle", "one needle two");
    check("needle", "one needl two");
    check("(?i)NEEDLE", "a nEeDlE");
    check("n[aeiou]+dle", "neeeeedle");
}

#[test]
fn anchors_mean_the_whole_body() {
    check("^one", "one two");
    check("^two", "one two");
    check("two$", "one two");
    check("one$", "one two");
    check("^$", "");
    check("(?m)^two$", "one\ntwo\nthree");
    check("(?m)^wo$", "one\ntwo\nthree");
    check("(?R)(?m)^two$", "one\r\ntwo\r\n");
    check(r"\Aone\z", "one");
}

#[test]
fn word_boundaries_do_not_hold_between_chunks() {
    check(r"(?-u:\b)cat(?-u:\b)", "concatenate");
    check(r"(?-u:\b)cat(?-u:\b)", "a cat sat");
    check(r"\bcat\b", "concatenate");
    check(r"\bcat\b", "a cat sat");
    check(r"\bcat\b", "écat cat");
    check(r"\bcat\b", "écat");
    check(r"\bcat\b", "caté");
    check(r"\Bcat", "écat");
    check(r"\b{start}café\b{end}", "un café noir");
    check(r"\b{start-half}é", "aé é");
}

#[test]
fn all_of_a_targets_patterns_in_one_pass() {
    let patterns = ["first", "^first", "last$", "absent", ".", "second|third"];
    let body = b"first and third, at last";
    assert_eq!(search(&patterns, body, &[3, 9]), whole(&patterns, body));
}

#[test]
fn a_dot_is_one_character_and_other_bytes_need_the_flag() {
    check("caf. est", "le café est fermé");
    assert_eq!(search(&["(?-u:caf. ferm.)", "caf. ferm"], b"caf\xe9 ferm\xe9", &[4]), [true, false]);
}

#[test]
fn a_wrong_pattern_is_named_with_its_place() {
    let bad = Patterns::new(&["fine".into(), "(open".into()]).expect_err("a group is not closed");
    assert_eq!((bad.index, bad.message.as_str()), (1, "unclosed group"));
    let huge = Patterns::new(&["((a{1000}){1000}){100}".into()]).expect_err("too large");
    assert!(huge.message.contains("size"), "{huge}");
}

#[test]
fn headers_are_matched_as_bytes() {
    let p = HeaderPattern::new("^text/html").expect("good");
    assert!(p.is_match(b"text/html; charset=x") && !p.is_match(b"TEXT/HTML"));
    assert!(HeaderPattern::new("(?-u:caf.)").expect("good").is_match(b"caf\xe9"));
}

const BYTES: &[&[u8]] = &[b"a", b"b", b"\n", b" ", "é".as_bytes(), b"\xC3", b"\xFF", b"ab"];

fn a_pattern() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("é".to_owned()),
        Just("\\n".to_owned()),
        Just(".".to_owned()),
        Just("[ab]".to_owned()),
        Just("\\w".to_owned()),
        Just("(?-u:\\xC3)".to_owned()),
        Just("^".to_owned()),
        Just("$".to_owned()),
        Just("(?m:^)".to_owned()),
        Just("(?m:$)".to_owned()),
        Just("\\b".to_owned()),
        Just("\\B".to_owned()),
        Just("(?-u:\\b)".to_owned()),
        Just("ab".to_owned()),
    ];
    atom.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|v| v.concat()),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(?:{a}|{b})")),
            (inner, prop_oneof![Just("*"), Just("+"), Just("?"), Just("{2}")]).prop_map(|(a, r)| format!("(?:{a}){r}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn chunked_is_the_same_as_whole(
        patterns in proptest::collection::vec(a_pattern(), 1..4),
        body in proptest::collection::vec(proptest::sample::select(BYTES), 0..24),
        cuts in proptest::collection::vec(0usize..40, 0..6),
    ) {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let body = body.concat();
        let mut cuts = cuts;
        cuts.sort_unstable();
        prop_assert_eq!(search(&patterns, &body, &cuts), whole(&patterns, &body), "{:?} on {:?}", patterns, body);
    }
}
