//! What a site sends back must not carry a secret into a record.

use crate::ask::ask;
use testkit::{Site, step::*};

const SECRETS: [&str; 2] = ["hunter2", "p\u{e4}ss/w\u{f6}rd"];

#[tokio::test]
async fn a_secret_in_a_header_is_not_in_the_message() {
    let site = Site::serve([resp_with(200, &[("x-echo", "Bearer hunter2 and p\u{e4}ss/w\u{f6}rd")], "ok")]);
    let asked = ask(&site.url("/")).authorization("Bearer hunter2").secrets(&SECRETS).expect_header("x-echo", "^none$");
    let seen = asked.check().await;
    assert_eq!(seen.is("down header expect").message, r#"header x-echo is "Bearer *** and ***", expected /^none$/"#);
}

#[tokio::test]
async fn a_secret_in_a_location_is_neither_in_the_final_url_nor_in_the_message() {
    for (location, shown) in [
        ("/end/hunter2/x", "/end/***/x"),
        ("/end?token=hunter2", "/end?token=***"),
        ("/end?hunter2", "/end?***"),
        ("/end?hunter2=1", "/end?***=***"),
        ("/end/p%C3%A4ss%2Fw%C3%B6rd", "/***"),
        ("/end/p\u{e4}ss/w\u{f6}rd", "/***"),
        ("http://user:hunter2@HOST/end", "/end"),
    ] {
        let location = location.to_owned();
        let site = Site::answer(move |request| {
            let host = request.header("host").unwrap_or_default();
            if request.number == 0 {
                vec![redirect(302, &location.replace("HOST", host))]
            } else {
                vec![resp(500, "x")]
            }
        });
        let seen = ask(&site.url("/")).secrets(&SECRETS).check().await;
        assert_eq!(seen.is("down status expect").look.final_url, Some(site.url(shown)));
        assert!(SECRETS.iter().all(|s| !seen.message.contains(s)), "{}", seen.message);
    }
}

#[tokio::test]
async fn a_secret_in_a_location_that_can_not_be_followed_is_not_in_the_message() {
    for location in ["hunter2://h.example/", "http://[hunter2", "http://user:hunter2@/"] {
        let site = Site::serve([redirect(302, location)]);
        let seen = ask(&site.url("/")).secrets(&SECRETS).check().await;
        assert!(!seen.is("down bad_redirect wait").message.contains("hunter2"), "{}", seen.message);
    }
}

#[tokio::test]
async fn the_record_shows_the_url_without_user_info_and_values() {
    let site = Site::serve([resp(200, "ok")]);
    let url = site.url("/a?token=hunter2&flag").replace("://", "://user:hunter2@");
    let seen = ask(&url).check().await;
    assert_eq!(&*seen.is("up").result.url, site.url("/a?token=***&***"));
}
