//! Between a writer and its PostgreSQL: passes everything on, knows which message passes, and can hold one back, or cut the
//! connection at it.
//!
//! It understands just enough of the protocol for that, and of Lapwing's statements.

mod talk;
mod trap;

pub use talk::{Claim, Moment};
pub use trap::Trap;

use crate::fail::fail;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use talk::Talk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use trap::Set;
use url::Url;

/// A proxy on a port of its own. Its connections end when it is dropped.
#[derive(Debug)]
pub struct PostgresProxy {
    url: Url,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

impl PostgresProxy {
    /// Before the server of this URL, which need not be there yet.
    pub async fn before(server: &str) -> Self {
        let mut url: Url = server.parse().unwrap_or_else(|error| fail(&format!("not a URL of PostgreSQL: {error}")));
        let to = format!("{}:{}", url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        url.set_host(Some("127.0.0.1")).expect("the URL has a host");
        url.set_port(Some(port)).expect("the URL has a host");
        // What is encrypted can't be told apart.
        url.set_query(Some("sslmode=disable"));
        let line = Arc::new(Line { to, port, state: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&line)));
        Self { url, line, accepting }
    }

    /// Of the server, by way of the proxy.
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.line.port
    }

    /// From now on the trap waits here too.
    pub fn set(&self, trap: &Trap) {
        self.line.state().traps.push(trap.set());
    }

    /// How often a moment came by, held back or not.
    pub fn seen(&self, moment: Moment) -> u64 {
        self.line.state().seen.get(&moment).copied().unwrap_or(0)
    }

    /// Which stretches of which log were to be stored, one after the other.
    pub fn claims(&self) -> Vec<Claim> {
        self.line.state().claims.clone()
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What all connections of a proxy share.
#[derive(Debug)]
struct Line {
    to: String,
    port: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<Moment, u64>,
    claims: Vec<Claim>,
    traps: Vec<Arc<Set>>,
}

impl Line {
    /// A message has come that is not passed on yet. An error: the connection is to be cut.
    async fn comes(&self, moment: Moment) -> io::Result<()> {
        let trap = {
            let mut state = self.state();
            *state.seen.entry(moment).or_default() += 1;
            let sprung = state.traps.iter().find(|trap| trap.springs(moment, self.port)).cloned();
            state.traps.retain(|trap| trap.is_set());
            sprung
        };
        match trap {
            Some(trap) if trap.is_to_cut().await => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(_) | None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    // Aborted with this task.
    let mut connections = JoinSet::new();
    loop {
        if let Ok((client, _)) = listener.accept().await {
            let line = Arc::clone(&line);
            // How it ends is what the client and the server see of it.
            connections.spawn(async move { drop(carry(client, &line).await) });
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Passes messages on, both ways, until one side is gone or the connection is cut.
async fn carry(mut client: TcpStream, line: &Line) -> io::Result<()> {
    let mut server = TcpStream::connect(&line.to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut asked, mut answered) = (Incoming { is_greeting: true, ..Incoming::default() }, Incoming::default());
    let mut talk = Talk::default();
    loop {
        tokio::select! {
            read = from_client.read_buf(&mut asked.bytes) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(message) = asked.message() {
                    if let Some(moment) = talk.ask(&message) {
                        line.state().claims.extend(talk.claim.take());
                        line.comes(moment).await?;
                    }
                    to_server.write_all(&message).await?;
                }
            }
            read = from_server.read_buf(&mut answered.bytes) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(message) = answered.message() {
                    if let Some(moment) = talk.answer(&message) {
                        line.comes(moment).await?;
                    }
                    to_client.write_all(&message).await?;
                }
            }
        }
    }
}

/// What has come from one side and is not passed on.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// The client's first message has no type.
    is_greeting: bool,
}

impl Incoming {
    /// The next whole message: a type, the length of all but the type, the rest.
    fn message(&mut self) -> Option<Vec<u8>> {
        let before = usize::from(!self.is_greeting);
        let length = self.bytes.get(before..before + 4)?.try_into().ok().map(u32::from_be_bytes)?;
        let end = before + usize::try_from(length).ok()?;
        if self.bytes.len() < end {
            return None;
        }
        let rest = self.bytes.split_off(end);
        if self.is_greeting {
            self.is_greeting = false;
        }
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}
