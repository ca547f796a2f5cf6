//! A verifier that looks first and judges then, so that a certificate is in the record also when it is refused.

use super::{Shown, certificate};
use model::{Reason, UnixMs, result::Finding, text::duration};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use webpki::{EndEntityCert, KeyUsage};

/// Whom we trust.
#[derive(Debug)]
pub enum Trust {
    /// `verify: false`. The handshake's own signature is not verified either: without trust it proves nothing.
    Anything,
    Roots(Arc<[TrustAnchor<'static>]>),
    /// A `ca_file`: its certificates as roots, and a leaf that is one of them as itself.
    Given {
        roots: Vec<TrustAnchor<'static>>,
        leaves: Vec<CertificateDer<'static>>,
    },
}

/// The verifier of one handshake.
#[derive(Debug)]
pub struct Capture {
    trust: Arc<Trust>,
    now: UnixMs,
    taken: Mutex<(Shown, Option<Finding>)>,
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    static ALGORITHMS: OnceLock<WebPkiSupportedAlgorithms> = OnceLock::new();
    ALGORITHMS.get_or_init(|| ring::default_provider().signature_verification_algorithms)
}

impl Capture {
    pub fn new(trust: Arc<Trust>, now: UnixMs) -> Self {
        Self { trust, now, taken: Mutex::default() }
    }

    /// What was presented so far.
    pub fn shown(&self) -> Shown {
        self.taken().0.clone()
    }

    /// Why it was refused, if it was.
    pub fn refusal(&self) -> Option<Finding> {
        self.taken().1.clone()
    }

    pub fn note_version(&self, version: Option<&'static str>) {
        self.taken().0.version = version;
    }

    fn taken(&self) -> MutexGuard<'_, (Shown, Option<Finding>)> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The verified path as indices into the chain, or the reason against it: dates before trust before name.
    fn judge(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Result<Vec<usize>, Finding> {
        let (leaf, intermediates) =
            chain.split_first().ok_or_else(|| Finding::new(Reason::TlsFailed, "the server sent no certificate"))?;
        let (roots, pinned) = match &*self.trust {
            Trust::Anything => return Ok(Vec::new()),
            Trust::Roots(roots) => (&**roots, false),
            Trust::Given { roots, leaves } => (&**roots, leaves.contains(leaf)),
        };
        self.judge_dates(leaf)?;
        let parsed = EndEntityCert::try_from(leaf);
        let path = if pinned {
            vec![0]
        } else {
            let untrusted = |e: webpki::Error| Finding::new(self.reason_of(&e), untrusted(leaf, &e));
            let cert = parsed.as_ref().map_err(|e| untrusted(e.clone()))?;
            let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(self.now.0).unwrap_or(0)));
            let path = cert
                .verify_for_usage(algorithms().all, roots, intermediates, now, KeyUsage::server_auth(), None, None)
                .map_err(untrusted)?;
            let ders: Vec<_> = path.intermediate_certificates().map(webpki::Cert::der).collect();
            std::iter::once(0).chain(ders.iter().filter_map(|der| chain.iter().position(|c| c == der))).collect()
        };
        let cert =
            parsed.map_err(|e| Finding::new(Reason::TlsFailed, format!("the certificate can't be read: {e}")))?;
        cert.verify_is_valid_for_subject_name(name).map_err(|_| {
            let of = certificate::names(leaf);
            let for_whom = if of.is_empty() { "no name".to_owned() } else { of.join(", ") };
            Finding::new(Reason::TlsWrongHost, format!("the certificate is for {for_whom}, not for {}", name.to_str()))
        })?;
        Ok(path)
    }

    fn judge_dates(&self, leaf: &CertificateDer<'_>) -> Result<(), Finding> {
        let Some(v) = certificate::validity(leaf) else { return Ok(()) };
        if v.not_after < self.now {
            let ago = duration(self.now.since(v.not_after));
            return Err(Finding::new(
                Reason::TlsExpired,
                format!("the certificate expired {ago} ago ({})", v.not_after),
            ));
        }
        if v.not_before > self.now {
            let ahead = duration(v.not_before.since(self.now));
            return Err(Finding::new(
                Reason::TlsNotYetValid,
                format!("the certificate is not valid before {} ({ahead} from now)", v.not_before),
            ));
        }
        Ok(())
    }

    fn reason_of(&self, e: &webpki::Error) -> Reason {
        match e {
            webpki::Error::CertExpired { .. } => Reason::TlsExpired,
            webpki::Error::CertNotValidYet { .. } => Reason::TlsNotYetValid,
            _ => Reason::TlsUntrusted,
        }
    }
}

fn untrusted(leaf: &CertificateDer<'_>, e: &webpki::Error) -> String {
    let issuer = certificate::seen(leaf, None).map(|s| (s.subject == s.issuer, s.issuer));
    match (e, issuer) {
        (webpki::Error::CertExpired { .. }, _) => "a certificate on the way to the root has expired".into(),
        (webpki::Error::CertNotValidYet { .. }, _) => "a certificate on the way to the root is not valid yet".into(),
        (webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity, Some((true, subject))) => {
            format!("the certificate is self-signed ({subject}) and not trusted")
        }
        (webpki::Error::UnknownIssuer, Some((false, issuer))) => {
            format!("the certificate's issuer is not trusted, or an intermediate certificate is missing ({issuer})")
        }
        (other, _) => format!("the certificate is not trusted: {other}"),
    }
}

impl ServerCertVerifier for Capture {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).map(|c| c.clone().into_owned()).collect();
        let judged = self.judge(&chain, server_name);
        let mut taken = self.taken();
        taken.0.chain = chain;
        match judged {
            Ok(path) => {
                taken.0.path = path;
                Ok(ServerCertVerified::assertion())
            }
            Err(finding) => {
                taken.1 = Some(finding);
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note_version(Some("1.2"));
        match &*self.trust {
            Trust::Anything => Ok(HandshakeSignatureValid::assertion()),
            Trust::Roots(_) | Trust::Given { .. } => verify_tls12_signature(message, cert, dss, algorithms()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note_version(Some("1.3"));
        match &*self.trust {
            Trust::Anything => Ok(HandshakeSignatureValid::assertion()),
            Trust::Roots(_) | Trust::Given { .. } => verify_tls13_signature(message, cert, dss, algorithms()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
