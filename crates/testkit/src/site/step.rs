//! What a site does once it has been asked: a script of steps, made with the small functions of this module.
//!
//! ```
//! use testkit::{Site, step::*};
//! let site = Site::serve([head(200, &[("content-length", "10")]), send("hello"), pause(300), send("world")]);
//! ```

use std::time::Duration;

/// One step of a script. When the last one is done the connection ends in good order, as after [`close`].
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    /// One byte at a time, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// So many bytes of `x`.
    Fill(u64),
    /// The bytes again and again, with a pause after each time, until the peer goes away.
    Endless(Vec<u8>, Duration),
    Pause(Duration),
    /// Waits until the peer has said something, and takes it away.
    Receive,
    /// Carries bytes to this port of 127.0.0.1 and back, until both sides have ended.
    Tunnel(u16),
    Hold,
    Close,
    Cut,
    Reset,
}

/// Sends the bytes.
pub fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// Sends one byte at a time, `pause_ms` apart.
pub fn drip(bytes: impl AsRef<[u8]>, pause_ms: u64) -> Step {
    Step::Drip(bytes.as_ref().to_vec(), Duration::from_millis(pause_ms))
}

/// Sends `length` bytes of `x`, without holding them in memory.
pub fn fill(length: u64) -> Step {
    Step::Fill(length)
}

/// Sends the bytes again and again until the peer goes away.
pub fn endless(bytes: impl AsRef<[u8]>, pause_ms: u64) -> Step {
    Step::Endless(bytes.as_ref().to_vec(), Duration::from_millis(pause_ms))
}

/// Does nothing for so many milliseconds.
pub fn pause(ms: u64) -> Step {
    Step::Pause(Duration::from_millis(ms))
}

/// Waits until the peer has said something, and takes it away. For what happens before a request: `[receive(), reset()]` on an
/// https site is a reset after the ClientHello.
pub fn receive() -> Step {
    Step::Receive
}

/// What a proxy does after CONNECT: carries bytes to this port of 127.0.0.1 and back, whatever host was asked for.
pub fn tunnel(port: u16) -> Step {
    Step::Tunnel(port)
}

/// Says nothing more until the peer goes away or the site is dropped.
pub fn hold() -> Step {
    Step::Hold
}

/// Ends in good order: close_notify on TLS, then FIN.
pub fn close() -> Step {
    Step::Close
}

/// FIN without a close_notify. On a plain connection it is the same as [`close`].
pub fn cut() -> Step {
    Step::Cut
}

/// RST. What the peer has not yet received may be lost.
pub fn reset() -> Step {
    Step::Reset
}

/// A head with its final empty line; also for 1xx.
pub fn head(status: u16, headers: &[(&str, &str)]) -> Step {
    Step::Send(head_bytes(status, headers))
}

/// A whole response with a `content-length`.
pub fn resp(status: u16, body: impl AsRef<[u8]>) -> Step {
    resp_with(status, &[], body)
}

/// The same with further headers.
pub fn resp_with(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Step {
    let body = body.as_ref();
    let length = body.len().to_string();
    let headers: Vec<_> = headers.iter().copied().chain([("content-length", length.as_str())]).collect();
    let mut bytes = head_bytes(status, &headers);
    bytes.extend_from_slice(body);
    Step::Send(bytes)
}

/// A whole response in chunks.
pub fn chunked<C: AsRef<[u8]>>(status: u16, chunks: impl IntoIterator<Item = C>) -> Step {
    let mut bytes = head_bytes(status, &[("transfer-encoding", "chunked")]);
    for c in chunks {
        bytes.extend(chunk_bytes(c.as_ref()));
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    Step::Send(bytes)
}

/// One chunk. An empty one would be the last: use [`last_chunk`].
pub fn chunk(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(chunk_bytes(bytes.as_ref()))
}

/// The last chunk, with the trailers that follow it.
pub fn last_chunk(trailers: &[(&str, &str)]) -> Step {
    let mut bytes = b"0\r\n".to_vec();
    push_headers(&mut bytes, trailers);
    Step::Send(bytes)
}

/// A redirect without a body.
pub fn redirect(status: u16, to: &str) -> Step {
    resp_with(status, &[("location", to)], "")
}

fn head_bytes(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} {}\r\n", phrase(status)).into_bytes();
    push_headers(&mut bytes, headers);
    bytes
}

fn push_headers(bytes: &mut Vec<u8>, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
}

fn chunk_bytes(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        401 => "Unauthorized",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
