//! TLS with the server, by libpq's rules: what `sslmode` verifies, whom `sslrootcert` trusts.

use super::{
    error::Fault,
    server::{Mode, Tls},
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime, pem::PemObject},
};
use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    fs,
    io::{AsyncRead, AsyncWrite},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Shakes hands with `host`. What is wrong is told in words of ours: a file, a certificate, an alert.
pub(super) async fn handshake<S>(stream: S, host: &str, tls: &Tls) -> Result<TlsStream<S>, Handshake>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier {
        trust: Trust::of(tls).await.map_err(Handshake::Refused)?,
        name: (tls.mode == Mode::VerifyFull).then(|| host.to_owned()),
        provider: Arc::clone(&provider),
        refusal: Mutex::default(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Handshake::Refused(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>);
    let config = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let (chain, key) = identity(certificate, key).await.map_err(Handshake::Refused)?;
            config.with_client_auth_cert(chain, key).map_err(|e| Handshake::Refused(format!("sslcert: {e}")))?
        }
        _ => config.with_no_client_auth(),
    };
    // A host that is no name for TLS (an underscore) is connected to without one; the verifier has its own copy.
    let name = ServerName::try_from(host.to_owned());
    let name = name.unwrap_or_else(|_| ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into()));
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| verifier.why(e))
}

/// How a handshake can fail.
#[derive(Debug)]
pub(super) enum Handshake {
    /// Something that stays as it is.
    Refused(String),
    Broken(std::io::Error),
}

impl Handshake {
    pub fn into_fault(self, at: &Arc<str>) -> Fault {
        match self {
            Self::Refused(why) => super::error::OpenError::Tls { at: Arc::clone(at), why }.into(),
            Self::Broken(e) => e.into(),
        }
    }
}

async fn read(what: &str, path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).await.map_err(|e| format!("{what} {} can't be read: {e}", path.display()))
}

async fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(what, path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{what} {} holds no certificate in PEM form", path.display())),
        Err(e) => Err(format!("{what} {} holds a broken certificate: {e}", path.display())),
    }
}

async fn identity(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = certificates("sslcert", certificate).await?;
    let pem = read("sslkey", key).await?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| format!("sslkey {} holds no private key in PEM form without a password", key.display()))?;
    Ok((chain, key))
}

/// Whom a connection believes.
#[derive(Debug)]
enum Trust {
    /// Anybody: `allow`, `prefer`, `require`.
    Anybody,
    /// Roots, and leaves that are trusted as themselves, as OpenSSL does: what `openssl req -x509` makes is one's own root.
    Roots { roots: Vec<TrustAnchor<'static>>, leaves: Vec<CertificateDer<'static>> },
}

impl Trust {
    async fn of(tls: &Tls) -> Result<Self, String> {
        match (tls.mode, &tls.root) {
            (Mode::Disable | Mode::Allow | Mode::Prefer | Mode::Require, _) => Ok(Self::Anybody),
            (Mode::VerifyCa | Mode::VerifyFull, Some(root)) if !tls.trusts_the_system() => {
                let leaves = certificates("sslrootcert", root).await?;
                let roots: Vec<_> = leaves.iter().filter_map(anchor).collect();
                match roots.is_empty() {
                    true => Err(format!("sslrootcert {} holds no certificate that can be trusted", root.display())),
                    false => Ok(Self::Roots { roots, leaves }),
                }
            }
            (Mode::VerifyCa | Mode::VerifyFull, _) => {
                let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
                let found = found.map_err(|e| e.to_string())?.certs;
                let mut roots: Vec<_> = found.iter().filter_map(anchor).collect();
                if roots.is_empty() {
                    roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
                }
                Ok(Self::Roots { roots, leaves: Vec::new() })
            }
        }
    }
}

fn anchor(certificate: &CertificateDer<'static>) -> Option<TrustAnchor<'static>> {
    webpki::anchor_from_trusted_cert(certificate).ok().map(|anchor| anchor.to_owned())
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    /// The host, where it must be in the certificate.
    name: Option<String>,
    provider: Arc<CryptoProvider>,
    refusal: Mutex<Option<String>>,
}

impl Verifier {
    /// What the certificate was refused for, or what broke.
    fn why(&self, e: std::io::Error) -> Handshake {
        if let Some(why) = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Handshake::Refused(why);
        }
        match e.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some()) {
            true => Handshake::Refused(e.to_string()),
            false => Handshake::Broken(e),
        }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        let Trust::Roots { roots, leaves } = &self.trust else { return Ok(()) };
        if leaves.contains(leaf) {
            valid_at(leaf, now)?;
        } else {
            let parsed = EndEntityCert::try_from(leaf).map_err(|e| format!("its certificate can't be read: {e}"))?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            parsed
                .verify_for_usage(algorithms, roots, intermediates, now, KeyUsage::server_auth(), None, None)
                .map_err(|e| untrusted(&e))?;
        }
        self.name.as_deref().map_or(Ok(()), |name| is_for(leaf, name))
    }
}

fn untrusted(e: &webpki::Error) -> String {
    match e {
        webpki::Error::CertExpired { .. } => {
            "its certificate, or one on the way to the root, has expired: the server needs a new one".to_owned()
        }
        webpki::Error::CertNotValidYet { .. } => "its certificate is not valid yet".to_owned(),
        webpki::Error::UnknownIssuer => "its certificate is not trusted: check sslrootcert".to_owned(),
        other => format!("its certificate is not trusted: {other}"),
    }
}

fn valid_at(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| format!("its certificate can't be read: {e}"))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match (parsed.validity().not_before.timestamp() <= now, now <= parsed.validity().not_after.timestamp()) {
        (true, true) => Ok(()),
        (true, false) => Err("its certificate has expired: the server needs a new one".into()),
        (false, _) => Err("its certificate is not valid yet".into()),
    }
}

/// As libpq: by the alternative names, and by the common name of a certificate that has none.
fn is_for(leaf: &CertificateDer<'_>, host: &str) -> Result<(), String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| format!("its certificate can't be read: {e}"))?;
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.extend(address(bytes).map(|ip| ip.to_string())),
                _ => {} // names of other things
            }
        }
    }
    if names.is_empty() {
        names.extend(parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned));
    }
    match names.iter().any(|name| covers(name, host)) {
        true => Ok(()),
        false => Err(format!(
            "its certificate is for {}, not for {host}: name the server so in the store URL",
            names.join(", ")
        )),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A star stands for one whole label, and never for a part of an address.
fn covers(name: &str, host: &str) -> bool {
    match (host.parse::<IpAddr>(), name.strip_prefix("*.")) {
        (Ok(ip), _) => name.parse() == Ok(ip),
        (Err(_), Some(rest)) => host.split_once('.').is_some_and(|(_, of)| of.eq_ignore_ascii_case(rest)),
        (Err(_), None) => name.eq_ignore_ascii_case(host),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion()).map_err(|why| {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            CertificateError::ApplicationVerificationFailure.into()
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label_and_an_address_only_itself() {
        for (name, host, is) in [
            ("db.example", "DB.example", true),
            ("*.example", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", "example", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("db.example", "db.example.org", false),
        ] {
            assert_eq!(covers(name, host), is, "{name} {host}");
        }
    }
}
