//! What a request says: the same header lines for every version of HTTP, and how HTTP/1.1 spells them.

use crate::hop::Hop;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue, Method, header};
use model::{Target, target::Proxy};
use percent_encoding::percent_decode_str;
use url::Position;

/// What the requests of one check are made of.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub target: &'a Target,
    /// Where the target sets none.
    pub user_agent: &'a HeaderValue,
}

/// A header line.
pub type Line = (HeaderName, HeaderValue);

impl<'a> Asking<'a> {
    /// Whom the request is for: a configured `host` header, or the URL's host with its port.
    pub fn host(&self, hop: &Hop) -> HeaderValue {
        let configured = self.configured(hop).find(|(name, _)| *name == header::HOST);
        configured.map_or_else(|| host_of(hop), |(_, value)| value.clone())
    }

    /// All lines but `host`. Sent by default: user-agent, `accept: */*` and `connection: close`; a configured header replaces
    /// the default one of its name. No accept-encoding, no referer.
    pub fn lines(&self, hop: &Hop, cookies: Option<HeaderValue>) -> Vec<Line> {
        let usual = [
            (header::USER_AGENT, self.user_agent.clone()),
            (header::ACCEPT, HeaderValue::from_static("*/*")),
            (header::CONNECTION, HeaderValue::from_static("close")),
        ];
        let is_configured = |name: &HeaderName| self.configured(hop).any(|(n, _)| n == name);
        let mut lines: Vec<Line> = usual.into_iter().filter(|(name, _)| !is_configured(name)).collect();
        let replaced = |name: &HeaderName| *name == header::HOST || (*name == header::COOKIE && cookies.is_some());
        lines.extend(self.configured(hop).filter(|(name, _)| !replaced(name)).cloned());
        lines.extend(cookies.map(|value| (header::COOKIE, value)));
        if !is_configured(&header::AUTHORIZATION)
            && let Some(value) = self.authorization(hop)
        {
            lines.push((header::AUTHORIZATION, value));
        }
        if let Some(proxy) = self.proxy().filter(|_| !hop.is_https() && !is_configured(&header::PROXY_AUTHORIZATION)) {
            lines.extend(proxy.authorization.clone().map(|value| (header::PROXY_AUTHORIZATION, value)));
        }
        let body = self.body(hop);
        // RFC 9110 8.6: a request whose method gives a body a meaning says its length, also when there is none.
        if body.is_some() || [Method::POST, Method::PUT, Method::PATCH].contains(&hop.method) {
            lines.push((header::CONTENT_LENGTH, body.map_or(0, <[u8]>::len).into()));
        }
        lines
    }

    /// The head of a request in HTTP/1.1. A proxy is told the whole URL, without its user info.
    pub fn http1(&self, hop: &Hop, cookies: Option<HeaderValue>) -> BytesMut {
        let mut out = BytesMut::with_capacity(512);
        out.put_slice(hop.method.as_str().as_bytes());
        out.put_u8(b' ');
        if self.proxy().is_some() && !hop.is_https() {
            out.put_slice(hop.url[..Position::AfterScheme].as_bytes());
            out.put_slice(b"://");
            out.put_slice(hop.url[Position::BeforeHost..Position::AfterPort].as_bytes());
        }
        out.put_slice(hop.url[Position::BeforePath..Position::AfterQuery].as_bytes());
        out.put_slice(b" HTTP/1.1\r\n");
        line(&mut out, &header::HOST, &self.host(hop));
        for (name, value) in self.lines(hop, cookies) {
            line(&mut out, &name, &value);
        }
        out.put_slice(b"\r\n");
        out
    }

    /// Asks a proxy for a way to the hop's host (RFC 9110, section 9.3.6). Nothing that is meant for the site is in it.
    pub fn connect(&self, hop: &Hop, proxy: &Proxy) -> BytesMut {
        let mut out = BytesMut::with_capacity(256);
        let host = &hop.url[Position::BeforeHost..Position::AfterHost];
        let place = format!("{host}:{}", hop.port());
        out.put_slice(format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n").as_bytes());
        line(&mut out, &header::USER_AGENT, self.user_agent);
        let configured = || self.target.request.headers.iter().filter(|(name, _)| *name == header::PROXY_AUTHORIZATION);
        let own = proxy.authorization.iter().filter(|_| configured().next().is_none());
        for value in configured().map(|(_, value)| value).chain(own) {
            line(&mut out, &header::PROXY_AUTHORIZATION, value);
        }
        out.put_slice(b"\r\n");
        out
    }

    pub fn body(&self, hop: &Hop) -> Option<&'a [u8]> {
        self.target.request.body.as_deref().filter(|_| hop.with_body)
    }

    /// What a configured cookie header says to this hop.
    pub fn cookies(&self, hop: &Hop) -> impl Iterator<Item = &'a HeaderValue> {
        self.configured(hop).filter(|(name, _)| *name == header::COOKIE).map(|(_, value)| value)
    }

    fn proxy(&self) -> Option<&'a Proxy> {
        self.target.request.proxy.as_deref()
    }

    fn configured(&self, hop: &Hop) -> impl Iterator<Item = &'a Line> {
        let with_proxy = self.proxy().is_some();
        self.target.request.headers.iter().filter(move |(name, _)| goes_along(name, hop, with_proxy))
    }

    fn authorization(&self, hop: &Hop) -> Option<HeaderValue> {
        if !hop.with_credentials {
            return None;
        }
        self.target.request.authorization.clone().or_else(|| of_user_info(self.target))
    }
}

fn line(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

/// Which configured headers this hop carries. The framing is never theirs to say, and what is for a proxy is not for a site.
fn goes_along(name: &HeaderName, hop: &Hop, with_proxy: bool) -> bool {
    match *name {
        header::PROXY_AUTHORIZATION if with_proxy => !hop.is_https(),
        header::AUTHORIZATION | header::COOKIE | header::PROXY_AUTHORIZATION => hop.with_credentials,
        header::HOST => hop.same_host,
        header::CONTENT_LENGTH | header::TRANSFER_ENCODING => false,
        header::CONTENT_TYPE
        | header::CONTENT_ENCODING
        | header::CONTENT_LANGUAGE
        | header::CONTENT_LOCATION
        | header::EXPECT => hop.with_body,
        _ => true,
    }
}

fn host_of(hop: &Hop) -> HeaderValue {
    let host = &hop.url[Position::BeforeHost..Position::AfterPort];
    HeaderValue::from_str(host).expect("a URL is printable ASCII")
}

/// The user info of the target's URL as basic authentication (RFC 7617).
fn of_user_info(target: &Target) -> Option<HeaderValue> {
    let url = &target.url;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
