//! Addresses that may not be asked: nothing arrives there.

use crate::ask::{Ask, Seen, ask};
use model::guard::Guard;
use testkit::{Site, has_ipv6, step::*};

const BLOCKED: &str = "down blocked connect";

fn no_private() -> Guard {
    Guard { private: false, ..Guard::default() }
}

fn but(allowed: &str) -> Guard {
    Guard { allow: vec![allowed.parse().unwrap()], ..no_private() }
}

async fn check(url: &str, guard: Guard) -> Seen {
    ask(url).guard(guard).check().await
}

#[tokio::test]
async fn no_spelling_of_loopback_gets_through() {
    let site = Site::serve([resp(200, "ok")]);
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "a.localhost",
    ] {
        let seen = check(&site.at(host, "/"), no_private()).await;
        assert_eq!(seen.is(BLOCKED).look.peer, None, "{host}");
    }
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn ipv6_loopback_is_loopback() {
    if !has_ipv6() {
        return;
    }
    let site = Site::setup().address("::1").serve([resp(200, "ok")]);
    for host in ["[::1]", "[0:0::0:1]"] {
        check(&site.at(host, "/"), no_private()).await.is(BLOCKED);
    }
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn some_addresses_are_blocked_although_private_ones_are_allowed() {
    let odd = [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "224.0.0.1",
        "[ff02::1]",
        "0.0.0.0",
        "[::]",
    ];
    for host in odd.into_iter().chain(["100.100.100.200"]) {
        let seen = check(&format!("http://{host}:9/"), Guard::default()).await;
        assert!(seen.is(BLOCKED).message.starts_with("no address may be asked: "), "{}", seen.message);
    }
}

#[tokio::test]
async fn a_redirect_does_not_lead_past_it() {
    let forbidden = Site::serve([resp(200, "secret")]);
    let site = Site::setup().address("127.0.0.2").serve([redirect(302, &forbidden.url("/admin"))]);
    let seen = check(&site.url("/"), but("127.0.0.2/32")).await;
    assert_eq!((seen.is(BLOCKED).look.redirects, seen.look.status), (1, None));
    assert_eq!((site.requests().len(), forbidden.connections()), (1, 0));
}

#[tokio::test]
async fn of_several_addresses_the_refused_ones_are_skipped() {
    if !has_ipv6() {
        return;
    }
    let site = Site::serve([resp(200, "ok")]);
    let forbidden = Site::setup().address("::1").port(site.port()).serve([resp(200, "secret")]);
    let url = site.at("both.localhost", "/");
    assert_eq!(check(&url, but("127.0.0.1/32")).await.is("up").look.peer, Some(site.address()));
    assert_eq!(forbidden.connections(), 0);
    drop(site);
    // The allowed one refuses: there is no falling back to the other.
    check(&url, but("127.0.0.1/32")).await.is("down connect_refused connect");
    assert_eq!(forbidden.connections(), 0);
}

#[tokio::test]
async fn what_is_denied_is_denied_although_it_is_allowed() {
    let site = Site::serve([resp(200, "ok")]);
    let guard = Guard { deny: vec!["127.0.0.1/32".parse().unwrap()], ..but("127.0.0.0/8") };
    check(&site.url("/"), guard).await.is(BLOCKED);
    let asked: Ask = ask(&site.url("/"));
    asked.guard(but("127.0.0.0/8")).check().await.is("up");
    assert_eq!(site.connections(), 1);
}
