//! Certificates: which are trusted, why the others are not, and how long they must hold.

use crate::{
    alone::Alone,
    ask::{Ask, ask},
    rows::{Row, all, row},
};
use model::UnixMs;
use testkit::{Identity, Site, Tls, Version, pki, step::*};

fn site(identity: &Identity) -> Site {
    Site::tls(Tls::with(identity), [resp(200, "ok")])
}

/// A site with this certificate asked as `host`; whatever comes of it, the certificate is in the record.
fn shows(
    sentence: &'static str,
    want: &'static str,
    identity: &'static Identity,
    host: &str,
    more: fn(Ask) -> Ask,
) -> Row {
    let site = site(identity);
    let url = site.at(host, "/");
    row(sentence, want, site, more(ask(&url)))
        .also("the certificate's own dates", |s| {
            let tls = s.look.tls.as_ref();
            tls.is_some_and(|t| {
                t.not_before == UnixMs::from_system(identity.not_before)
                    && t.not_after == UnixMs::from_system(identity.not_after)
            })
        })
        .also("subject and issuer", |s| {
            s.look.tls.as_ref().is_some_and(|t| t.subject == "CN=localhost" && !t.issuer.is_empty())
        })
}

fn root(ask: Ask) -> Ask {
    ask.trust(&pki().root)
}

const LOCAL: &str = "127.0.0.1";

#[tokio::test]
async fn a_certificate_that_can_not_be_trusted_has_its_own_reason() {
    let (expired, not_yet) = ("down tls_expired tls", "down tls_not_yet_valid tls");
    let (untrusted, wrong_host) = ("down tls_untrusted tls", "down tls_wrong_host tls");
    all([
        shows("it has expired", expired, &pki().expired, LOCAL, root),
        shows("it is not valid yet", not_yet, &pki().not_yet_valid, LOCAL, root),
        shows("expired comes before untrusted", expired, &pki().expired_unknown, LOCAL, root),
        shows("not valid yet comes before untrusted", not_yet, &pki().not_yet_valid, LOCAL, |a| {
            a.trust(&pki().other_root)
        }),
        shows("it has signed itself", untrusted, &pki().self_signed, LOCAL, root),
        shows("it has signed itself as an authority", untrusted, &pki().self_signed_ca, LOCAL, root),
        shows("its authority is unknown", untrusted, &pki().unknown_ca, LOCAL, root),
        shows("its authority is not in the system's store", untrusted, &pki().good, LOCAL, |a| a),
        shows("an intermediate is missing", untrusted, &pki().intermediate_missing, LOCAL, root),
        shows("untrusted comes before the wrong host", untrusted, &pki().unknown_ca, "other.localhost", root),
        shows("it is for another name", wrong_host, &pki().wrong_host, "localhost", root),
        shows("it is for a name, and an address was asked", wrong_host, &pki().name_only, LOCAL, root),
        shows("a common name is no name of a host", wrong_host, &pki().common_name_only, "localhost", root),
        shows("it is not for the name that was set", wrong_host, &pki().name_only, "localhost", |a| {
            root(a).server_name("one.test")
        }),
        shows("it is for a client", untrusted, &pki().client, LOCAL, root),
    ]
    .map(|row| row.also("the kernel was asked", |s| s.look.rtt.is_some())))
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_trusted_is_in_the_record_with_the_version() {
    for version in [Version::Tls12, Version::Tls13] {
        let site = Site::tls(Tls::with(&pki().good).only(version), [resp(200, "ok")]);
        let seen = ask(&site.url("/")).trust(&pki().root).check().await;
        let tls = seen.is("up").look.tls.clone().unwrap();
        assert_eq!(tls.version, Some(if version == Version::Tls12 { "1.2" } else { "1.3" }));
        assert_eq!(
            (tls.issuer.as_str(), tls.subject.as_str()),
            ("C=XX,O=Lapwing Testkit,CN=Testkit Root", "CN=localhost")
        );
    }
}

#[tokio::test]
async fn there_are_several_ways_to_be_trusted() {
    all([
        shows("by the root", "up", &pki().good, LOCAL, root),
        shows("through an intermediate that is sent", "up", &pki().by_intermediate, LOCAL, root),
        shows("by name", "up", &pki().name_only, "localhost", root),
        shows("by the name that was set", "up", &pki().name_only, LOCAL, |a| root(a).server_name("localhost")),
        shows("pinned, of an unknown authority", "up", &pki().unknown_ca, LOCAL, |a| a.pin(&pki().unknown_ca)),
        shows("pinned, signed by itself", "up", &pki().self_signed, LOCAL, |a| a.pin(&pki().self_signed)),
        shows("pinned, signed by itself as an authority", "up", &pki().self_signed_ca, LOCAL, |a| {
            a.pin(&pki().self_signed_ca)
        }),
        shows("another one is pinned", "down tls_untrusted tls", &pki().unknown_ca, LOCAL, |a| a.pin(&pki().good)),
        shows("pinned, but for another name", "down tls_wrong_host tls", &pki().wrong_host, "localhost", |a| {
            a.pin(&pki().wrong_host)
        }),
        shows("pinned, but expired", "down tls_expired tls", &pki().expired, LOCAL, |a| a.pin(&pki().expired)),
        shows("unverified, expired and unknown", "up", &pki().expired_unknown, LOCAL, Ask::insecure),
        shows("unverified, for another name", "up", &pki().wrong_host, "localhost", Ask::insecure),
        shows("unverified, signed by itself", "up", &pki().self_signed_ca, LOCAL, Ask::insecure),
    ])
    .await;
}

#[tokio::test]
async fn a_refused_certificate_gets_no_request() {
    let site = site(&pki().unknown_ca);
    let seen = ask(&site.url("/")).trust(&pki().root).check().await;
    assert!(seen.is("down tls_untrusted tls").message.contains("issuer is not trusted"), "{}", seen.message);
    assert_eq!((site.requests().len(), site.connections()), (0, 1));
}

#[tokio::test]
async fn a_certificate_must_hold_as_long_as_is_asked() {
    let ends = "down certificate_expiring expect";
    all([
        shows("90 days are left, 7 are asked for", "up", &pki().good, LOCAL, |a| root(a).valid_for_days(7)),
        shows("3 days are left, 7 are asked for", ends, &pki().soon, LOCAL, |a| root(a).valid_for_days(7)),
        shows("3 of 4 days are left, a third is asked for", "up", &pki().soon, LOCAL, |a| root(a).valid_share(33.0)),
        shows("10 of 100 days are left, a fifth is asked for", ends, &pki().aged, LOCAL, |a| root(a).valid_share(20.0)),
        shows("10 of 100 days are left, 5% are asked for", "up", &pki().aged, LOCAL, |a| root(a).valid_share(5.0)),
        shows("the same as a warning", "degraded certificate_expiring expect", &pki().aged, LOCAL, |a| {
            root(a).warn_valid_share(33.0)
        }),
        shows("an intermediate of its path ends", ends, &pki().by_short_intermediate, LOCAL, |a| {
            root(a).valid_for_days(7)
        }),
        shows("an intermediate that is sent for nothing ends", "up", &pki().extra_intermediate, LOCAL, |a| {
            root(a).valid_for_days(7)
        }),
        shows("the root ends", "up", &pki().by_short_root, LOCAL, |a| a.trust(&pki().short_root).valid_for_days(7)),
        shows("unverified, it has expired", ends, &pki().expired, LOCAL, |a| a.insecure().valid_for_days(7)),
        shows("unverified, it is not valid yet", ends, &pki().not_yet_valid, LOCAL, |a| a.insecure().valid_for_days(7)),
        shows("unverified, all that was sent counts", ends, &pki().extra_intermediate, LOCAL, |a| {
            a.insecure().valid_for_days(7)
        }),
        shows("pinned, only itself counts", "up", &pki().good, LOCAL, |a| a.pin(&pki().good).valid_for_days(7)),
    ])
    .await;
}

#[tokio::test]
async fn slow_comes_before_the_certificate() {
    let site = Site::tls(Tls::with(&pki().soon), [pause(200), resp(200, "ok")]);
    let asked = ask(&site.url("/")).trust(&pki().root).within(100).valid_for_days(7);
    asked.check().await.is("down slow expect");
}

#[test]
fn the_systems_store_is_the_one_that_the_environment_names() {
    let site = site(&pki().good);
    let folder = tempfile::tempdir().unwrap();
    let (root, empty, hashed) =
        (folder.path().join("root.pem"), folder.path().join("empty.pem"), folder.path().join("certs"));
    std::fs::create_dir(&hashed).unwrap();
    std::fs::write(&empty, "").unwrap();
    for file in [&root, &hashed.join("0123abcd.0")] {
        std::fs::write(file, &pki().root.pem).unwrap();
    }
    let untrusted = "down tls_untrusted tls";
    for (name, value, want) in
        [("SSL_CERT_FILE", &root, "up"), ("SSL_CERT_DIR", &hashed, "up"), ("SSL_CERT_FILE", &empty, untrusted)]
    {
        let alone = Alone::new("certificates::a_site_by_the_systems_store", 1024);
        alone.env(name, value).env("TEST_URL", site.url("/")).env("TEST_WANT", want).passes();
    }
}

#[tokio::test]
#[ignore = "needs an environment of its own: run by the test before"]
async fn a_site_by_the_systems_store() {
    let given = |name| std::env::var(name).unwrap();
    ask(&given("TEST_URL")).check().await.is(&given("TEST_WANT"));
}
