//! What is watched, as meant: nothing left to decide, every default filled in, every file read.

use crate::{
    Location, TargetId,
    cel::Expression,
    pattern::{HeaderPattern, Patterns},
};
use http::{HeaderName, HeaderValue, Method};
use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc, time::Duration};
use url::Url;

/// A target, cheap to clone: everything of size is shared.
#[derive(Clone, PartialEq)]
pub struct Target {
    pub id: TargetId,
    pub name: Arc<str>,
    pub group: Option<Arc<str>>,
    pub labels: Arc<BTreeMap<String, String>>,
    pub enabled: bool,
    /// `None`: every location looks.
    pub locations: Option<Arc<[Location]>>,
    /// Whole milliseconds, 1 s to 24 h.
    pub interval_ms: u32,
    /// Of one attempt, all phases.
    pub timeout: Duration,
    /// Further attempts, each on a fresh connection, before `down` is reported.
    pub retries: u32,
    /// `http` or `https`, with a host. May hold user info; shown only through [`crate::text::masked_url`].
    pub url: Arc<Url>,
    pub request: Arc<Request>,
    /// All must hold, else `down`.
    pub expect: Arc<Limits>,
    /// A miss is `degraded`.
    pub warn: Arc<Limits>,
    /// Every body pattern of `expect` and `warn`, compiled to be searched in one pass.
    pub patterns: Option<Arc<Patterns>>,
    pub incident: IncidentRule,
}

/// Enough to tell it from others; the URL and the request may hold secrets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("id", &self.id)
            .field("url", &crate::text::masked_url(&self.url))
            .finish_non_exhaustive()
    }
}

/// How to ask.
#[derive(Clone, PartialEq)]
pub struct Request {
    pub method: Method,
    /// As configured, names in lower case; repeats keep their order. Values may be secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Arc<[u8]>>,
    /// The value of `authorization` made of `basic_auth` or `bearer_token`; secret. User info of the URL is not in it.
    pub authorization: Option<HeaderValue>,
    /// How many redirects to follow; 0: the redirect itself is the answer.
    pub redirects: u32,
    pub lookup: Lookup,
    pub http: Http,
    /// `None`: sites are asked directly, whatever the environment says.
    pub proxy: Option<Arc<Proxy>>,
    pub tls: Arc<TlsSettings>,
    /// Bytes, after decompression.
    pub max_body: u64,
    /// Configured texts that no message may show: passwords, tokens, secret header values, what came from a file.
    pub secrets: Arc<[Box<str>]>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("redirects", &self.redirects)
            .field("lookup", &self.lookup)
            .field("http", &self.http)
            .field("proxy", &self.proxy)
            .field("tls", &self.tls)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

/// How a host name becomes addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Empty: the prober's own, or the system's.
    pub resolvers: Arc<[SocketAddr]>,
    pub family: Family,
}

/// Which addresses of a host are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both, by happy eyeballs.
    #[default]
    Auto,
    V4,
    V6,
}

/// Which versions of HTTP may be spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Http {
    /// HTTP/2 where a site agrees to it in its TLS handshake (ALPN), else HTTP/1.1.
    #[default]
    Auto,
    V1_1,
    /// Nothing else is offered, and without TLS it is spoken without asking ("prior knowledge").
    V2,
}

/// An HTTP proxy. All of it but the authorization may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// A name, or an address without brackets.
    pub host: Box<str>,
    pub port: u16,
    /// The value of `proxy-authorization`, made of the URL's user info; secret.
    pub authorization: Option<HeaderValue>,
}

/// How to speak TLS. Equal settings share one `Arc`, so that what is built from them can be shared by its address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    pub verify: bool,
    /// DER certificates of `ca_file`, which replace the system's store. Never empty.
    pub ca: Option<Arc<[Vec<u8>]>>,
    pub client: Option<ClientCertificate>,
    /// Instead of the URL's host.
    pub server_name: Option<String>,
    pub min_version: TlsVersion,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { verify: true, ca: None, client: None, server_name: None, min_version: TlsVersion::V1_2 }
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("verify", &self.verify)
            .field("ca", &self.ca.as_ref().map(|c| c.len()))
            .field("client", &self.client.is_some())
            .field("server_name", &self.server_name)
            .field("min_version", &self.min_version)
            .finish()
    }
}

/// A certificate chain and its private key, both DER; the key in PKCS#8, PKCS#1 or SEC1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    pub chain: Arc<[Vec<u8>]>,
    pub key: PrivateKey,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PrivateKey {
    Pkcs8(Arc<[u8]>),
    Pkcs1(Arc<[u8]>),
    Sec1(Arc<[u8]>),
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// What is asked of an answer. The same shape for `expect` and `warn`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub status: Option<StatusSet>,
    pub headers: Vec<(HeaderName, HeaderPattern)>,
    /// Indices into the target's [`Patterns`].
    pub matches: Vec<usize>,
    /// Indices into the target's [`Patterns`].
    pub not_matches: Vec<usize>,
    pub cel: Option<Arc<Expression>>,
    /// Total of the last attempt.
    pub time: Option<Duration>,
    pub certificate: Option<CertificateLimit>,
}

impl Target {
    /// Those of `expect` and of `warn`.
    pub fn expressions(&self) -> impl Iterator<Item = &Arc<Expression>> {
        [&self.expect, &self.warn].into_iter().filter_map(|limits| limits.cel.as_ref())
    }
}

/// Inclusive ranges of status codes, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(pub Vec<std::ops::RangeInclusive<u16>>);

impl StatusSet {
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|r| r.contains(&status))
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            if r.start() == r.end() {
                write!(f, "{comma}{}", r.start())?;
            } else {
                write!(f, "{comma}{}-{}", r.start(), r.end())?;
            }
        }
        Ok(())
    }
}

/// How long a certificate must stay valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CertificateLimit {
    Remaining(Duration),
    /// Per cent of its lifetime, more than 0 and at most 100.
    Share(f64),
}

/// When results become an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentRule {
    /// Results in a row that are not fine before an incident opens.
    pub after: u32,
    /// Results in a row that are fine before it closes.
    pub recover: u32,
    pub locations: Quorum,
}

impl Default for IncidentRule {
    fn default() -> Self {
        Self { after: 2, recover: 1, locations: Quorum::Majority }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    Any,
    Majority,
    All,
    Number(u32),
}

impl Target {
    /// Whether a prober of this location looks at it.
    pub fn is_watched_from(&self, location: &Location) -> bool {
        self.enabled && self.locations.as_ref().is_none_or(|l| l.contains(location))
    }
}
