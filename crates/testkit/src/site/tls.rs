//! The TLS side of a site: which certificate it shows, what it demands, and what a handshake agreed on.

use crate::pki::{Authority, Identity};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;
use std::time::Duration;

/// How a site speaks TLS. What happens *instead* of a handshake is told by [`Setup::https`](super::Setup::https) and a greeting.
#[derive(Clone, Debug)]
pub struct Tls {
    identity: Identity,
    versions: Vec<Version>,
    alpn: Vec<Vec<u8>>,
    client_ca: Option<CertificateDer<'static>>,
    pub(super) late: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

impl Tls {
    /// Shows the identity's chain; TLS 1.2 and 1.3, no ALPN, no client certificate.
    pub fn with(identity: &Identity) -> Self {
        Self {
            identity: identity.clone(),
            versions: vec![Version::Tls12, Version::Tls13],
            alpn: Vec::new(),
            client_ca: None,
            late: Duration::ZERO,
        }
    }

    /// Speaks one version only.
    pub fn only(self, version: Version) -> Self {
        Self { versions: vec![version], ..self }
    }

    /// Offers these protocols; a client that asks for others only is refused.
    pub fn alpn(self, protocols: &[&str]) -> Self {
        Self { alpn: protocols.iter().map(|p| p.as_bytes().to_vec()).collect(), ..self }
    }

    /// Demands a client certificate of this authority.
    pub fn demand_client(self, authority: &Authority) -> Self {
        Self { client_ca: Some(authority.der.clone()), ..self }
    }

    /// Waits so many milliseconds before the handshake.
    pub fn late(self, ms: u64) -> Self {
        Self { late: Duration::from_millis(ms), ..self }
    }

    pub(super) fn config(&self) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let versions: Vec<_> = self.versions.iter().map(|v| v.supported()).collect();
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .expect("ring knows both versions");
        let config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca.clone()).expect("the kit's authorities are well-formed");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.expect("there is one root"))
            }
        };
        let (chain, key) = (self.identity.chain.clone(), self.identity.key_der());
        let mut config = config.with_single_cert(chain, key).expect("the key belongs to the certificate");
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }
}

impl Version {
    fn supported(self) -> &'static rustls::SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

/// What a handshake agreed on, as the site saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub version: Version,
    pub alpn: Option<String>,
    /// The name that the client asked for (SNI); `None` for an address.
    pub server_name: Option<String>,
    /// The client's leaf certificate.
    pub client: Option<CertificateDer<'static>>,
    /// Whether the client took up an earlier session.
    pub resumed: bool,
}

impl Session {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
                _ => Version::Tls13,
            },
            alpn: connection.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()),
            server_name: connection.server_name().map(str::to_owned),
            client: connection.peer_certificates().and_then(<[_]>::first).cloned().map(CertificateDer::into_owned),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}
