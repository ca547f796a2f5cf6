//! Whether it was the site that failed, or this machine's own network.

use crate::{
    ask::{Ask, ask},
    rows::{Row, all, row},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::{Backlog, Refused, Site, step::*};

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A check of a site, by a prober whose other place is not to be reached.
fn cut_off(sentence: &'static str, want: &'static str, step: Step, more: fn(Ask) -> Ask) -> Row {
    let (site, place) = (Site::serve([step]), Refused::new());
    let asked = more(ask(&site.url("/")).online_check(&at(place.port())));
    row(sentence, want, (site, place), asked)
}

#[tokio::test]
async fn a_failure_while_no_place_can_be_reached_is_our_own() {
    all([
        cut_off("closed", "unknown prober_offline", close(), |a| a),
        cut_off("reset", "unknown prober_offline", reset(), |a| a),
        cut_off("a timeout", "unknown prober_offline", hold(), |a| a.timeout(200)),
        cut_off("a site that answers", "up", resp(200, "ok"), |a| a),
        cut_off("an answer that is wrong", "down status expect", resp(500, "x"), |a| a),
        cut_off("an answer that is none", "down bad_response wait", send("nonsense\r\n\r\n"), |a| a),
        cut_off("a pattern that is missed", "down body_no_match expect", resp(200, "x"), |a| a.matches("y")),
    ])
    .await;
}

#[tokio::test]
async fn the_message_names_the_places_and_what_was_seen() {
    let (target, [a, b]) = (Refused::new(), [Refused::new(), Refused::new()]);
    let asked = ask(&target.url("/")).online_check(&at(a.port())).online_check(&at(b.port()));
    let want = format!(
        "this machine is offline: none of 127.0.0.1:{}, 127.0.0.1:{} could be connected to; it saw connect_refused: \
         127.0.0.1:{}: connection refused",
        a.port(),
        b.port(),
        target.port()
    );
    let seen = asked.check().await;
    assert_eq!((seen.said.as_str(), seen.message), ("unknown prober_offline", want));
}

/// A site sees a connection later than who made it.
async fn met(site: &Site) {
    testkit::eventually("the place was connected to", Duration::from_secs(20), async || site.connections() > 0).await;
}

#[tokio::test]
async fn one_place_that_can_be_reached_is_enough() {
    let (target, hanging, refused, there) =
        (Refused::new(), Backlog::new(), Refused::new(), Site::serve([resp(200, "ok")]));
    let places = [at(hanging.port()), at(refused.port()), format!("localhost:{}", there.port())];
    let asked = places.iter().fold(ask(&target.url("/")), |asked, place| asked.online_check(place));
    asked.check().await.is("down connect_refused connect");
    met(&there).await;
    assert_eq!(there.connections(), 1);
}

#[tokio::test]
async fn checks_that_fail_together_share_one_answer_and_one_that_succeeds_asks_for_none() {
    let (target, there) = (Refused::new(), Site::serve([resp(200, "ok")]));
    let fine = Site::serve([resp(200, "ok")]);
    let asked = ask(&target.url("/")).online_check(&at(there.port()));
    let prober = asked.prober();
    let up = ask(&fine.url("/"));
    up.check_by(&prober).await.is("up");
    assert_eq!(there.connections(), 0);
    let begun = Instant::now();
    let prober = Arc::new(prober);
    let checks: Vec<_> = (0..50)
        .map(|_| {
            let (asked, prober) = (asked.clone(), Arc::clone(&prober));
            tokio::spawn(async move { asked.check_by(&prober).await.said })
        })
        .collect();
    for check in checks {
        assert_eq!(check.await.unwrap(), "down connect_refused connect");
    }
    met(&there).await;
    let most = 1 + begun.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&there.connections()), "{} in {:?}", there.connections(), begun.elapsed());
}

#[tokio::test]
async fn places_that_say_nothing_are_not_waited_for_long() {
    let (target, hanging) = (Refused::new(), Backlog::new());
    let begun = Instant::now();
    let seen = ask(&target.url("/")).online_check(&at(hanging.port())).check().await;
    seen.is("unknown prober_offline");
    assert!((2..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(seen.look.total.unwrap() < Duration::from_secs(2), "the time is in no phase: {:?}", seen.look);
}

#[tokio::test]
async fn attempts_come_before_doubt() {
    let place_away = Refused::new();
    let site = Site::setup().in_turn(vec![vec![close()], vec![resp(200, "ok")]]);
    let asked = ask(&site.url("/")).retries(1).online_check(&at(place_away.port()));
    assert_eq!(asked.check().await.is("up").look.attempts, 2);
}
