//! The requests of one attempt: the target's own, then one for each redirect that is followed.

use http::Method;
use model::{
    Reason, Target,
    answer::Head,
    result::Finding,
    text::{masked_url, redact, shortened},
};
use percent_encoding::{AsciiSet, percent_decode_str, percent_encode};
use std::{borrow::Cow, net::IpAddr};
use url::{Host, Url};

/// A record is limited, a site's redirects are not.
const MAX_SHOWN: usize = 8 << 10;

/// One request, and what it may carry.
#[derive(Clone, Debug)]
pub struct Hop {
    pub url: Url,
    pub method: Method,
    /// Whether the target's body, and the headers that describe it, go along.
    pub with_body: bool,
    /// Whether the target's credentials go along.
    pub with_credentials: bool,
    /// Whether this is still the target's host, whatever the port: a configured `host` header or server name is meant for it.
    pub same_host: bool,
    /// Whether any hop so far was https: credentials then never go out in the clear.
    was_secure: bool,
}

impl Hop {
    pub fn first(target: &Target) -> Self {
        Self { method: target.request.method.clone(), ..Self::to(&target.url) }
    }

    /// A GET that carries all that there is.
    pub fn to(url: &Url) -> Self {
        Self {
            url: url.clone(),
            method: Method::GET,
            with_body: true,
            with_credentials: true,
            same_host: true,
            was_secure: url.scheme() == "https",
        }
    }

    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// The URL as a record may show it: masked, and without a secret of the target's that a site sends back in it.
    pub fn shown(&self, secrets: &[Box<str>]) -> String {
        let shown = redact(&masked_url(&self.url), secrets.iter().map(AsRef::as_ref));
        let plain = percent_decode_str(&shown).decode_utf8_lossy();
        if redact(&plain, secrets.iter().map(AsRef::as_ref)) == plain {
            return shortened(shown, MAX_SHOWN);
        }
        let mut place = self.url.clone();
        place.set_path("/***");
        place.set_query(None);
        masked_url(&place)
    }

    /// The address that the URL spells, if it spells one.
    pub fn literal(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
            Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
            Host::Domain(_) => None,
        }
    }

    /// Host name or address, without the brackets of an IPv6 literal.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// Where a redirect leads, of a check that began at `start`: 301 302 303 turn into GET without body (HEAD stays HEAD), 307 308 keep both.
    ///
    /// # Errors
    /// `bad_redirect`, when it leads nowhere that can be asked.
    pub fn follow(&self, head: &Head, location: &[u8], start: &Url) -> Result<Self, Finding> {
        let bad = |why: &str| Finding::new(Reason::BadRedirect, format!("status {} redirects to {why}", head.status));
        let url = self.url.join(text_of(location).trim()).map_err(|e| bad(&format!("a URL that is none: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(&format!("another scheme than http and https: {}:", url.scheme())));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad(&format!("a URL without a host: {}", masked_url(&url))));
        }
        let keeps = matches!(head.status, 307 | 308);
        let method = if keeps || self.method == Method::HEAD { self.method.clone() } else { Method::GET };
        let secure = url.scheme() == "https";
        Ok(Self {
            method,
            with_body: self.with_body && keeps,
            with_credentials: same_place(start, &url) && (secure || !self.was_secure),
            same_host: start.host_str() == url.host_str(),
            was_secure: self.was_secure || secure,
            url,
        })
    }
}

/// A Location as text. One that is not UTF-8 asks for the bytes that it holds, as browsers do.
fn text_of(location: &[u8]) -> Cow<'_, str> {
    const NOT_ASCII: &AsciiSet = &AsciiSet::EMPTY;
    std::str::from_utf8(location).map_or_else(|_| percent_encode(location, NOT_ASCII).into(), Cow::Borrowed)
}

/// Whether the target's credentials may go there: the same host name and port, or from http on 80 to https on 443 of one host.
fn same_place(start: &Url, url: &Url) -> bool {
    let at = |u: &Url| (u.scheme() == "https", u.port_or_known_default());
    start.host_str() == url.host_str()
        && (start.port_or_known_default() == url.port_or_known_default()
            || (at(start) == (false, Some(80)) && at(url) == (true, Some(443))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{answer::Headers, result::HttpVersion};
    use proptest::prelude::*;

    fn places(from: &str, to: &str) -> bool {
        same_place(&from.parse().expect("a URL"), &to.parse().expect("a URL"))
    }

    #[test]
    fn credentials_stay_with_host_and_port_and_may_go_from_80_to_443() {
        assert!(places("http://h.example/a", "http://h.example/b"));
        assert!(places("http://h.example/", "https://h.example/"));
        assert!(places("http://h.example:80/", "http://h.example/"));
        assert!(!places("http://h.example:8080/", "https://h.example/"));
        assert!(!places("http://h.example/", "https://h.example:8443/"));
        assert!(!places("http://h.example/", "http://www.h.example/"));
        assert!(!places("https://h.example/", "http://h.example/"));
    }

    fn hop(url: &str) -> Hop {
        Hop { method: Method::POST, ..Hop::to(&url.parse().expect("a URL")) }
    }

    fn follow(from: &Hop, location: &[u8]) -> Result<Hop, Finding> {
        let head = Head { status: 307, http: HttpVersion::V1_1, headers: Headers::default() };
        from.follow(&head, location, &from.url)
    }

    /// Whether credentials are still there at the end of the way.
    fn carried(way: &[&str]) -> bool {
        let head = Head { status: 302, http: HttpVersion::V1_1, headers: Headers::default() };
        let start = hop(way[0]);
        let go = |at: Hop, to: &&str| at.follow(&head, to.as_bytes(), &start.url).expect("a URL");
        way[1..].iter().fold(start.clone(), go).with_credentials
    }

    #[test]
    fn credentials_never_go_out_in_the_clear_once_a_hop_was_secure() {
        assert!(!carried(&["https://h.example:8443/", "http://h.example:8443/"]));
        assert!(!carried(&["http://h.example/", "https://h.example/", "http://h.example/"]));
        assert!(!carried(&["http://h.example/", "https://other.example/", "http://h.example/"]));
        assert!(carried(&["http://h.example/", "https://h.example/", "https://h.example/b"]));
        assert!(carried(&["https://h.example/", "https://other.example/", "https://h.example/b"]));
    }

    #[test]
    fn a_url_that_goes_on_and_on_is_not_shown_to_its_end() {
        let location = "/\u{e9}".repeat(50_000);
        let there = follow(&hop("http://h.example/"), location.as_bytes()).expect("a URL");
        assert!(there.url.as_str().len() > 300_000 && there.shown(&[]).len() <= MAX_SHOWN);
    }

    proptest! {
        #[test]
        fn a_location_leads_to_a_host_or_nowhere(location in proptest::collection::vec(any::<u8>(), 0..60)) {
            let from = hop("https://h.example/a/b?c");
            match follow(&from, &location) {
                Ok(there) => {
                    prop_assert!(there.url.host().is_some() && ["http", "https"].contains(&there.url.scheme()));
                    prop_assert!(!there.with_credentials || (there.is_https() && there.host() == "h.example"));
                    prop_assert!(there.shown(&[]).is_ascii());
                }
                Err(finding) => prop_assert_eq!(finding.reason, Reason::BadRedirect),
            }
        }

        #[test]
        fn a_location_that_looks_like_one_leads_to_a_host_or_nowhere(
            location in r"(https?:|HTTP:|//|ftp:|)[/\\]{0,3}([a-z.%@:\[\]0-9]{0,12})(:[0-9]{0,6})?[/?#a-z.%=\\]{0,12}"
        ) {
            let from = hop("http://[::1]:8080/a/b?c");
            if let Ok(there) = follow(&from, location.as_bytes()) {
                prop_assert!(there.url.host_str().is_some_and(|h| !h.is_empty()), "{}", there.url);
                prop_assert!(!there.with_credentials || (there.host() == "::1" && there.port() == 8080));
            }
        }
    }
}
