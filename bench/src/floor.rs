//! What a check costs at least with the usual libraries: hyper's connection, a lazy DFA fed chunk by chunk, rustls with ring
//! and nothing verified. No look-up, no expectations, no result.

use crate::load::{Check, Load, PATTERN};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use regex_automata::{
    Anchored,
    hybrid::dfa::{Cache, DFA},
    util::start,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

#[derive(Clone)]
pub struct Floor {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    dfa: Arc<DFA>,
    cache: Cache,
}

impl Floor {
    pub fn new(load: &Load) -> anyhow::Result<Self> {
        let url: url::Url = load.url.parse()?;
        let address = url.socket_addrs(|| None)?.pop().context("an address")?;
        let dfa = DFA::new(PATTERN)?;
        let cache = dfa.create_cache();
        Ok(Self { address, tls: (url.scheme() == "https").then(connector), dfa: Arc::new(dfa), cache })
    }

    async fn ask(&mut self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> anyhow::Result<()> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let request =
            Request::get("/").header("host", "127.0.0.1").header("connection", "close").body(Empty::<Bytes>::new())?;
        let answer = async {
            let mut response = sender.send_request(request).await?;
            ensure!(response.status() == 200, "status {}", response.status());
            let mut state = self.dfa.start_state(&mut self.cache, &start::Config::new().anchored(Anchored::No))?;
            let mut matched = false;
            while let Some(frame) = response.frame().await {
                if let Ok(data) = frame?.into_data() {
                    for &byte in &data {
                        state = self.dfa.next_state(&mut self.cache, state, byte)?;
                        if state.is_match() {
                            matched = true;
                            break;
                        }
                    }
                }
            }
            ensure!(matched, "the pattern was not found");
            Ok(())
        };
        // One task does both: the connection is driven while the answer is waited for.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        let mut open = true;
        loop {
            tokio::select! {
                done = &mut answer => return done,
                ended = &mut connection, if open => {
                    open = false;
                    ended?;
                }
            }
        }
    }
}

impl Check for Floor {
    async fn check(&mut self) -> anyhow::Result<()> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        match self.tls.clone() {
            None => self.ask(tcp).await,
            Some(tls) => {
                let tls = tls.connect(ServerName::try_from("localhost")?, tcp).await?;
                self.ask(tls).await
            }
        }
    }
}

fn connector() -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Verifies nothing.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
