//! A site that does what it is told, byte by byte, over real sockets.
//!
//! It runs on a thread of its own: a test needs no runtime to have one, a slow test does not slow it, and dropping it ends everything,
//! connections included, before the next line runs.

pub mod http2;
pub mod step;

mod connection;
mod port;
mod request;
mod setup;
mod tls;
mod wire;

pub use port::{Backlog, Refused};
pub use request::Request;
pub use setup::Setup;
pub use step::Step;
pub use tls::{Session, Tls, Version};

use setup::Reading;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

/// A running site. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    /// The same steps after every request, on 127.0.0.1 and a free port; the connection ends after them.
    pub fn serve(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::setup().serve(steps)
    }

    /// Steps by path; `*` is every other path, which is a 404 otherwise.
    pub fn routes<'a>(routes: impl IntoIterator<Item = (&'a str, Vec<Step>)>) -> Self {
        Self::setup().routes(routes)
    }

    /// What the function says, request by request.
    pub fn answer(function: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::setup().answer(function)
    }

    /// Steps that are taken as soon as somebody has connected; no request is read.
    pub fn greet(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::setup().greet(steps)
    }

    /// A site over TLS with `steps` after every request.
    pub fn tls(tls: Tls, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::setup().tls(tls).serve(steps)
    }

    /// For an address, TLS, keep-alive, bodies that are not read.
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// `http://127.0.0.1:port/path`
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The URL of this site under another host name.
    pub fn at(&self, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", self.scheme, self.port())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request so far, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen().requests.clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.seen().connections
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.seen().open
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.seen().most_open
    }

    /// Why handshakes failed, as the site saw it.
    pub fn refused_handshakes(&self) -> Vec<String> {
        self.shared.seen().refused_handshakes.clone()
    }

    /// Bytes handed to the network so far, before encryption: how far a client let the site come.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Takes these steps after every request from now on. Connections that are already being answered go on as they were.
    pub fn change(&self, steps: impl IntoIterator<Item = Step>) {
        *locked(&self.shared.script) = Arc::new(Script::Always(steps.into_iter().collect()));
    }

    fn start(listener: std::net::TcpListener, setup: &Setup, script: Script) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            seen: Mutex::default(),
            sent: Arc::default(),
            reading: setup.reading,
            keep_alive: setup.keep_alive,
            tls: setup.tls.as_ref().map(|t| (Arc::new(t.config()), t.late)),
        });
        let (stop, stopped) = oneshot::channel();
        // Made here: a test that uses up all descriptors next must find the site complete.
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("site {}", address.port()))
                .spawn(move || live(&runtime, listener, shared, stopped))
        };
        let thread = Some(thread.expect("a thread can be started"));
        Self { address, scheme: setup.scheme(), shared, stop: Some(stop), thread }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already, and a second one here would abort a test that fails anyway.
            let _ = thread.join();
        }
    }
}

/// Dropping the runtime at the end drops every connection with it.
fn live(runtime: &Runtime, listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("the listener does not block");
        tokio::select! {
            () = accept(listener, shared) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Out of descriptors, or gone before it was accepted: the next one may be better.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let number = shared.seen().connect();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _open = Open(Arc::clone(&shared));
            // The peer has gone: an ordinary end of a connection that was made to fail.
            let _ = connection::serve(stream, number, &shared).await;
        });
    }
}

/// Counts a connection as closed, also when its task is dropped or a test's function panicked in it.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.seen().open -= 1;
    }
}

/// What a site does with a connection.
enum Script {
    Always(Vec<Step>),
    Routes(Vec<(String, Vec<Step>)>),
    Ask(Box<Ask>),
    /// At once, before anything is read.
    Greet(Vec<Step>),
    /// After a request over HTTP/2, frame by frame.
    Frames(Vec<Step>),
    /// Over HTTP/2, as the library does it.
    Http2(Box<http2::Answer>),
}

/// Chooses the steps by the request.
type Ask = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

/// What the site's thread and its owner both see.
struct Shared {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Seen>,
    sent: Arc<AtomicU64>,
    reading: Reading,
    keep_alive: bool,
    tls: Option<(Arc<rustls::ServerConfig>, std::time::Duration)>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    connections: usize,
    open: usize,
    most_open: usize,
    refused_handshakes: Vec<String>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }

    fn script(&self) -> Arc<Script> {
        Arc::clone(&locked(&self.script))
    }
}

impl Seen {
    /// Counts a new connection and returns its number.
    fn connect(&mut self) -> usize {
        self.connections += 1;
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
        self.connections - 1
    }

    fn record(&mut self, request: &mut Request) {
        request.number = self.requests.len();
        self.requests.push(request.clone());
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A test's own panic must not hide behind a poisoned lock.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
