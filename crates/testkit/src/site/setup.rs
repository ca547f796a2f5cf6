//! What can be chosen about a site before it starts.

use super::{Request, Script, Site, Step, Tls, http2::Reply};
use crate::fail::fail;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// A site that has not started yet. The last call says what it does: `serve`, `routes`, `answer`, `in_turn` or `greet`.
#[derive(Debug)]
pub struct Setup {
    address: IpAddr,
    port: u16,
    https: bool,
    pub(super) tls: Option<Tls>,
    pub(super) keep_alive: bool,
    pub(super) reading: Reading,
}

/// How a site treats what it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    Whole,
    /// Only heads; a body is left in the socket until the connection ends.
    Heads,
    Slow {
        bytes: usize,
        every: Duration,
    },
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            https: false,
            tls: None,
            keep_alive: false,
            reading: Reading::Whole,
        }
    }
}

impl Setup {
    /// Another address of this machine: `::1`, `127.0.0.2`.
    pub fn address(self, address: &str) -> Self {
        Self { address: address.parse().expect("a test writes IP addresses right"), ..self }
    }

    /// A certain port instead of a free one: the same port on two addresses, or the port of a site that was dropped.
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    pub fn tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), https: true, ..self }
    }

    /// URLs say https, but nobody speaks TLS: together with `greet` for what may happen instead of a handshake.
    pub fn https(self) -> Self {
        Self { https: true, ..self }
    }

    /// Waits for further requests after the script, instead of ending the connection.
    pub fn keep_alive(self) -> Self {
        Self { keep_alive: true, ..self }
    }

    /// Reads heads only. Socket buffers are small, so that a client with a large body notices.
    pub fn ignore_bodies(self) -> Self {
        Self { reading: Reading::Heads, ..self }
    }

    /// Reads so many bytes at most, then waits. Socket buffers are small, so that a client notices.
    pub fn read_slowly(self, bytes: usize, pause_ms: u64) -> Self {
        Self { reading: Reading::Slow { bytes, every: Duration::from_millis(pause_ms) }, ..self }
    }

    pub fn serve(self, steps: impl IntoIterator<Item = Step>) -> Site {
        self.start(Script::Always(steps.into_iter().collect()))
    }

    pub fn routes<'a>(self, routes: impl IntoIterator<Item = (&'a str, Vec<Step>)>) -> Site {
        self.start(Script::Routes(routes.into_iter().map(|(path, steps)| (path.to_owned(), steps)).collect()))
    }

    pub fn answer(self, function: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Site {
        self.start(Script::Ask(Box::new(function)))
    }

    /// The first script after the first request, and so on; the last one stays.
    pub fn in_turn(self, scripts: Vec<Vec<Step>>) -> Site {
        self.answer(move |request| scripts.get(request.number).or(scripts.last()).cloned().unwrap_or_default())
    }

    pub fn greet(self, steps: impl IntoIterator<Item = Step>) -> Site {
        self.start(Script::Greet(steps.into_iter().collect()))
    }

    /// Speaks HTTP/2 as it should be. Over TLS the handshake must offer it: [`Tls::alpn`].
    pub fn http2(self, function: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Site {
        self.start(Script::Http2(Box::new(function)))
    }

    /// Reads one request over HTTP/2 and then takes these steps; [`http2`](super::http2) has frames to send. Of a request the site
    /// sees no more than that it came, and its body.
    pub fn frames(self, steps: impl IntoIterator<Item = Step>) -> Site {
        self.start(Script::Frames(steps.into_iter().collect()))
    }

    fn start(self, script: Script) -> Site {
        let socket = self.bound();
        self.start_on(socket, script)
    }

    /// On a socket that may not listen yet.
    pub(super) fn start_on(&self, socket: Socket, script: Script) -> Site {
        // What remains of the connections must not keep the port from the next site.
        socket.set_reuse_address(true).expect("SO_REUSEADDR is known");
        socket.listen(1024).expect("a bound socket can listen");
        socket.set_nonblocking(true).expect("a socket can be made not to block");
        Site::start(TcpListener::from(socket), self, script)
    }

    pub(super) fn bound(&self) -> Socket {
        let address = SocketAddr::new(self.address, self.port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        // Not for a free port: two sockets that say so may share one as long as nobody listens on it.
        socket.set_reuse_address(self.port != 0).expect("SO_REUSEADDR is known");
        if address.is_ipv6() {
            socket.set_only_v6(true).expect("IPV6_V6ONLY is known");
        }
        if !matches!(self.reading, Reading::Whole) {
            socket.set_recv_buffer_size(4096).expect("SO_RCVBUF is known");
        }
        bind(&socket, address);
        socket
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// A port that was just left may be taken a moment longer: a program that another thread is starting has inherited it until it has
/// become itself.
#[track_caller]
fn bind(socket: &Socket, address: SocketAddr) {
    let started = Instant::now();
    while let Err(error) = socket.bind(&address.into()) {
        if error.kind() != ErrorKind::AddrInUse || started.elapsed() > Duration::from_secs(2) {
            fail(&format!("can't bind {address}: {error}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
