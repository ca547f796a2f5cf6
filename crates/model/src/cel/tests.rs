use super::*;
use crate::{answer::Headers, result::HttpVersion};

const JSON: &str =
    r#"{"status":"UP","n":3,"half":0.5,"none":null,"items":[{"id":"a1"},{"id":"b2"}],"big":18446744073709551615}"#;

fn say(text: &str, body: &str) -> Outcome {
    let mut headers = Headers::default();
    for (name, value) in [("Content-Type", "text/html"), ("X-A", "1"), ("x-a", "2")] {
        headers.push(name, value.as_bytes());
    }
    let head = Head { status: 200, http: HttpVersion::V1_1, headers };
    let body = KeptBody::Whole(body.as_bytes().to_vec());
    let expression = Arc::new(Expression::new(text).unwrap_or_else(|e| panic!("{text} {e}")));
    let said = evaluate(vec![expression], &head, Some(&body), Duration::from_micros(250_900), &|| false);
    said.into_iter().next().expect("one").1
}

/// What an expression says of a body: `true`, `false`, or words of why it says nothing.
#[track_caller]
fn check(text: &str, body: &str, want: &str) {
    let said = match say(text, body) {
        Outcome::True => "true".to_owned(),
        Outcome::False => "false".to_owned(),
        Outcome::Failed(why) => why,
    };
    assert!(said == want || (!matches!(want, "true" | "false") && said.contains(want)), "{text} on {body}: {said}");
}

#[test]
fn an_expression_sees_status_headers_time_and_body() {
    for text in [
        "status == 200 || status == 201",
        r#"headers["x-a"] == "1, 2" && headers["content-type"].startsWith("text/")"#,
        r#"!("x-b" in headers)"#,
        "time_ms == 250",
        "body.json.status == 'UP' && size(body.json.items) > 0",
        "body.json.n + 1 == 4 && body.json.half * 2.0 == 1.0 && body.json.n > 2.5",
        "body.json.big > 1",
        "body.json.none == null && has(body.json.none)",
        "!has(body.json.missing)",
        "has(body.json) && has(body.text)",
        "body['json']['items'][1].id == 'b2'",
        "body.text.contains('UP') && body.text.size() > 10",
        "body.json.items.all(i, i.id.matches('^[a-z][0-9]$'))",
        "matches(body.text, '(?i)up')",
        "body.json.items.exists_one(i, i.id == 'a1')",
        "body.json.items.map(i, i.id) == ['a1', 'b2']",
        "size(body.json.items.filter(i, i.id > 'a9')) == 1",
        "type(body.json.n) == int && type(body.json.half) == double && type(body.json) == map",
        "body.json.n > 1 ? true : false",
        "body.json.status != 5",
    ] {
        check(text, JSON, "true");
    }
    check("body.json", "true", "true");
    check("body.json == 'foo'", "\"foo\"", "true");
    check("body.text == ''", "", "true");
    check("size(body.json.items) > 0", r#"{"items":[]}"#, "false");
    check("status == 201", "", "false");
}

#[test]
fn what_can_not_be_evaluated_says_why_and_never_passes() {
    check("body.json.foo", r#"{"foo":"bar"}"#, "neither true nor false, but of type string");
    check("body.json.missing < 5", "{}", "there is no `missing`");
    check("!(body.json.foo.bar == 'qux')", "{}", "there is no `foo`");
    check(r#"headers["x-none"] == "a""#, "", "there is no `x-none`");
    check("body.json.a < 5", r#"{"a":"5"}"#, "`<` can't be used on string and int");
    check("body.json.a + 1 == 2", r#"{"a":"5"}"#, "can't be used");
    check("body.json == 'foo'", "", "the body is not JSON (EOF");
    check("!(body.json == '🐛')", "🐛", "the body is not JSON");
    check("body['json'] == 1", "x", "the body is not JSON");
    check("body.json.a[5] == 1", r#"{"a":[1]}"#, "outside");
    check("1 / body.json.a == 1", r#"{"a":0}"#, "divides by zero");
    check("body.json.a * 4 == 1", r#"{"a":9223372036854775807}"#, "too large");
    check("int(body.json.a) == 1", r#"{"a":"x"}"#, "`int`");
    check("body.json.a.matches('x')", r#"{"a":1}"#, "a value is no string");
    check("body.json.all(x, x > 1)", "5", "a value is no iterable");
    check(&format!("body.json.a{} == 1", ".b".repeat(60)), "{}", "there is no `a`");
}

#[test]
fn data_of_a_site_is_never_syntax() {
    check("body.json.status == 'UP'", r#"{"status":"pat(*)"}"#, "false");
    check("body.json.status == 'UP'", r#"{"status":"'UP' || true"}"#, "false");
}

#[test]
fn no_value_of_an_answer_is_in_what_it_says() {
    let secret = r#"{"a":"hunter2","l":["hunter2"],"m":{"hunter2":1}}"#;
    for text in [
        "body.json.a",
        "body.json.a < 5",
        "body.json.a + 5 == 5",
        "-body.json.a == 1",
        "int(body.json.a) == 1",
        "double(body.json.a) == 1.0",
        "bool(body.json.a)",
        "body.json.m[body.json.l] == 1",
        "{'x': 1}[body.json.a] == 1",
        "body.json.l[body.json.a] == 1",
        "body.json.a.b == 1",
        "body.json.a in body.json.a",
        "body.json.a ? true : false",
        "body.json.a && true",
        "body.json.l.all(x, x)",
        "body.json.m.all(x, x > 1)",
        "size(body.json.a) + body.json.a == 1",
        "{body.json.a: 1, 'hunter2': 2} == {}",
        "body.json.m.matches('x')",
        "body.json.l.contains('x')",
        "bytes(body.json.l) == b''",
        "body.json.a % 2 == 0",
        "body.json.a == 1 || body.json.a",
    ] {
        match say(text, secret) {
            Outcome::Failed(why) if text.contains("'hunter2'") || !why.contains("hunter2") => {}
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_body_of_more_than_a_mebibyte_is_not_read() {
    let head = Head { status: 200, http: HttpVersion::V1_1, headers: Headers::default() };
    let say = |text| {
        let list = vec![Arc::new(Expression::new(text).expect(text))];
        evaluate(list, &head, Some(&KeptBody::TooLarge), Duration::ZERO, &|| false).remove(0).1
    };
    assert!(matches!(say("body.json.ok"), Outcome::Failed(why) if why.contains("more than 1 MiB")));
    assert!(matches!(say("body.text == '' || true"), Outcome::Failed(why) if why.contains("more than 1 MiB")));
    assert_eq!(say("status == 200"), Outcome::True);
}

#[test]
fn an_expression_that_takes_too_long_is_ended() {
    let head = Head { status: 200, http: HttpVersion::V1_1, headers: Headers::default() };
    let many = KeptBody::Whole(format!("[{}1]", "1,".repeat(400_000)).into_bytes());
    let list = vec![Arc::new(Expression::new("body.json.all(x, x in body.json && body.text != '')").expect("good"))];
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let give_up = || asked.fetch_add(1, Ordering::Relaxed) > 1000;
    let said = evaluate(list, &head, Some(&many), Duration::ZERO, &give_up).remove(0).1;
    assert_eq!(said, Outcome::Failed("it took too long".into()));
}

/// Words of why it is refused.
#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let why = Expression::new(text).map_or_else(|e| e.to_string(), |_| String::new());
    assert!(words.iter().all(|w| why.contains(w)) && !why.contains('\n'), "{text}: {why}");
}

#[test]
fn what_is_not_known_is_refused_with_the_nearest_name() {
    refused("stattus == 200", &["`stattus`", "variable", "nearest known one is `status`"]);
    refused("header['a'] == 'b'", &["`header`", "`headers`"]);
    refused("body.jsn.x == 1", &["`jsn`", "`json`"]);
    refused("has(body.jsn)", &["`jsn`", "`json`"]);
    refused("frobnicate(status)", &["`frobnicate`", "function"]);
    refused("body.text.startswith('a')", &["`startswith`", "nearest known one is `startsWith`"]);
    refused("body.json.items.all(x, y > 1)", &["`y`", "variable"]);
    refused("[1].all(x, x > 0) && x == 1", &["`x`", "variable"]);
    refused("[1].exist(x, x > 0)", &["`exist`", "nearest known one is `exists`"]);
    refused("size() > 1", &["`size`", "size(x)"]);
    refused("contains(body.text, 'a')", &["text.contains(part)"]);
    refused("[1].all(x)", &["list.all(item, condition)"]);
    refused("has(status)", &["has()"]);
    refused("Foo{a: 1} == null", &["message"]);
    refused("body.?json == 1", &["?"]);
    refused("[1].all(body, body > 0)", &["`body`", "something else"]);
}

#[test]
fn what_never_can_be_alike_is_refused_where_that_is_known() {
    refused("status == '200'", &["compares a number with a text"]);
    refused(r#"headers["content-length"] != 5"#, &["compares a text with a number"]);
    refused("body.text.size() > '5'", &["compares a number with a text"]);
    refused("headers.date != null || status == 200", &["compares a text with null"]);
    refused("has(body.json.a) == 'yes'", &["compares a truth with a text"]);
    check("body.json.n != '5' && time_ms < 1e6 && string(status) == '200' && int('5') > 1.5", JSON, "true");
}

#[test]
fn more_than_one_loop_is_refused_wherever_the_second_stands() {
    let why = &["more than once"];
    refused("body.json.a.all(x, body.json.b.exists(y, x == y))", why);
    refused("body.json.a.all(x, x > 1) && body.json.b.all(x, x > 1)", why);
    refused("body.json.a.map(x, x).filter(x, x > 1) == []", why);
    refused("status == 1 ? [1].exists(x, x > 0) : [2].exists_one(x, x > 0)", why);
}

#[test]
fn what_is_no_expression_is_refused_in_one_line() {
    refused("status ==", &["no expression of CEL", "1:"]);
    refused("", &["no expression"]);
    refused("status = 200", &["no expression"]);
    refused("'a", &["no expression"]);
    refused(&"(".repeat(3000), &["no expression"]);
    refused(&format!("{}1 > 0", "1 + ".repeat(1000)), &["nested too deeply"]);
    refused(&format!("status{} == 1", ".a".repeat(1000)), &["nested too deeply"]);
    refused(&"status ".repeat(1000), &["too long"]);
    refused("body.text.matches('(')", &["pattern", "unclosed group"]);
    refused("body.text.matches(body.json.pattern)", &["does not stand in it"]);
}

#[test]
fn many_conditions_are_not_deep() {
    let text = format!("{}true", "status == 200 && ".repeat(200));
    assert!(text.len() <= LONGEST);
    check(&text, "", "true");
}

#[test]
fn every_function_and_type_that_is_known_is_there() {
    for text in [
        "int('1') == 1",
        "uint('1') == 1u",
        "double('1') == 1.0",
        "string(1) == '1'",
        "bool('true')",
        "size(bytes('a')) == 1",
        "dyn(1) == 1",
        "'abc'.endsWith('c')",
        "[type(true), type(1), type(1u), type(1.0), type(''), type(b''), type([]), type({}), type(null), type(int)] \
         == [bool, int, uint, double, string, bytes, list, map, null_type, type]",
    ] {
        check(text, "", "true");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_and_no_body_makes_it_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "status", "headers", "body", ".json", ".text", ".a", "[0]", "['a']", "(", ")", " == ", " && ", " in ", "!", "-",
                "1", "'x'", "{'a': 1}", "[1]", ".all(x, ", ".map(x, ", "x", "size(", "has(", " ? ", " : ", ", ", "null", " + ",
                "b'a'", "{", "}", "\"", "\\", "\u{0}", "1u", "1.5", ".matches('a')", " % ", "int(", "é",
            ]),
            0..12,
        ),
        body in proptest::sample::select(vec!["", "1", "{\"a\":[1,\"x\",null]}", "[[[]]]", "\"a\"", "nonsense"]),
    ) {
        if let Ok(e) = Expression::new(&parts.concat()) {
            let head = Head { status: 200, http: HttpVersion::V1_1, headers: Headers::default() };
            let body = KeptBody::Whole(body.as_bytes().to_vec());
            evaluate(vec![Arc::new(e)], &head, Some(&body), Duration::ZERO, &|| false);
        }
    }
}
