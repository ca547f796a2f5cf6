//! Cookies between the hops of one attempt (RFC 6265): a site that greets with a cookie and a redirect, and wants to see the
//! cookie again, is as up as one that does not. Nothing of it outlives the attempt.

use crate::hop::Hop;
use cookie::Cookie;
use http::HeaderValue;
use model::{UnixMs, answer::Headers};
use std::{collections::VecDeque, net::IpAddr};
use url::Url;

/// As browsers have it: name and value of one cookie.
const MAX_BYTES: usize = 4096;
/// How many are kept, and what they may weigh together. The oldest go: a site's redirects are many, a request's head is not.
const MAX_COOKIES: usize = 100;
const MAX_TOTAL: usize = 32 << 10;

/// What the hops so far have set, the oldest first.
#[derive(Debug, Default)]
pub struct Jar {
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    name: String,
    value: String,
    domain: String,
    /// Whether sub-domains of `domain` get it too.
    with_subdomains: bool,
    path: String,
    secure: bool,
    /// `None`: when the attempt ends, at the latest.
    until: Option<UnixMs>,
}

impl Jar {
    /// Takes what an answer sets, as far as it may. A cookie that has expired takes away the one that it replaces.
    pub fn store(&mut self, headers: &Headers, url: &Url, now: UnixMs) {
        for line in headers.all("set-cookie") {
            let Some(new) = std::str::from_utf8(line).ok().and_then(|text| Kept::of(text, url, now)) else { continue };
            self.kept.retain(|old| !old.is_replaced_by(&new));
            if new.is_alive(now) {
                self.kept.push_back(new);
            }
            while self.kept.len() > MAX_COOKIES || self.kept.iter().map(Kept::weight).sum::<usize>() > MAX_TOTAL {
                self.kept.pop_front();
            }
        }
    }

    /// The `cookie` header of a hop, if there is one to go along: what is configured, less what a site has set anew since.
    /// `None`: what is configured goes as it is.
    pub fn header<'v>(
        &self,
        configured: impl Iterator<Item = &'v HeaderValue>,
        hop: &Hop,
        now: UnixMs,
    ) -> Option<HeaderValue> {
        let mut own: Vec<&Kept> = self.kept.iter().filter(|c| c.is_alive(now) && c.goes_to(&hop.url)).collect();
        if own.is_empty() {
            return None;
        }
        own.sort_by_key(|c| std::cmp::Reverse(c.path.len())); // section 5.4; the sort is stable, so older ones stand first
        let mut text = Vec::new();
        let mut push = |pair: &[u8]| {
            let between: &[u8] = if text.is_empty() { b"" } else { b"; " };
            text.extend_from_slice(between);
            text.extend_from_slice(pair);
        };
        for pair in configured.flat_map(|value| value.as_bytes().split(|&c| c == b';')).map(<[u8]>::trim_ascii) {
            let name = pair.split(|&c| c == b'=').next().unwrap_or_default();
            if !pair.is_empty() && !own.iter().any(|c| c.name.as_bytes() == name) {
                push(pair);
            }
        }
        own.iter().for_each(|c| push(format!("{}={}", c.name, c.value).as_bytes()));
        let mut value = HeaderValue::from_bytes(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Kept {
    /// What a `set-cookie` line of this URL's host means (section 5.3). `None`: it is not taken.
    fn of(line: &str, url: &Url, now: UnixMs) -> Option<Self> {
        let host = url.host_str()?;
        let cookie = Cookie::parse(line).ok()?;
        let (name, value) = (cookie.name(), cookie.value());
        let secure = cookie.secure() == Some(true);
        let is_fit = !name.is_empty() && name.len() + value.len() <= MAX_BYTES && !line.contains(char::is_control);
        if !is_fit || (secure && url.scheme() != "https") {
            return None;
        }
        let asked = cookie.domain().unwrap_or_default().trim_start_matches('.').to_ascii_lowercase();
        let with_subdomains = !asked.is_empty() && may_be_shared(&asked);
        let may_say_so = asked.is_empty() || asked == host || (with_subdomains && is_below(host, &asked));
        if !may_say_so {
            return None;
        }
        let path = cookie.path().filter(|p| p.starts_with('/')).map_or_else(|| default_path(url.path()), str::to_owned);
        Some(Self {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: if with_subdomains { asked } else { host.to_owned() },
            with_subdomains,
            path,
            secure,
            until: expiry(&cookie, now),
        })
    }

    fn is_replaced_by(&self, new: &Self) -> bool {
        (&self.name, &self.domain, &self.path) == (&new.name, &new.domain, &new.path)
    }

    fn is_alive(&self, now: UnixMs) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// Whatever the port.
    fn goes_to(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let host_fits = host == self.domain || (self.with_subdomains && is_below(host, &self.domain));
        host_fits && (!self.secure || url.scheme() == "https") && path_fits(url.path(), &self.path)
    }

    fn weight(&self) -> usize {
        self.name.len() + self.value.len() + self.path.len()
    }
}

/// Max-Age over Expires. One that can't be understood is none.
fn expiry(cookie: &Cookie<'_>, now: UnixMs) -> Option<UnixMs> {
    if let Some(age) = cookie.max_age() {
        return Some(UnixMs(now.0.saturating_add(i64::try_from(age.whole_milliseconds()).unwrap_or(i64::MAX))));
    }
    let at = cookie.expires_datetime()?;
    Some(UnixMs(i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)))
}

/// Whether a cookie for all of this domain stays with its owner: not so for a top-level domain, and an address has none below it.
/// (The list of public suffixes would say it of `co.uk` too; within one check it is the site that chooses where to go next.)
fn may_be_shared(domain: &str) -> bool {
    domain.contains('.') && !domain.ends_with('.') && !is_address(domain)
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

/// Domain-match (section 5.1.3).
fn is_below(host: &str, domain: &str) -> bool {
    host == domain || (!is_address(host) && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

/// Section 5.1.4.
fn default_path(path: &str) -> String {
    match path.rfind('/') {
        Some(i @ 1..) => path[..i].to_owned(),
        Some(0) | None => "/".to_owned(),
    }
}

fn path_fits(path: &str, of_cookie: &str) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || of_cookie.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn jar(from: &str, lines: &[&str]) -> Jar {
        let (mut jar, mut headers) = (Jar::default(), Headers::default());
        lines.iter().for_each(|l| headers.push("Set-Cookie", l.as_bytes()));
        jar.store(&headers, &url(from), NOW);
        jar
    }

    fn sent(jar: &Jar, to: &str, configured: &[&'static str], now: UnixMs) -> String {
        let hop = Hop::to(&url(to));
        let configured: Vec<_> = configured.iter().map(|&c| HeaderValue::from_static(c)).collect();
        let value = jar.header(configured.iter(), &hop, now);
        value.map_or_else(String::new, |v| v.to_str().expect("ASCII").to_owned())
    }

    /// The cookie header for `to` after these `set-cookie` lines from `from`.
    #[track_caller]
    fn check(from: &str, lines: &[&str], to: &str, want: &str) {
        assert_eq!(sent(&jar(from, lines), to, &[], NOW), want, "{lines:?} from {from} to {to}");
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_whatever_the_port() {
        check("http://one.test/", &["sid=42"], "http://one.test/end", "sid=42");
        check("http://one.test:81/", &["sid=42"], "https://one.test:8443/end", "sid=42");
        check("http://127.0.0.1:81/", &["sid=42; Domain=127.0.0.1"], "http://127.0.0.1/", "sid=42");
        check("http://localhost/", &["sid=42; Domain=localhost"], "http://localhost/", "sid=42");
        check("http://[::1]/", &["sid=42"], "http://[::1]:81/", "sid=42");
        check("http://one.test/", &["sid=42"], "http://two.test/", "");
        check("http://one.test/", &["sid=42"], "http://sub.one.test/", "");
    }

    #[test]
    fn sub_domains_get_it_if_the_host_said_so() {
        for domain in ["one.test", ".one.test", "ONE.test"] {
            let line = format!("sid=42; Domain={domain}");
            check("http://one.test/", &[&line], "http://sub.one.test/", "sid=42");
            check("http://a.one.test/", &[&line], "http://b.one.test/", "sid=42");
            check("http://one.test/", &[&line], "http://notone.test/", "");
        }
    }

    #[test]
    fn a_domain_that_is_not_the_hosts_to_share_is_refused() {
        for (from, domain, to) in [
            ("http://one.test/", "test", "http://two.test/"),
            ("http://one.test/", "two.test", "http://two.test/"),
            ("http://one.test/", "sub.one.test", "http://sub.one.test/"),
            ("http://one.test/", "test.", "http://one.test/"),
            ("http://127.0.0.1/", "0.0.1", "http://127.0.0.1/"),
            ("http://127.0.0.1/", "127.0.0.2", "http://127.0.0.2/"),
            ("http://localhost/", "localhost", "http://a.localhost/"),
        ] {
            check(from, &[&format!("sid=42; Domain={domain}")], to, "");
        }
    }

    #[test]
    fn a_path_is_the_beginning_of_others() {
        for (line, to, want) in [
            ("a=1", "/login/next", "a=1"),
            ("a=1", "/loginx", ""),
            ("a=1", "/", ""),
            ("a=1; Path=/", "/anything", "a=1"),
            ("a=1; Path=/app", "/app", "a=1"),
            ("a=1; Path=/app", "/app/x", "a=1"),
            ("a=1; Path=/app", "/apple", ""),
            ("a=1; Path=/app/", "/app/x", "a=1"),
            ("a=1; Path=/app/", "/app", ""),
            ("a=1; Path=relative", "/login/next", "a=1"),
        ] {
            check("http://h.test/login/form", &[line], &format!("http://h.test{to}"), want);
        }
    }

    #[test]
    fn a_secure_one_is_set_and_sent_over_https_alone() {
        check("https://h.test/", &["a=1; Secure"], "https://h.test/", "a=1");
        check("https://h.test/", &["a=1; Secure"], "http://h.test/", "");
        check("http://h.test/", &["a=1; Secure"], "https://h.test/", "");
    }

    #[test]
    fn one_that_has_expired_is_removed() {
        for line in [
            "a=; Max-Age=0",
            "a=; max-age=-5",
            "a=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "a=2; Expires=Thursday, 01-Jan-70 00:00:00 GMT",
            "a=2; Expires=Thu, 01-Jan-1970 00:00:01 GMT; Path=/",
            "a=2; Max-Age=0; Expires=Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            check("http://h.test/", &["a=1", "b=2", line], "http://h.test/", "b=2");
        }
        for line in [
            "a=2",
            "a=2; Max-Age=60",
            "a=2; Max-Age=99999999999999999999",
            "a=2; Max-Age=",
            "a=2; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "a=2; Expires=Fri, 31 Dec 9999 23:59:59 GMT",
            "a=2; Expires=nonsense",
        ] {
            check("http://h.test/", &["a=1", line], "http://h.test/", "a=2");
        }
    }

    #[test]
    fn one_may_expire_on_the_way() {
        let jar = jar("http://h.test/", &["a=1; Max-Age=2"]);
        let later = |ms| sent(&jar, "http://h.test/", &[], UnixMs(NOW.0 + ms));
        assert_eq!((later(1999), later(2000)), ("a=1".to_owned(), String::new()));
    }

    #[test]
    fn what_is_no_cookie_is_ignored() {
        let huge = format!("a={}", "x".repeat(MAX_BYTES));
        for line in ["", "a", "=1", "; Path=/", "a=1\u{7}", huge.as_str()] {
            check("http://h.test/", &[line], "http://h.test/", "");
        }
        check("http://h.test/", &["a=\"quoted, and = \"; HttpOnly; x"], "http://h.test/", "a=\"quoted, and = \"");
    }

    #[test]
    fn the_longer_path_stands_first_and_then_the_older_one() {
        let lines = ["a=1; Path=/", "b=2; Path=/x", "c=3; Path=/", "a=4; Path=/"];
        check("http://h.test/x/", &lines, "http://h.test/x/y", "b=2; c=3; a=4");
    }

    #[test]
    fn a_configured_cookie_goes_along_unless_the_site_has_set_it_anew() {
        let jar = jar("http://h.test/", &["sid=42"]);
        let to = |url, configured: &[&'static str]| sent(&jar, url, configured, NOW);
        assert_eq!(to("http://h.test/", &["k=v; sid=1", "l=w"]), "k=v; l=w; sid=42");
        assert_eq!(to("http://other.test/", &["k=v"]), "", "it goes as it is");
    }

    #[test]
    fn the_jar_is_bounded_and_the_oldest_go() {
        let many: Vec<String> = (0..500).map(|i| format!("c{i}=x")).collect();
        let jar_of_many = jar("http://h.test/", &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(jar_of_many.kept.len(), MAX_COOKIES);
        assert!(sent(&jar_of_many, "http://h.test/", &[], NOW).ends_with("c499=x"));
        let large: Vec<String> = (0..50).map(|i| format!("c{i}={}", "x".repeat(4000))).collect();
        let jar_of_large = jar("http://h.test/", &large.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(sent(&jar_of_large, "http://h.test/", &[], NOW).len() <= MAX_TOTAL);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_and_what_is_sent_is_a_header(
            lines in proptest::collection::vec(
                r"[a-z]{0,2}=?[ -~\x80-\u{ff}]{0,12}(; ?(Domain|Path|Expires|Max-Age|Secure|max-age)=?[ -~é]{0,30}){0,3}", 0..6
            )
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let jar = jar("http://a.h.test/x/y", &lines);
            for to in ["http://a.h.test/x/y", "https://h.test/", "http://test/"] {
                let value = jar.header([].into_iter(), &Hop::to(&url(to)), NOW);
                prop_assert!(value.is_none_or(|v| v.len() <= MAX_TOTAL + 2 * MAX_COOKIES));
            }
        }
    }
}
