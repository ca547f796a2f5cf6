//! Ports where nobody answers: one that refuses, and one whose queue is full.

use super::{Script, Setup, Site, Step};
use socket2::Socket;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A port that is bound but does not listen: every connection is refused, and nobody else can take the port meanwhile.
#[derive(Debug)]
pub struct Refused {
    socket: Socket,
    address: SocketAddr,
}

impl Refused {
    /// On 127.0.0.1.
    pub fn new() -> Self {
        Self::on("127.0.0.1")
    }

    /// On another address of this machine.
    pub fn on(address: &str) -> Self {
        let socket = Setup::default().address(address).bound();
        let address = address_of(&socket);
        Self { socket, address }
    }

    /// Begins to listen: a site on the same port that takes these steps after every request.
    pub fn serve(self, steps: impl IntoIterator<Item = Step>) -> Site {
        Setup::default().start_on(self.socket, Script::Always(steps.into_iter().collect()))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Default for Refused {
    fn default() -> Self {
        Self::new()
    }
}

/// A port that listens but whose queue is full: a SYN gets no answer, so connecting hangs.
#[derive(Debug)]
pub struct Backlog {
    listener: TcpListener,
    address: SocketAddr,
    /// The one connection that fills the queue.
    _filler: TcpStream,
}

impl Backlog {
    /// On 127.0.0.1.
    pub fn new() -> Self {
        Self::on("127.0.0.1")
    }

    /// On another address of this machine.
    pub fn on(address: &str) -> Self {
        Self::made(&Setup::default().address(address))
    }

    /// Another one at the same port of another address.
    pub fn also_on(&self, address: &str) -> Self {
        Self::made(&Setup::default().address(address).port(self.port()))
    }

    fn made(setup: &Setup) -> Self {
        let socket = setup.bound();
        // A queue of 0 has room for one (Linux compares with `>`); after it SYNs are dropped.
        socket.listen(0).expect("a bound socket can listen");
        let address = address_of(&socket);
        let filler = TcpStream::connect(address).expect("the first connection finds room");
        Self { listener: TcpListener::from(socket), address, _filler: filler }
    }

    /// Makes room: a site on the same port that takes these steps after every request. Who is waiting gets in with the next SYN
    /// that the kernel repeats: 1, 3, 7 seconds after the first.
    pub fn release(self, steps: impl IntoIterator<Item = Step>) -> Site {
        // The filler is the head of the queue; nobody else could get in behind it.
        self.listener.accept().expect("the filler is in the queue");
        Setup::default().start_on(self.listener.into(), Script::Always(steps.into_iter().collect()))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Default for Backlog {
    fn default() -> Self {
        Self::new()
    }
}

fn address_of(socket: &Socket) -> SocketAddr {
    let address = socket.local_addr().expect("a bound socket has an address");
    address.as_socket().expect("a TCP socket's address has a port")
}
