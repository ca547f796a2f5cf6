//! From an address to a connection.

use crate::{
    ask::ask,
    rows::{all, row},
};
use model::Phase::Connect;
use testkit::{Backlog, Refused, Site, has_ipv6, step::*};

#[tokio::test]
async fn a_connection_that_fails_says_how() {
    let refused = Refused::new();
    let url = refused.url("/");
    let hanging = Backlog::new();
    let hangs = hanging.url("/");
    all([
        row("nobody listens", "down connect_refused connect", refused, ask(&url))
            .also("at once", |s| s.look.rtt.is_none()),
        row(
            "no route leads to a broadcast address",
            "down connect_unreachable connect",
            (),
            ask("http://127.255.255.255/"),
        ),
        row("a SYN gets no answer", "down timeout connect", hanging, ask(&hangs).timeout(300)).takes(Connect, 300),
    ])
    .await;
}

#[tokio::test]
async fn a_message_names_the_address_that_was_tried() {
    let refused = Refused::new();
    let seen = ask(&refused.url("/")).check().await;
    assert_eq!(seen.message, format!("127.0.0.1:{}: connection refused", refused.port()));
    assert_eq!(seen.look.peer, Some(([127, 0, 0, 1], refused.port()).into()));
    let hanging = Backlog::new();
    let seen = ask(&hanging.url("/")).timeout(100).check().await;
    assert_eq!(seen.message, format!("no connection to 127.0.0.1:{} within 100.0 ms", hanging.port()));
}

#[tokio::test]
async fn a_connection_that_takes_the_second_syn_is_slow_in_connect_and_counts_a_retransmission() {
    let hanging = Backlog::new();
    let url = hanging.url("/");
    let check = tokio::spawn(async move { ask(&url).check().await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let _site = hanging.release([resp(200, "ok")]);
    let seen = check.await.unwrap();
    seen.is("up");
    assert!(seen.time(Connect).as_millis() >= 900, "{:?}", seen.look.phases);
    assert!(seen.look.retransmits.unwrap() >= 1, "{:?}", seen.look);
}

/// Names below `localhost` are both loopback addresses, IPv6 first, on every machine.
const BOTH: &str = "both.localhost";

#[tokio::test]
async fn a_name_is_refused_when_all_of_its_addresses_refuse() {
    let refused = Refused::new();
    ask(&refused.at(BOTH, "/")).check().await.is("down connect_refused connect");
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let site = Site::serve([resp(200, "ok")]);
    let (url, address) = (site.at(BOTH, "/"), site.address());
    all([row("at once", "up", site, ask(&url))
        .takes(Connect, 0)
        .also("the other one", move |s| s.look.peer == Some(address))])
    .await;
}

#[tokio::test]
async fn an_address_that_hangs_is_not_waited_for() {
    if !has_ipv6() {
        return;
    }
    let hanging = Backlog::on("::1");
    let site = Site::setup().port(hanging.port()).serve([resp(200, "ok")]);
    let seen = ask(&site.at(BOTH, "/")).check().await;
    assert_eq!(seen.is("up").look.peer, Some(site.address()));
    assert!((250..5000).contains(&seen.time(Connect).as_millis()), "{:?}", seen.look.phases);
}

#[tokio::test]
async fn one_address_that_still_hangs_at_the_end_makes_a_timeout_of_another_that_refused() {
    let hanging = Backlog::new();
    let url = hanging.at(BOTH, "/");
    all([row("::1 refuses and 127.0.0.1 hangs", "down timeout connect", hanging, ask(&url).timeout(400))
        .takes(Connect, 400)])
    .await;
}

#[tokio::test]
async fn ipv6_is_asked_like_ipv4() {
    if !has_ipv6() {
        return;
    }
    let site = Site::setup().address("::1").serve([resp(200, "ok")]);
    let seen = ask(&site.url("/")).check().await;
    assert_eq!(seen.is("up").look.peer, Some(site.address()));
    assert_eq!(site.requests()[0].header("host"), Some(format!("[::1]:{}", site.port()).as_str()));
}
