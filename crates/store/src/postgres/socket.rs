//! From a server's place to a connection that has logged in: TCP or a Unix socket, TLS as asked for, login.

use super::{
    error::{Fault, OpenError},
    server::{Mode, Place, Server},
    tls,
};
use socket2::{SockRef, TcpKeepalive};
use std::{error::Error as _, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_postgres::{Client, Connection, NoTls, config::SslMode, tls::NoTlsStream};

/// A server that does not acknowledge what was sent for so long, or does not answer to a probe, is gone.
const GONE_AFTER: Duration = Duration::from_secs(30);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) type Connected = (Client, Connection<Box<dyn Stream>, NoTlsStream>);

/// How one attempt is protected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    /// TLS where the server has it, else plain.
    Offered,
    Tls,
}

/// Connects and logs in, in the order in which libpq tries.
pub(super) async fn connect(server: &Server) -> Result<Connected, Fault> {
    let ways: &[Way] = match (&server.place, server.tls.mode) {
        (Place::Unix(_), _) | (_, Mode::Disable) => &[Way::Plain],
        (_, Mode::Allow) => &[Way::Plain, Way::Tls],
        (_, Mode::Prefer) => &[Way::Offered, Way::Plain],
        (_, Mode::Require | Mode::VerifyCa | Mode::VerifyFull) => &[Way::Tls],
    };
    let mut first = None;
    for way in ways {
        match timeout(server.connect_timeout, attempt(server, *way)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(e)) if may_be_the_way(&e) => drop(first.get_or_insert(e)),
            Ok(Err(e)) => return Err(first.unwrap_or(e)),
            Err(_) => return Err(Fault::Passing("it does not answer".to_owned())),
        }
    }
    Err(first.unwrap_or_else(|| Fault::Passing("it does not answer".to_owned())))
}

/// A login that is refused, or TLS that fails, may go better the other way. Other errors are the same both ways.
fn may_be_the_way(e: &Fault) -> bool {
    matches!(e, Fault::Lasting(OpenError::Tls { .. } | OpenError::Authentication { .. }))
}

async fn attempt(server: &Server, way: Way) -> Result<Connected, Fault> {
    let stream: Box<dyn Stream> = match &server.place {
        Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Place::Tcp { host, address, port } => {
            let addresses: Vec<SocketAddr> = match address {
                Some(ip) => vec![(*ip, *port).into()],
                None => lookup_host((host.as_str(), *port)).await?.collect(),
            };
            protected(tcp(&addresses).await?, host, server, way).await?
        }
    };
    login(stream, server).await
}

async fn tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addresses).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new().with_time(GONE_AFTER / 3).with_interval(GONE_AFTER / 6).with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(GONE_AFTER))?;
    Ok(stream)
}

async fn protected(mut stream: TcpStream, host: &str, server: &Server, way: Way) -> Result<Box<dyn Stream>, Fault> {
    if way == Way::Plain {
        return Ok(Box::new(stream));
    }
    let at = &server.at;
    match offers_tls(&mut stream, at).await? {
        true => {
            let stream = tls::handshake(stream, host, &server.tls).await.map_err(|e| e.into_fault(at))?;
            Ok(Box::new(stream))
        }
        false if way == Way::Offered => Ok(Box::new(stream)),
        false => {
            let why =
                "the server has no TLS; switch it on there (ssl = on), or lower sslmode of the store URL".to_owned();
            Err(OpenError::Tls { at: Arc::clone(at), why }.into())
        }
    }
}

/// Asks with the protocol's SSLRequest. Reads the one byte of the answer and no more: what follows belongs to TLS.
async fn offers_tls(stream: &mut TcpStream, at: &Arc<str>) -> Result<bool, Fault> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    stream.write_all(&SSL_REQUEST).await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // An error before there was a session: no process could be started for it.
        b'E' => Err(Fault::Passing("it has no room for another connection".to_owned())),
        other => {
            let why = format!("its first byte is {:?}", char::from(other));
            Err(OpenError::NotPostgres { at: Arc::clone(at), why }.into())
        }
    }
}

async fn login(stream: Box<dyn Stream>, server: &Server) -> Result<Connected, Fault> {
    // What is to be protected is protected already.
    let mut login = server.login.clone();
    login.ssl_mode(SslMode::Disable);
    login.connect_raw(stream, NoTls).await.map_err(|e| refused(e, server))
}

/// What a login that failed says about the server.
fn refused(e: tokio_postgres::Error, server: &Server) -> Fault {
    let (at, why) = (Arc::clone(&server.at), super::error::said(&e));
    let io = e.source().and_then(|source| source.downcast_ref::<io::Error>());
    let error = match (e.as_db_error(), io) {
        (Some(db), _) if db.code().code().starts_with("28") => OpenError::Authentication { at, why },
        (Some(_), _) => return e.into(),
        // A client certificate that the server refuses shows itself only now, under TLS 1.3.
        (None, Some(io)) if io.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some()) => {
            OpenError::Tls { at, why: format!("{why}; check sslcert and sslkey of the store URL") }
        }
        (None, Some(io)) if matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            OpenError::NotPostgres { at, why }
        }
        (None, Some(_)) => return e.into(),
        (None, None) if e.is_closed() => return e.into(),
        (None, None) if server.login.get_password().is_none() => {
            OpenError::Authentication { at, why: "it asks for a password, and the store URL has none".into() }
        }
        (None, None) => OpenError::Authentication { at, why },
    };
    error.into()
}
