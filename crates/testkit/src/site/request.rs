//! What a site was asked: the request as it came, so that a test sees what was really sent.

use super::tls::Session;
use super::wire::Wire;
use std::io;
use std::time::Instant;

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct Request {
    /// Counts the requests of the site, from 0.
    pub number: usize,
    /// Counts the connections of the site, from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    /// Names and values as sent, in their order.
    pub headers: Vec<(String, String)>,
    /// Undone of its chunks; empty when the site does not read bodies.
    pub body: Vec<u8>,
    /// The head's bytes, with the empty line.
    pub head: Vec<u8>,
    /// When the head was complete.
    pub at: Instant,
    /// What the handshake agreed on; `None` without TLS.
    pub tls: Option<Session>,
}

impl Request {
    /// The value of a header, whatever its case; of several the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The target without its query; of an absolute form (as a proxy is asked) the path alone.
    pub fn path(&self) -> &str {
        let target = self.target.split('?').next().unwrap_or_default();
        match target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |i| &rest[i..]),
            None => target,
        }
    }
}

/// Reads the next request. `None` when the peer has ended before one was complete.
pub(super) async fn read(wire: &mut Wire, connection: usize, with_body: bool) -> io::Result<Option<Request>> {
    let Some(head) = wire.take_until(b"\r\n\r\n").await? else { return Ok(None) };
    let mut request = parse(head, connection);
    request.tls = wire.session();
    if with_body {
        let chunked = request.header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        let length = request.header("content-length").and_then(|v| v.trim().parse().ok()).unwrap_or(0);
        let body = if chunked { read_chunks(wire).await? } else { wire.take(length).await? };
        let Some(body) = body else { return Ok(None) };
        request.body = body;
    }
    Ok(Some(request))
}

/// Lenient: a test that looks at a strange request wants to see it, not to lose it.
fn parse(head: Vec<u8>, connection: usize) -> Request {
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    Request {
        number: 0,
        connection,
        method: word(),
        target: word(),
        version: word(),
        headers: lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect(),
        body: Vec::new(),
        head,
        at: Instant::now(),
        tls: None,
    }
}

async fn read_chunks(wire: &mut Wire) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(line) = wire.take_until(b"\r\n").await? else { return Ok(None) };
        let line = String::from_utf8_lossy(&line);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size =
            usize::from_str_radix(size, 16).map_err(|e| io::Error::other(format!("chunk size {size:?}: {e}")))?;
        if size == 0 {
            return skip_trailers(wire).await.map(|()| Some(body));
        }
        let Some(chunk) = wire.take(size + 2).await? else { return Ok(None) };
        body.extend_from_slice(&chunk[..size]);
    }
}

async fn skip_trailers(wire: &mut Wire) -> io::Result<()> {
    while let Some(line) = wire.take_until(b"\r\n").await? {
        if line == b"\r\n" {
            break;
        }
    }
    Ok(())
}
