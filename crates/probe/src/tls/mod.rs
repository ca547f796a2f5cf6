//! TLS: settings to a configuration, a handshake whose certificate is seen whatever comes of it.

mod certificate;
mod verify;

use crate::{
    shortage,
    stream::{Stream, Tls},
    tcp::Tcp,
};
use model::{
    Reason, UnixMs,
    answer::Validity,
    result::{Finding, TlsSeen},
    target::{ClientCertificate, Http, PrivateKey, TlsSettings, TlsVersion},
};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer, ServerName,
        TrustAnchor,
    },
    version,
};
use rustls_native_certs::ErrorKind;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio_rustls::TlsConnector;
pub use verify::Capture;
use verify::Trust;

/// Settings that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request.tls: {0}")]
pub struct TlsTrouble(String);

/// What was built from each target's settings, found again by the address of the settings, which are shared.
#[derive(Debug, Default)]
pub struct Configs {
    built: Mutex<HashMap<usize, Built>>,
}

/// The settings are kept, so that their address stays theirs.
type Built = (Arc<TlsSettings>, Arc<Config>);

/// A configuration, less the verifier, which is made for each handshake.
#[derive(Debug)]
pub struct Config {
    with_client_certificate: ClientConfig,
    plain: ClientConfig,
    trust: Arc<Trust>,
}

/// More than a configuration has kinds of TLS settings; those of an older configuration go when it is reached.
const KEPT: usize = 4096;

impl Configs {
    pub fn get(&self, settings: &Arc<TlsSettings>) -> Result<Arc<Config>, TlsTrouble> {
        let key = Arc::as_ptr(settings).addr();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = built.get(&key) {
            return Ok(Arc::clone(config));
        }
        if built.len() >= KEPT {
            built.retain(|_, (settings, _)| Arc::strong_count(settings) > 1);
        }
        let config = Arc::new(Config::new(settings)?);
        built.insert(key, (Arc::clone(settings), Arc::clone(&config)));
        Ok(config)
    }
}

impl Config {
    fn new(settings: &TlsSettings) -> Result<Self, TlsTrouble> {
        let trust = match (&settings.ca, settings.verify) {
            (_, false) => Trust::Anything,
            (None, true) => Trust::Roots(system_roots()?),
            (Some(ca), true) => {
                Trust::Given { roots: roots_of(ca), leaves: ca.iter().cloned().map(CertificateDer::from).collect() }
            }
        };
        let client = |certificate: Option<&ClientCertificate>| {
            let versions: &[_] = match settings.min_version {
                TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
                TlsVersion::V1_3 => &[&version::TLS13],
            };
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(versions)
                .map_err(|e| TlsTrouble(e.to_string()))?
                .with_root_certificates(RootCertStore::empty());
            let mut config = match certificate {
                None => builder.with_no_client_auth(),
                Some(c) => builder
                    .with_client_auth_cert(c.chain.iter().cloned().map(CertificateDer::from).collect(), key_of(&c.key))
                    .map_err(|e| TlsTrouble(format!("cert_file and key_file can't be used together: {e}")))?,
            };
            config.resumption = Resumption::disabled();
            Ok(config)
        };
        Ok(Self {
            with_client_certificate: client(settings.client.as_ref())?,
            plain: client(None)?,
            trust: Arc::new(trust),
        })
    }
}

impl Config {
    /// The verifier of one handshake.
    pub fn capture(&self, now: UnixMs) -> Capture {
        Capture::new(Arc::clone(&self.trust), now)
    }
}

fn key_of(key: &PrivateKey) -> PrivateKeyDer<'static> {
    match key {
        PrivateKey::Pkcs8(der) => PrivatePkcs8KeyDer::from(der.to_vec()).into(),
        PrivateKey::Pkcs1(der) => PrivatePkcs1KeyDer::from(der.to_vec()).into(),
        PrivateKey::Sec1(der) => PrivateSec1KeyDer::from(der.to_vec()).into(),
    }
}

fn roots_of(certificates: &[Vec<u8>]) -> Vec<TrustAnchor<'static>> {
    let anchor = |der: &Vec<u8>| {
        webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).ok().map(|a| a.to_owned())
    };
    certificates.iter().filter_map(anchor).collect()
}

/// The system's store (`SSL_CERT_FILE`, `SSL_CERT_DIR`), or Mozilla's roots where that is empty. Read once.
///
/// # Errors
/// A shortage of ours: what could not be read for that is not empty.
fn system_roots() -> Result<Arc<[TrustAnchor<'static>]>, TlsTrouble> {
    static ROOTS: OnceLock<Arc<[TrustAnchor<'static>]>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let native = rustls_native_certs::load_native_certs();
    for e in &native.errors {
        if let ErrorKind::Io { inner, .. } = &e.kind
            && let Some(what) = shortage::of(inner)
        {
            return Err(TlsTrouble(format!("can't read the system's certificates: {what}")));
        }
        tracing::warn!(error = %e, "can't read a part of the system's certificates");
    }
    let certificates: Vec<_> = native.certs.iter().map(|c| c.to_vec()).collect();
    Ok(Arc::clone(ROOTS.get_or_init(|| roots_or_bundled(&certificates))))
}

fn roots_or_bundled(certificates: &[Vec<u8>]) -> Arc<[TrustAnchor<'static>]> {
    let roots = roots_of(certificates);
    let bundled = || webpki_roots::TLS_SERVER_ROOTS.iter().map(TrustAnchor::to_owned).collect();
    if roots.is_empty() { bundled() } else { roots.into() }
}

/// To whom a handshake is made.
#[derive(Debug)]
pub struct Peer<'a> {
    pub host: &'a str,
    pub with_client_certificate: bool,
    pub http: Http,
}

/// What HTTP/2 is called in a handshake (RFC 9113, section 3.2).
pub const H2: &[u8] = b"h2";

/// The versions of HTTP that are offered (ALPN, RFC 7301), the best one first.
fn offered(http: Http) -> Vec<Vec<u8>> {
    const HTTP_1_1: &[u8] = b"http/1.1";
    let list: &[&[u8]] = match http {
        Http::Auto => &[H2, HTTP_1_1],
        Http::V1_1 => &[HTTP_1_1],
        Http::V2 => &[H2],
    };
    list.iter().map(|name| name.to_vec()).collect()
}

/// What a handshake showed, whatever came of it.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// As the server sent them, its own first.
    chain: Vec<CertificateDer<'static>>,
    /// Which of them are the verified path, the leaf first, the root left out. Empty before or without verification.
    path: Vec<usize>,
    version: Option<&'static str>,
}

impl Shown {
    /// The leaf for the record.
    pub fn seen(&self) -> Option<TlsSeen> {
        certificate::seen(self.chain.first()?, self.version)
    }

    /// What certificate limits are held against: the verified path without its root, or all that was presented.
    pub fn validities(&self) -> Vec<Validity> {
        let all: Vec<usize> = (0..self.chain.len()).collect();
        let counted = if self.path.is_empty() { &all } else { &self.path };
        counted.iter().filter_map(|&i| certificate::validity(self.chain.get(i)?)).collect()
    }
}

/// A TLS handshake on a fresh connection. The capture tells what was presented, also when this is given up.
///
/// # Errors
/// A reason of phase `tls`.
pub async fn handshake(config: &Config, tcp: Tcp, peer: &Peer<'_>, capture: Arc<Capture>) -> Result<Stream, Finding> {
    let name = ServerName::try_from(peer.host.to_owned())
        .map_err(|_| Finding::new(Reason::TlsFailed, format!("{} can't be a name in TLS", peer.host)))?;
    let base = if peer.with_client_certificate { &config.with_client_certificate } else { &config.plain };
    let mut client = base.clone();
    client.alpn_protocols = offered(peer.http);
    client.dangerous().set_certificate_verifier(Arc::clone(&capture) as _);
    match TlsConnector::from(Arc::new(client)).connect(name, tcp).await {
        Ok(stream) => {
            capture.note_version(stream.get_ref().1.protocol_version().and_then(version_word));
            Ok(Stream::Tls(Box::new(Tls::new(stream))))
        }
        Err(e) => Err(capture.refusal().unwrap_or_else(|| match shortage::of(&e) {
            Some(what) => Finding::new(Reason::ProberFailed, what),
            None => Finding::new(Reason::TlsFailed, why(&e)),
        })),
    }
}

fn version_word(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("1.2"),
        ProtocolVersion::TLSv1_3 => Some("1.3"),
        _ => None,
    }
}

/// What rustls says is inside an IO error, if it is rustls that says it.
pub fn tls_error(e: &io::Error) -> Option<&rustls::Error> {
    e.get_ref()?.downcast_ref()
}

/// Why a handshake failed, in words for people.
pub fn why(e: &io::Error) -> String {
    match tls_error(e) {
        Some(rustls::Error::AlertReceived(alert)) => format!("the server refused the TLS handshake: alert {alert:?}"),
        Some(rustls::Error::InvalidMessage(_)) => "the server does not speak TLS on this port".into(),
        Some(other) => format!("the TLS handshake failed: {other}"),
        None if e.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection during the TLS handshake".into()
        }
        None if e.kind() == io::ErrorKind::ConnectionReset => {
            "the server reset the connection during the TLS handshake".into()
        }
        None => format!("the TLS handshake failed: {e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_store_of_the_system_is_mozillas() {
        assert!(roots_or_bundled(&[]).len() > 50);
        assert_eq!(roots_or_bundled(&[testkit::pki().root.der.to_vec()]).len(), 1);
    }
}
