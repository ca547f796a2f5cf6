//! Each pause lands in the phase in which it was made.

use crate::{
    ask::{Ask, ask},
    rows::{Row, all, row},
};
use model::Phase::{self, Body, Tls as InTls, Wait};
use std::{
    thread,
    time::{Duration, Instant},
};
use testkit::{Site, Step, Tls, pki, step::*};

fn answered(sentence: &'static str, steps: impl IntoIterator<Item = Step>) -> Row {
    let site = Site::serve(steps);
    let url = site.url("/");
    row(sentence, "up", site, ask(&url))
}

fn of(site: Site, more: fn(Ask) -> Ask) -> (Site, Ask) {
    let url = site.url("/");
    (site, more(ask(&url)))
}

#[tokio::test]
async fn a_pause_is_in_its_phase() {
    let (tls, over_tls) = of(Site::tls(Tls::with(&pki().good).late(250), [resp(200, "ok")]), |a| a.trust(&pki().root));
    let slow_reader = Site::setup().read_slowly(64 << 10, 2);
    let (slow, upload) = of(slow_reader.serve([resp(200, "ok")]), |a| a.method("POST").body(vec![b'x'; 256 << 10]));
    let length = [("content-length", "10")];
    all([
        answered("before the head", [pause(250), resp(200, "ok")]).takes(Wait, 250),
        answered("inside the head", [send("HTTP/1.1 200 OK\r\n"), pause(250), send("content-length: 0\r\n\r\n")])
            .takes(Wait, 250),
        answered("inside the body", [head(200, &length), send("hello"), pause(250), send("world")]).takes(Body, 250),
        answered("before the end of the connection", [head(200, &[]), send("hello"), pause(250), close()])
            .takes(Body, 250),
        answered("after an interim head", [head(103, &[]), pause(250), resp(200, "ok")]).takes(Wait, 250),
        answered(
            "around interim heads",
            [pause(100), head(103, &[]), pause(100), head(100, &[]), pause(50), resp(200, "ok")],
        )
        .takes(Wait, 250),
        row("before the ServerHello", "up", tls, over_tls).takes(InTls, 250),
        row("while a request is sent", "up", slow, upload).also("it is in wait", |s| s.time(Wait) >= 4 * s.time(Body)),
    ])
    .await;
}

/// For a while we do nothing, from a moment at which the site has not yet answered: it answers soon, and that is its time.
async fn busy_meanwhile(sentence: &str, phase: Phase, asked: Ask) {
    let busy = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        thread::sleep(Duration::from_millis(1500));
    };
    let (seen, ()) = tokio::join!(asked.check(), busy);
    let (took, total) = (seen.is("up").time(phase), seen.look.total.unwrap());
    let range = Duration::from_millis(600)..Duration::from_millis(1300);
    assert!(range.contains(&took) && total < range.end, "{sentence}: {took:?} of {total:?}: {:?}", seen.look.phases);
}

#[tokio::test]
async fn what_lay_there_while_we_were_busy_is_in_no_phase() {
    let length = [("content-length", "10")];
    let site = Site::serve([pause(600), resp(200, "ok")]);
    busy_meanwhile("the head", Wait, ask(&site.url("/"))).await;
    let site = Site::serve([head(200, &length), send("hello"), pause(600), send("world")]);
    busy_meanwhile("the body", Body, ask(&site.url("/"))).await;
    let (_site, asked) = of(Site::tls(Tls::with(&pki().good).late(600), [resp(200, "ok")]), |a| a.trust(&pki().root));
    busy_meanwhile("the handshake", InTls, asked).await;
}

#[tokio::test]
async fn hops_add_up() {
    let site =
        Site::routes([("/", vec![pause(150), redirect(302, "/end")]), ("/end", vec![pause(100), resp(200, "ok")])]);
    let url = site.url("/");
    all([row("150 and 100", "up", site, ask(&url)).takes(Wait, 250)]).await;
}

#[tokio::test]
async fn what_was_not_entered_is_absent() {
    let site = Site::serve([resp(200, "ok")]);
    let phases = ask(&site.url("/")).check().await.is("up").look.phases;
    assert_eq!((phases.dns, phases.tls), (None, None));
    assert!(phases.connect.is_some() && phases.wait.is_some() && phases.transfer.is_some());
    let phases = ask(&site.at("localhost", "/")).check().await.is("up").look.phases;
    assert!(phases.dns.is_some());
}

/// A Unicode word boundary is stepped through, slowly: the search takes many times as long as the transfer.
#[tokio::test]
async fn searching_a_body_is_in_no_phase_and_not_held_against_the_site() {
    let site = Site::serve([resp(200, "pass \u{e9} word ".repeat(100_000))]);
    let begun = Instant::now();
    let seen = ask(&site.url("/")).matches(r"\bnowhere\b").not_matches(r"\bfatal\b").check().await;
    let (all, of_the_site) = (begun.elapsed(), seen.is("down body_no_match expect").look.total.unwrap());
    assert!(of_the_site < all / 2, "{of_the_site:?} of {all:?}");
    let timeout = u64::try_from(((all + of_the_site) / 2).as_millis()).unwrap();
    let hurried = ask(&site.url("/")).matches(r"\bnowhere\b").not_matches(r"\bfatal\b").timeout(timeout);
    hurried.check().await.is("down body_no_match expect");
}
