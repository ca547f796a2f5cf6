//! Where an answer sends us: followed or not, how, and what the record shows of it.

use crate::{
    ask::{Ask, ask},
    rows::{Row, all, row},
};
use testkit::{Refused, Site, Step, Tls, pki, step::*};

/// `/` redirects, everything else is `ok`.
fn leading(status: u16, to: &str) -> Site {
    Site::routes([("/", vec![redirect(status, to)]), ("*", vec![resp(200, "ok")])])
}

fn methods(site: &Site) -> Vec<String> {
    site.requests().iter().map(|r| format!("{} {} {}", r.method, r.target, String::from_utf8_lossy(&r.body))).collect()
}

#[tokio::test]
async fn a_method_is_kept_or_turned_into_get() {
    for (status, method, second) in [
        (301, "POST", "GET /end "),
        (302, "POST", "GET /end "),
        (303, "POST", "GET /end "),
        (303, "PUT", "GET /end "),
        (307, "POST", "POST /end abc"),
        (308, "POST", "POST /end abc"),
        (307, "PUT", "PUT /end abc"),
        (302, "DELETE", "GET /end "),
    ] {
        let site = leading(status, "/end");
        let asked = ask(&site.url("/"))
            .method(method)
            .body("abc")
            .header("content-type", "text/plain")
            .header("x-custom", "kept");
        asked.check().await.is("up");
        assert_eq!(methods(&site), [format!("{method} / abc"), second.to_owned()], "{status}");
        let request = site.requests().remove(1);
        let about_body = (request.header("content-type"), request.header("content-length"));
        let kept = second.ends_with("abc");
        assert_eq!(about_body, if kept { (Some("text/plain"), Some("3")) } else { (None, None) }, "{status}");
        assert_eq!((request.header("x-custom"), request.header("referer")), (Some("kept"), None));
    }
}

#[tokio::test]
async fn head_stays_head() {
    for status in [301, 302, 303, 307, 308] {
        let site = leading(status, "/end");
        ask(&site.url("/")).method("HEAD").check().await.is("up");
        assert_eq!(methods(&site), ["HEAD / ", "HEAD /end "], "{status}");
    }
}

#[tokio::test]
async fn a_body_that_was_dropped_does_not_come_back() {
    let site = Site::routes([
        ("/", vec![redirect(303, "/second")]),
        ("/second", vec![redirect(307, "/end")]),
        ("/end", vec![resp(200, "ok")]),
    ]);
    ask(&site.url("/")).method("POST").body("abc").check().await.is("up");
    assert_eq!(methods(&site), ["POST / abc", "GET /second ", "GET /end "]);
}

#[tokio::test]
async fn a_location_is_read_from_where_it_was_sent() {
    for (location, want) in [
        ("next", "/a/next"),
        ("../up", "/up"),
        ("/top?y=2", "/top?y=2"),
        ("?z=3", "/a/b?z=3"),
        ("//HOST/other", "/other"),
        ("http://HOST/absolute", "/absolute"),
        ("HTTP://HOST/scheme", "/scheme"),
        ("/frag#part", "/frag"),
        ("  /blanks  ", "/blanks"),
        ("/caf\u{e9}", "/caf%C3%A9"),
    ] {
        let location = location.to_owned();
        let site = Site::answer(move |request| {
            let host = request.header("host").unwrap_or_default();
            if request.number == 0 {
                vec![redirect(302, &location.replace("HOST", host))]
            } else {
                vec![resp(200, "ok")]
            }
        });
        assert_eq!(ask(&site.url("/a/b?x=1")).check().await.is("up").look.redirects, 1);
        assert_eq!(site.requests()[1].target, want);
    }
}

#[tokio::test]
async fn a_location_that_is_not_utf8_asks_for_its_bytes() {
    let redirect = send(b"HTTP/1.1 302 Found\r\nlocation: /caf\xe9\r\ncontent-length: 0\r\n\r\n");
    let site = Site::routes([("/", vec![redirect]), ("*", vec![resp(200, "ok")])]);
    ask(&site.url("/")).check().await.is("up");
    assert_eq!(site.requests()[1].target, "/caf%E9");
}

#[tokio::test]
async fn a_location_that_can_not_be_asked_is_a_bad_redirect() {
    for location in [
        "http://[::1",
        "javascript:alert(1)",
        "file:///index.html",
        "ftp://h.example/",
        "http://",
        "http:///",
        "http://a b/",
    ] {
        let site = leading(302, location);
        let seen = ask(&site.url("/")).check().await;
        assert_eq!(seen.is("down bad_redirect wait").look.status, Some(302), "{location}");
        assert_eq!((site.requests().len(), seen.look.redirects), (1, 0), "{location}");
        assert!(seen.message.starts_with("status 302 redirects to "), "{}", seen.message);
    }
}

#[tokio::test]
async fn there_is_a_limit() {
    let site = Site::serve([redirect(302, "/")]);
    let seen = ask(&site.url("/")).status(&[302..=302]).check().await;
    assert_eq!(seen.is("down too_many_redirects wait").look.redirects, 10);
    assert_eq!(site.requests().len(), 11);
    let site = leading(302, "/end");
    ask(&site.url("/")).redirects(1).check().await.is("up");
}

#[tokio::test]
async fn some_redirects_are_the_answer() {
    fn is(sentence: &'static str, want: &'static str, site: Site, more: fn(Ask) -> Ask) -> Row {
        let url = site.url("/");
        row(sentence, want, site, more(ask(&url))).also("nothing was followed", |s| s.look.redirects == 0)
    }
    fn found(ask: Ask) -> Ask {
        ask.status(&[302..=302])
    }
    let lost = || Site::serve([resp(302, "lost")]);
    all([
        is("none are followed", "up", leading(302, "/end"), |a| found(a).redirects(0)),
        is("none are followed and it is not expected", "down status expect", leading(302, "/end"), |a| a.redirects(0)),
        is("without a Location", "down status expect", lost(), |a| a)
            .also("its body is read", |s| s.look.body_bytes == Some(4)),
        is("without a Location and expected", "up", lost(), found),
        is("300 is not followed", "down status expect", leading(300, "/end"), |a| a),
        is("304 is not followed", "down status expect", leading(304, "/end"), |a| a),
        is("201 has a Location too", "up", leading(201, "/end"), |a| a),
    ])
    .await;
}

#[tokio::test]
async fn a_redirect_that_is_expected_but_followed_is_not_the_answer() {
    let site = leading(302, "/end");
    let seen = ask(&site.url("/")).status(&[302..=302]).check().await;
    assert_eq!((seen.is("down status expect").look.status, seen.look.redirects), (Some(200), 1));
}

#[tokio::test]
async fn the_body_of_a_hop_is_not_read() {
    let stalled = [head(302, &[("location", "/end"), ("content-length", "1000")]), send("needle"), hold()];
    let site = Site::routes([("/", stalled.to_vec()), ("/end", vec![resp(200, "ok")])]);
    let seen = ask(&site.url("/")).matches("needle").check().await;
    assert_eq!(seen.is("down body_no_match expect").look.body_bytes, Some(2));
}

#[tokio::test]
async fn every_hop_has_a_connection_of_its_own() {
    let site = Site::setup().keep_alive().routes([("/", vec![redirect(302, "/end")]), ("/end", vec![resp(200, "ok")])]);
    ask(&site.url("/")).header("user-agent", "mine/1").check().await.is("up");
    let seen: Vec<_> =
        site.requests().iter().map(|r| (r.connection, r.header("user-agent").map(str::to_owned))).collect();
    assert_eq!(seen, [(0, Some("mine/1".into())), (1, Some("mine/1".into()))]);
}

#[tokio::test]
async fn the_record_shows_where_it_led_without_values() {
    let site = leading(302, "/end?token=abc123&x=1#part");
    let seen = ask(&site.url("/?key=s3cr3t")).check().await;
    assert_eq!(seen.is("up").look.final_url, Some(site.url("/end?token=***&x=***")));
    assert_eq!(&*seen.result.url, site.url("/?key=***"));
    let asked: Vec<_> = site.requests().iter().map(|r| r.target.clone()).collect();
    assert_eq!(asked, ["/?key=s3cr3t", "/end?token=abc123&x=1"]);
}

#[tokio::test]
async fn what_breaks_behind_a_redirect_is_the_reason() {
    let refused = Refused::new();
    let led = |to: &str, steps: Vec<Step>| Site::routes([("/", vec![redirect(302, to)]), ("/end", steps)]);
    for (site, want, status) in [
        (led(&refused.url("/"), vec![]), "down connect_refused connect", None),
        (led("/end", vec![close()]), "down closed wait", None),
        (led("/end", vec![resp(500, "x")]), "down status expect", Some(500)),
        (led("/end", vec![head(200, &[("content-length", "5")]), close()]), "down truncated body", Some(200)),
    ] {
        let seen = ask(&site.url("/")).check().await;
        assert_eq!((seen.is(want).look.status, seen.look.redirects), (status, 1));
    }
}

#[tokio::test]
async fn a_certificate_that_was_presented_is_in_the_record_also_when_the_end_is_plain() {
    let end = Site::serve([resp(200, "ok")]);
    let begin = Site::tls(Tls::with(&pki().soon), [redirect(302, &end.url("/"))]);
    let asked = || ask(&begin.url("/")).trust(&pki().root);
    assert_eq!(asked().check().await.is("up").look.tls.as_ref().map(|t| t.subject.as_str()), Some("CN=localhost"));
    asked().valid_for_days(7).check().await.is("down certificate_expiring expect");
}

#[tokio::test]
async fn cookies_are_not_kept_between_checks() {
    let site = Site::serve([resp_with(200, &[("set-cookie", "sid=42; Path=/")], "ok")]);
    let ask = ask(&site.url("/"));
    let prober = ask.prober();
    for _ in 0..2 {
        ask.check_by(&prober).await.is("up");
    }
    assert!(site.requests().iter().all(|r| r.header("cookie").is_none()));
}
