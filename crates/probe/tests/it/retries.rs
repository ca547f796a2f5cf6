//! Further attempts: each afresh, and the last one is the result.

use crate::{
    ask::{Ask, ask},
    rows::{all, row},
};
use model::Phase::Wait;
use testkit::{Refused, Site, Step, step::*};

fn in_turn(scripts: Vec<Vec<Step>>) -> (Site, Ask) {
    let site = Site::setup().keep_alive().in_turn(scripts);
    let asked = ask(&site.url("/"));
    (site, asked)
}

#[tokio::test]
async fn an_answer_that_is_up_is_not_asked_for_twice() {
    let (site, asked) = in_turn(vec![vec![resp(200, "ok")]]);
    assert_eq!(asked.retries(3).check().await.is("up").look.attempts, 1);
    assert_eq!(site.requests().len(), 1);
}

#[tokio::test]
async fn a_degraded_one_is_not_asked_for_twice_either() {
    let (site, asked) = in_turn(vec![vec![resp(200, "ok")]]);
    let seen = asked.retries(3).warn_matches("moon").check().await;
    assert_eq!((seen.is("degraded body_no_match expect").look.attempts, site.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_failure_is_looked_at_again_on_a_fresh_connection() {
    let (site, asked) = in_turn(vec![vec![resp(500, "x")], vec![close()], vec![resp(200, "ok")]]);
    assert_eq!(asked.retries(3).check().await.is("up").look.attempts, 3);
    let connections: Vec<_> = site.requests().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}

#[tokio::test]
async fn when_no_attempt_is_left_the_last_one_is_the_result() {
    let (site, asked) = in_turn(vec![vec![close()], vec![resp(503, "x")], vec![resp(500, "x")]]);
    let seen = asked.retries(2).check().await;
    assert_eq!((seen.is("down status expect").look.attempts, seen.look.status), (3, Some(500)));
    assert_eq!(site.requests().len(), 3);
    let refused = Refused::new();
    let seen = ask(&refused.url("/")).retries(2).check().await;
    assert_eq!(seen.is("down connect_refused connect").look.attempts, 3);
}

#[tokio::test]
async fn times_are_those_of_the_last_attempt() {
    // Every second request is answered, and sooner.
    let site = Site::answer(|request| {
        if request.number.is_multiple_of(2) {
            vec![pause(400), resp(500, "x")]
        } else {
            vec![pause(100), resp(200, "ok")]
        }
    });
    let url = site.url("/");
    all([row("100 ms", "up", site, ask(&url).retries(1)).takes(Wait, 100).also("two", |s| s.look.attempts == 2)]).await;
}

#[tokio::test]
async fn every_attempt_has_the_whole_timeout() {
    let site = Site::serve([hold()]);
    let url = site.url("/");
    let asked = ask(&url).retries(1).timeout(200);
    all([row("200 ms", "down timeout wait", site, asked).takes(Wait, 200).also("two", |s| s.look.attempts == 2)]).await;
}

#[tokio::test]
async fn what_an_attempt_saw_does_not_stick_to_the_next() {
    let led = vec![redirect(302, "/end")];
    let (_site, asked) = in_turn(vec![led, vec![resp(500, "hello")], vec![close()]]);
    let look = asked.retries(1).check().await.is("down closed wait").look.clone();
    let left = (look.status, look.redirects, look.final_url, look.body_bytes, look.phases.transfer);
    assert_eq!(left, (None, 0, None, None, None));
}
