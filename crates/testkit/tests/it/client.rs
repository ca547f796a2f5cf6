//! A client that shows every byte and the way in which a connection ended.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Identity, Site, Version};

pub const GET: &str = "GET / HTTP/1.1\r\nhost: here\r\n\r\n";
/// Far more than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How a connection ended for the client.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    /// TLS only: FIN without a close_notify.
    Cut,
    Reset,
    /// Nothing more within the time that the client had.
    Silence,
}

/// What a client saw.
#[derive(Debug)]
pub struct Seen {
    pub text: String,
    pub end: End,
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Says something and reads to the end.
pub fn ask(site: &Site, request: &str) -> Seen {
    let mut stream = connect(site.address());
    stream.write_all(request.as_bytes()).unwrap();
    read_to_end(&mut stream)
}

pub fn read_to_end(stream: &mut impl Read) -> Seen {
    let (mut bytes, mut room) = (Vec::new(), [0; 4096]);
    let end = loop {
        match stream.read(&mut room) {
            Ok(0) => break End::Fin,
            Ok(n) => bytes.extend_from_slice(&room[..n]),
            Err(e) => match e.kind() {
                ErrorKind::ConnectionReset => break End::Reset,
                ErrorKind::UnexpectedEof => break End::Cut,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => break End::Silence,
                ErrorKind::Interrupted => continue,
                _ => panic!("{e}"),
            },
        }
    };
    Seen { text: String::from_utf8_lossy(&bytes).into_owned(), end }
}

/// A TLS client's wishes.
pub struct Wishes<'a> {
    pub trust: &'a CertificateDer<'static>,
    pub name: &'a str,
    pub alpn: &'a [&'a str],
    pub client: Option<&'a Identity>,
    pub versions: &'a [Version],
}

impl<'a> Wishes<'a> {
    pub fn trusting(trust: &'a CertificateDer<'static>) -> Self {
        Self { trust, name: "localhost", alpn: &[], client: None, versions: &[Version::Tls12, Version::Tls13] }
    }
}

/// The handshake; an error is told in the words of rustls.
pub fn handshake(site: &Site, wishes: &Wishes<'_>) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(wishes.trust.clone()).unwrap();
    let versions: Vec<_> = wishes.versions.iter().map(|v| supported(*v)).collect();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match wishes.client {
        None => config.with_no_client_auth(),
        Some(identity) => config.with_client_auth_cert(identity.chain.clone(), identity.key_der()).unwrap(),
    };
    config.alpn_protocols = wishes.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(wishes.name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, connect(site.address()));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|e| e.to_string())?;
    }
    Ok(stream)
}

fn supported(version: Version) -> &'static rustls::SupportedProtocolVersion {
    match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    }
}
