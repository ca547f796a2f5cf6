//! Texts with a grammar of their own: addresses, URLs, names, status codes. An error is a predicate: what was written
//! stands before it.

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use model::{Location, kafka::Replication, target::Quorum};
use rustls_pki_types::ServerName;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
};
use url::{Host, Url};

/// A record holds the URL and where redirects led, and is never over 64 KiB.
const MAX_URL: usize = 16 << 10;
const MAX_NAME: usize = 1 << 10;

type Checked<T> = Result<T, String>;

pub(crate) fn any(_: &str) -> Checked<()> {
    Ok(())
}

pub(crate) fn not_empty(text: &str) -> Checked<()> {
    if text.trim().is_empty() { Err("must not be empty".into()) } else { Ok(()) }
}

/// A name that people read.
pub(crate) fn name(text: &str) -> Checked<()> {
    not_empty(text)?;
    no_control(text)?;
    if text.len() > MAX_NAME { Err(format!("is longer than {MAX_NAME} bytes")) } else { Ok(()) }
}

pub(crate) fn no_control(text: &str) -> Checked<()> {
    if text.chars().any(char::is_control) { Err("holds a control character, like a line end".into()) } else { Ok(()) }
}

pub(crate) fn id(text: &str) -> Checked<()> {
    if model::id::is_id(text) { Ok(()) } else { Err(model::id::NotAnId.to_string()) }
}

pub(crate) fn location(text: &str) -> Checked<Location> {
    Location::new(text).map_err(|e| e.to_string())
}

/// What is watched. The fragment is dropped: it is never sent.
pub(crate) fn web_url(text: &str) -> Checked<Url> {
    let mut url = http_url(text, "is not a URL like https://example.org/path")?;
    url.set_fragment(None);
    Ok(url)
}

/// Of a proxy only scheme, host, port and user info mean anything.
pub(crate) fn proxy_url(text: &str) -> Checked<Url> {
    const NOT_ONE: &str = "is not the URL of a proxy like http://proxy:3128";
    let url = http_url(text, NOT_ONE)?;
    match (url.scheme(), url.path(), url.query(), url.fragment()) {
        ("http", "" | "/", None, None) => Ok(url),
        ("http", ..) => Err(format!("{NOT_ONE}: there is something behind its host and port")),
        _ => Err(format!("{NOT_ONE}: a proxy is reached over http, also for https targets")),
    }
}

fn http_url(text: &str, not_one: &str) -> Checked<Url> {
    no_control(text)?;
    let url = Url::parse(text).map_err(|e| match e {
        url::ParseError::RelativeUrlWithoutBase => format!("{not_one}: it begins with neither http:// nor https://"),
        e => format!("{not_one}: {e}"),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{not_one}: its scheme is neither http nor https"));
    }
    match (url.host_str(), url.port()) {
        (None | Some(""), _) => Err(format!("{not_one}: it has no host")),
        (_, Some(0)) => Err("has port 0, which nothing can listen on".into()),
        _ if url.as_str().len() > MAX_URL => Err(format!("is longer than {MAX_URL} bytes")),
        _ => Ok(url),
    }
}

pub(crate) fn method(text: &str) -> Checked<Method> {
    const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let text = USUAL.iter().find(|u| u.eq_ignore_ascii_case(text)).copied().unwrap_or(text);
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("makes a tunnel and is no request for a page".into()),
        Ok(method) => Ok(method),
        Err(_) => Err("is not a method like GET or POST".into()),
    }
}

/// Of a request. What frames the message is ours to say.
pub(crate) fn header_name(text: &str) -> Checked<HeaderName> {
    match any_header_name(text)? {
        name if name == http::header::CONTENT_LENGTH || name == http::header::TRANSFER_ENCODING => {
            Err("is made from the body and can't be set".into())
        }
        name => Ok(name),
    }
}

pub(crate) fn any_header_name(text: &str) -> Checked<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| "is not the name of a header like x-api-key".into())
}

pub(crate) fn header_value(text: &str) -> Checked<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| "is not the value of a header: it holds a control character, like a line end".into())
}

pub(crate) fn username(text: &str) -> Checked<()> {
    no_control(text)?;
    if text.contains(':') { Err("holds a `:`, which ends a user name".into()) } else { Ok(()) }
}

pub(crate) fn token(text: &str) -> Checked<()> {
    not_empty(text)?;
    header_value(text).map(drop)
}

pub(crate) fn server_name(text: &str) -> Checked<()> {
    ServerName::try_from(text).map(drop).map_err(|_| "is neither a host name nor an IP address".into())
}

/// `200`, or `200-299`.
pub(crate) fn status(text: &str) -> Checked<RangeInclusive<u16>> {
    let code = |s: &str| s.parse::<u16>().ok().filter(|n| s.len() == 3 && (100..=999).contains(n));
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (code(from), code(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        (Some(_), Some(_)) => Err("is a range that runs backwards".into()),
        _ => Err("is not a status like 200 or a range like 200-299, from 100 to 999".into()),
    }
}

pub(crate) fn quorum(text: &str) -> Checked<Quorum> {
    match (text, text.parse::<u32>()) {
        ("any", _) => Ok(Quorum::Any),
        ("majority", _) => Ok(Quorum::Majority),
        ("all", _) => Ok(Quorum::All),
        (_, Ok(n)) if n > 0 && text.bytes().all(|c| c.is_ascii_digit()) => Ok(Quorum::Number(n)),
        _ => Err("is none of any, majority, all or a number of locations".into()),
    }
}

pub(crate) fn network(text: &str) -> Checked<IpNet> {
    text.parse::<IpAddr>()
        .map(IpNet::from)
        .or_else(|_| text.parse::<IpNet>())
        .map_err(|_| "is neither an address nor a range like 10.0.0.0/8".into())
}

/// `IP` or `IP:PORT`; the port of DNS is 53.
pub(crate) fn resolver(text: &str) -> Checked<SocketAddr> {
    let address = text.parse::<SocketAddr>().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
    match address {
        Ok(a) if a.port() > 0 => Ok(a),
        Ok(_) | Err(_) => Err("is not the address of a resolver like 10.0.0.53:53".into()),
    }
}

/// `host:port`, where somebody listens.
pub(crate) fn host_port(text: &str) -> Checked<(String, u16)> {
    match split_port(text) {
        Some((Some(host), port)) if port > 0 => Ok((host, port)),
        Some(_) | None => Err("is not of the form host:port".into()),
    }
}

/// Where to listen: `host:port`, or `:port` for every address of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A name or an address, without brackets. `None`: every address.
    pub host: Option<Box<str>>,
    /// 0: any that is free.
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not where to listen, like 127.0.0.1:8080, or :8080 for every address")]
pub struct NotListen;

impl FromStr for Listen {
    type Err = NotListen;

    fn from_str(text: &str) -> Result<Self, NotListen> {
        let (host, port) = split_port(text).ok_or(NotListen)?;
        Ok(Self { host: host.map(Into::into), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{}:{}", host.unwrap_or_default(), self.port),
        }
    }
}

pub(crate) fn listen(text: &str) -> Checked<Listen> {
    text.parse().map_err(|e: NotListen| e.to_string())
}

/// The host without its brackets, `None` where there is none; and the port.
fn split_port(text: &str) -> Option<(Option<String>, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = if port.bytes().all(|c| c.is_ascii_digit()) { port.parse().ok()? } else { return None };
    if host.is_empty() {
        return Some((None, port));
    }
    let host = match Host::parse(host).ok()? {
        Host::Domain(name) if name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_')) => {
            name
        }
        Host::Domain(_) => return None,
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    Some((Some(host), port))
}

pub(crate) fn topic(text: &str) -> Checked<()> {
    let fits =
        (1..=249).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
    if fits && !matches!(text, "." | "..") {
        Ok(())
    } else {
        Err("is not the name of a topic: 1 to 249 of A-Z a-z 0-9 . _ -".into())
    }
}

pub(crate) fn replication(text: &str) -> Checked<Replication> {
    match text.parse::<u16>() {
        Ok(n @ 1..) if text.bytes().all(|c| c.is_ascii_digit()) => Ok(Replication::Copies(n)),
        _ if text == "auto" => Ok(Replication::Auto),
        _ => Err("is neither auto nor a number of copies".into()),
    }
}

/// Properties of Kafka that exactness rests on; the last three are librdkafka's other names for some of them.
pub(crate) const OURS: [&str; 11] = [
    "enable.idempotence",
    "acks",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "partition.assignment.strategy",
    "message.timeout.ms",
    "group.id",
    "bootstrap.servers",
    "request.required.acks",
    "delivery.timeout.ms",
    "metadata.broker.list",
];

/// Any property of librdkafka, but those that exactness rests on.
pub(crate) fn kafka_property(text: &str) -> Checked<()> {
    if OURS.contains(&text) {
        Err("can't be set: that no result is lost or doubled rests on it".into())
    } else if text.is_empty() || !text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)) {
        Err("is not the name of a property like compression.type".into())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(rule: fn(&str) -> Checked<T>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(rule(text).is_ok(), "{text}: {:?}", rule(text).err());
        }
        for text in bad {
            assert!(rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_is_http_and_has_a_host() {
        check(
            web_url,
            &[
                "https://example.org",
                "HTTP://EXAMPLE.org:81/a?b#c",
                "http://[::1]/",
                "http://u:p@h/",
                "https://bücher.example/",
            ],
            &[
                "",
                "example.org",
                "/a",
                "http://",
                "https:///",
                "http://a b/",
                "ftp://h/",
                "http://h:0/",
                "http://h:99999/",
                "http://h/\n",
                "mailto:a@b",
            ],
        );
        assert_eq!(web_url("http://h/a#b").map(|u| u.to_string()), Ok("http://h/a".into()));
        assert!(web_url(&format!("http://h/{}", "a".repeat(MAX_URL))).is_err());
    }

    #[test]
    fn a_proxy_is_a_host_and_a_port() {
        check(
            proxy_url,
            &["http://proxy:3128", "http://proxy", "HTTP://u:p%40ss@10.0.0.1:8080/", "http://[::1]:3128/"],
            &["", "proxy:3128", "socks5://proxy:1080", "https://proxy:443", "http://proxy/path", "http://proxy/?a=b"],
        );
    }

    #[test]
    fn a_status_is_a_code_or_a_range() {
        check(
            status,
            &["200", "200-299", "100-999", "204-204"],
            &["", "20", "2000", "099", "299-200", "200-", "-", "+20", "2xx", "200 - 299"],
        );
    }

    #[test]
    fn places_to_listen_and_to_connect_to() {
        check(
            listen,
            &["127.0.0.1:8080", ":8080", "[::1]:0", "localhost:80", "[::]:80", "my_host:1"],
            &["", "8080", "127.0.0.1", "127.0.0.1:", "::1:80", "h:99999", "h:+1", "a b:80", "[::1]", "999.1.1.1:80"],
        );
        for text in ["[::1]:80", ":80", "localhost:0"] {
            assert_eq!(listen(text).map(|l| l.to_string()), Ok(text.into()));
        }
        check(host_port, &["broker-1:9092", "10.0.0.1:1"], &["broker-1", ":9092", "h:0", "http://h:80"]);
        check(
            resolver,
            &["10.0.0.53:53", "10.0.0.53", "::1", "[::1]:53"],
            &["", "nonsense", "dns.example:53", "10.0.0.53:0", "10.0.0.53:x"],
        );
        check(
            network,
            &["10.0.0.1", "10.0.0.0/8", "::1", "fe80::/10", "10.1.2.3/8"],
            &["", "10.0.0.0/33", "10.0.0", "localhost"],
        );
    }

    #[test]
    fn headers_and_methods_are_those_of_http() {
        check(
            header_name,
            &["x-api-key", "Accept"],
            &["", "bad name", "a:b", "é", "content-length", "Transfer-Encoding"],
        );
        check(header_value, &["", "a b\tc", "é"], &["a\nb", "a\r", "\u{0}", "\u{7f}"]);
        check(method, &["GET", "get", "PROPFIND", "M-SEARCH"], &["", "A B", "GET\n", "CONNECT", "é"]);
        assert_eq!(method("post"), Ok(Method::POST));
    }

    #[test]
    fn words_and_names() {
        check(quorum, &["any", "majority", "all", "1", "3"], &["", "0", "-1", "+1", "most"]);
        check(replication, &["auto", "1", "3"], &["", "0", "AUTO", "99999"]);
        check(server_name, &["example.org", "::1", "10.0.0.1", "localhost"], &["", "a b", "http://x"]);
        check(topic, &["lapwing.results", "A_b-1"], &["", ".", "..", "a b", "é"]);
        check(
            kafka_property,
            &["compression.type", "linger.ms"],
            &["", "acks", "group.id", "a b", "bootstrap.servers", "metadata.broker.list"],
        );
        check(name, &["Shop cart", "é"], &["", "  ", "a\nb"]);
        check(username, &["u", ""], &["a:b", "a\n"]);
    }
}
