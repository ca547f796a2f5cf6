//! HTTP/2 on a site's side: as it should be, by the library, and frame by frame, for what no library would send.
//!
//! ```
//! use testkit::{Site, http2::*, step::*};
//! let site = Site::setup().frames([begin(), head(200, &[]), data("hello"), pause(300), reset_stream(2)]);
//! ```

use super::wire::{Stream, Wire};
use super::{Request, Shared, Step};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

/// Chooses what is answered by the request.
pub(super) type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
}

impl Reply {
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self { status, body: body.as_ref().to_vec(), ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// SETTINGS, and the acknowledgement of the client's: what a server begins with.
pub fn begin() -> Step {
    Step::Send([frame_bytes(SETTINGS, 0, 0, &[]), frame_bytes(SETTINGS, 1, 0, &[])].concat())
}

/// A head, also for 1xx; a body follows, or not.
pub fn head(status: u16, headers: &[(&str, &str)]) -> Step {
    frame(HEADERS, END_HEADERS, 1, head_block(status, headers))
}

/// A head that is the whole answer.
pub fn whole_head(status: u16, headers: &[(&str, &str)]) -> Step {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, head_block(status, headers))
}

pub fn data(bytes: impl AsRef<[u8]>) -> Step {
    frame(DATA, 0, 1, bytes)
}

/// The end of a body.
pub fn last_data(bytes: impl AsRef<[u8]>) -> Step {
    frame(DATA, END_STREAM, 1, bytes)
}

/// Headers behind a body, which end it.
pub fn trailers(headers: &[(&str, &str)]) -> Step {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block(headers))
}

/// RST_STREAM with this error.
pub fn reset_stream(error: u32) -> Step {
    frame(RST_STREAM, 0, 1, error.to_be_bytes())
}

/// GOAWAY: the last stream that was worked on, and an error.
pub fn go_away(last_stream: u32, error: u32) -> Step {
    frame(GOAWAY, 0, 0, [last_stream.to_be_bytes(), error.to_be_bytes()].concat())
}

/// Any frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Step {
    Step::Send(frame_bytes(kind, flags, stream, payload.as_ref()))
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// Headers as HPACK has them, none compressed. `:status` is one of them.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0); // a literal, not to be indexed, with its name
        push_text(&mut bytes, name);
        push_text(&mut bytes, value);
    }
    bytes
}

fn head_block(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let status = status.to_string();
    [block(&[(":status", &status)]), block(headers)].concat()
}

/// A length in a prefix of seven bits (RFC 7541, section 5.1), and the text.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let mut rest = text.len();
    if rest < 127 {
        bytes.push(rest as u8);
    } else {
        bytes.push(127);
        rest -= 127;
        while rest >= 128 {
            bytes.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        bytes.push(rest as u8);
    }
    bytes.extend_from_slice(text.as_bytes());
}

fn frame_bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads a request without understanding its head. `None` when the peer has ended before one was complete.
pub(super) async fn read(wire: &mut Wire, connection: usize, with_body: bool) -> io::Result<Option<Request>> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let Some(preface) = wire.take(PREFACE.len()).await? else { return Ok(None) };
    if preface != PREFACE {
        return Err(io::Error::other("not the preface of HTTP/2"));
    }
    let mut request = empty(connection);
    request.tls = wire.session();
    loop {
        let Some(header) = wire.take(9).await? else { return Ok(None) };
        let length = header[..3].iter().fold(0, |n, &b| n << 8 | usize::from(b));
        let Some(payload) = wire.take(length).await? else { return Ok(None) };
        let (kind, flags) = (header[3], header[4]);
        match kind {
            HEADERS => request.head = payload,
            DATA => request.body.extend(payload),
            _ => continue,
        }
        if flags & END_STREAM != 0 || !with_body {
            request.at = Instant::now();
            return Ok(Some(request));
        }
    }
}

fn empty(connection: usize) -> Request {
    Request {
        number: 0,
        connection,
        method: String::new(),
        target: String::new(),
        version: "HTTP/2".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        head: Vec::new(),
        at: Instant::now(),
        tls: None,
    }
}

/// Answers every request of a connection.
pub(super) async fn answer(stream: Stream, number: usize, shared: &Arc<Shared>, answer: &Answer) -> io::Result<()> {
    let mut asked = empty(number);
    asked.tls = stream.session();
    match stream {
        Stream::Plain(s) => answer_on(s, asked, shared, answer).await,
        Stream::Tls(s) => answer_on(s, asked, shared, answer).await,
    }
    .map_err(io::Error::other)
}

async fn answer_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    asked: Request,
    shared: &Arc<Shared>,
    answer: &Answer,
) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(next) = connection.accept().await {
        let (request, respond) = next?;
        let (parts, mut body) = request.into_parts();
        let mut whole = asked.clone();
        fill(&mut whole, &parts);
        // The connection moves only while it is asked for the next request.
        let read = async {
            whole.body = read_body(&mut body).await?;
            shared.seen().record(&mut whole);
            send(respond, &answer(&whole))
        };
        tokio::select! {
            biased;
            done = read => done?,
            closed = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return closed,
        }
    }
    Ok(())
}

fn fill(request: &mut Request, parts: &http::request::Parts) {
    let uri = &parts.uri;
    request.method = parts.method.to_string();
    request.target = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let pseudo = [(":scheme", uri.scheme_str()), (":authority", uri.authority().map(http::uri::Authority::as_str))];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    let usual = parts.headers.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
    request.headers = pseudo.chain(usual).collect();
    request.at = Instant::now();
}

async fn read_body(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn send(mut respond: SendResponse<Bytes>, reply: &Reply) -> Result<(), h2::Error> {
    let mut response = http::Response::new(());
    *response.status_mut() = reply.status.try_into().expect("a test writes a status right");
    *response.headers_mut() = map(&reply.headers);
    let is_whole = reply.body.is_empty() && reply.trailers.is_empty();
    let mut stream = respond.send_response(response, is_whole)?;
    if !reply.body.is_empty() {
        stream.send_data(Bytes::from(reply.body.clone()), reply.trailers.is_empty())?;
    }
    if !reply.trailers.is_empty() {
        stream.send_trailers(map(&reply.trailers))?;
    }
    Ok(())
}

fn map(headers: &[(String, String)]) -> http::HeaderMap {
    let line = |(name, value): &(String, String)| {
        let name: http::HeaderName = name.parse().expect("a test writes names right");
        (name, value.parse::<http::HeaderValue>().expect("a test writes values right"))
    };
    headers.iter().map(line).collect()
}
