//! What is expected of an answer, and which miss is the reason.

use crate::{
    ask::{Ask, ask},
    rows::{Row, all, row},
};
use testkit::{Site, Step, step::*};

fn answered(sentence: &'static str, want: &'static str, step: Step, more: fn(Ask) -> Ask) -> Row {
    let site = Site::serve([step]);
    let url = site.url("/");
    row(sentence, want, site, more(ask(&url)))
}

fn page() -> Step {
    resp_with(200, &[("content-type", "text/html"), ("x-a", "1"), ("X-A", "2")], "hello world")
}

#[tokio::test]
async fn an_answer_is_held_against_everything_that_is_expected() {
    all([
        answered("the status", "down status expect", resp(500, "x"), |a| a),
        answered("the status before a header", "down status expect", resp(500, "x"), |a| a.expect_header("x-a", ".")),
        answered("one of several statuses", "up", resp(404, "x"), |a| a.status(&[200..=200, 404..=404])),
        answered("a header", "up", page(), |a| a.expect_header("content-type", "^text/html")),
        answered("a header that came twice", "up", page(), |a| a.expect_header("x-a", "^2$")),
        answered("a header that has another value", "down header expect", page(), |a| {
            a.expect_header("content-type", "json")
        }),
        answered("a header that is not there", "down header expect", page(), |a| a.expect_header("x-b", "")),
        answered("a header before the body", "down header expect", page(), |a| {
            a.expect_header("x-b", "").matches("no")
        }),
        answered("the body", "up", page(), |a| a.matches("wor.d")),
        answered("the body without it", "down body_no_match expect", page(), |a| a.matches("moon")),
        answered("the body with what it must not have", "down body_match expect", page(), |a| a.not_matches("world")),
        answered("the missing before the forbidden", "down body_no_match expect", page(), |a| {
            a.matches("moon").not_matches("world")
        }),
        answered("the body as a warning", "degraded body_no_match expect", page(), |a| a.warn_matches("moon")),
        answered("the time", "up", page(), |a| a.within(10_000)),
        answered("an expression", "up", page(), |a| {
            a.cel(r#"headers["x-a"] == "1, 2" && body.text == "hello world" && time_ms < 10000"#)
        }),
        answered("an expression that is false", "down cel expect", page(), |a| a.cel("status == 201")),
        answered("an expression that can't be evaluated", "down cel expect", page(), |a| a.cel("body.json.x == 1")),
        answered("an expression that is no condition", "down cel expect", page(), |a| a.cel("status")),
        answered("the body before the expression", "down body_match expect", page(), |a| {
            a.not_matches("world").cel("status == 201")
        }),
        answered("an expression as a warning", "degraded cel expect", page(), |a| a.warn_cel("status == 201")),
        answered("both expressions", "up", page(), |a| a.cel("status == 200").warn_cel("size(body.text) == 11")),
    ])
    .await;
}

#[tokio::test]
async fn an_answer_may_be_too_slow() {
    let slow = |sentence, want, steps: [Step; 2], more: fn(Ask) -> Ask| {
        let site = Site::serve(steps);
        let url = site.url("/");
        row(sentence, want, site, more(ask(&url)))
    };
    let late = |status| [pause(200), resp(status, "hello")];
    all([
        slow("for us", "down slow expect", late(200), |a| a.within(100)),
        slow("for comfort", "degraded slow expect", late(200), |a| a.warn_within(100).within(10_000)),
        slow("and not true", "down cel expect", late(200), |a| a.within(100).cel("status == 201")),
        slow("and wrong", "down status expect", late(500), |a| a.within(100)),
        slow("and without the pattern", "down body_no_match expect", late(200), |a| a.within(100).matches("moon")),
    ])
    .await;
}

#[tokio::test]
async fn a_message_says_what_was_expected_and_what_came() {
    for (step, more, want) in [
        (resp(500, "x"), (|a| a) as fn(Ask) -> Ask, "status 500, expected 200-299"),
        (page(), |a| a.expect_header("content-type", "json"), r#"header content-type is "text/html", expected /json/"#),
        (page(), |a| a.matches("moon"), "body does not match /moon/ (11 bytes read)"),
        (page(), |a| a.not_matches("world"), "body matches /world/, which it must not (11 bytes read)"),
        (page(), |a| a.cel("status == 201"), "cel is false: status == 201"),
        (
            page(),
            |a| a.cel("status == 201 ||\n  body.json.ok"),
            "cel can't be evaluated, for the body is not JSON (expected value at line 1 column 1): status == 201 ||   body.json.ok",
        ),
    ] {
        let site = Site::serve([step]);
        assert_eq!(more(ask(&site.url("/"))).check().await.message, want);
    }
}

#[tokio::test]
async fn an_expression_reads_a_body_of_a_mebibyte_and_no_more() {
    let json = |size: usize| format!(r#"{{"ok":true,"pad":"{}"}}"#, "x".repeat(size - 20));
    let mib = 1 << 20;
    all([
        answered("all of it", "up", resp(200, json(mib)), |a| a.cel("body.json.ok")),
        answered("a byte more", "down cel expect", resp(200, json(mib + 1)), |a| a.cel("body.json.ok")),
        answered("a byte more that nobody asks for", "up", resp(200, json(mib + 1)), |a| a.cel("status == 200")),
    ])
    .await;
}

#[tokio::test]
async fn the_work_of_an_expression_is_in_no_phase() {
    let list = format!("[{}1]", "1,".repeat(100_000));
    let site = Site::serve([resp(200, list)]);
    let ask = ask(&site.url("/")).cel("body.json.all(x, x in [5, 4, 3, 2, 1]) && time_ms >= 0");
    let begun = std::time::Instant::now();
    let seen = ask.check().await;
    let (took, total) = (begun.elapsed(), seen.look.total.unwrap());
    seen.is("up");
    assert!(took > total + std::time::Duration::from_millis(20), "{took:?} with the work, {total:?} without");
}
