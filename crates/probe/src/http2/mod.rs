//! HTTP/2 as a client that asks once (RFC 9113): one request on one connection, driven by whoever waits for its answer.
//!
//! Frames, header compression and flow control are the `h2` library's. There is no task of its own: the connection moves while
//! an attempt waits for a head or a piece of body, under the attempt's clock and deadline, and ends with it.

mod request;
mod tap;

use crate::{http1::MAX_HEAD, stream::Stream};
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, Connection, ResponseFuture},
};
use http::Request;
use model::{
    answer::{Head, Headers},
    result::HttpVersion,
};
pub use request::request;
use std::{
    future::poll_fn,
    io,
    mem::take,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};
use tap::{End, Seen, Tap, seen};

/// How much of a body a site may send before it hears that we took some: a window that does not slow a transfer down.
const WINDOW: u32 = 1 << 20;
/// How many frames are taken before others, and the deadline, get their turn.
const AT_ONCE: usize = 32;
/// How much of a request's body is handed to the library at a time.
const PIECE: usize = 64 << 10;

/// Why there is no answer, or not all of it.
#[derive(Debug)]
pub enum Broken {
    /// The connection ended or broke: as reading said.
    Ended(io::Result<usize>),
    /// The server reset our stream.
    Reset(h2::Reason),
    /// The server sent GOAWAY, and meant us.
    GoAway(h2::Reason),
    /// What came is not HTTP/2.
    NotHttp2(String),
    /// A head without end.
    TooLarge,
    /// We can't ask like this.
    Ours(String),
}

/// One request and its answer.
#[derive(Debug)]
pub struct Talk<'s> {
    connection: Connection<Tap<'s>, Bytes>,
    /// The library is done with the connection.
    is_over: bool,
    sending: Option<Sending>,
    response: ResponseFuture,
    body: Option<RecvStream>,
    seen: Arc<Mutex<Seen>>,
}

/// A request's body on its way.
#[derive(Debug)]
struct Sending {
    stream: SendStream<Bytes>,
    left: Bytes,
}

impl<'s> Talk<'s> {
    /// Puts the request on its way. Waits for nothing: it leaves when the head is waited for.
    pub async fn open(stream: &'s mut Stream, request: Request<()>, body: Bytes) -> Result<Self, Broken> {
        let ours = |e: h2::Error| Broken::Ours(e.to_string());
        let shared = Arc::default();
        let tap = Tap::new(stream, Arc::clone(&shared));
        let (mut asker, connection) = builder().handshake(tap).await.map_err(ours)?;
        let (response, stream) = asker.send_request(request, body.is_empty()).map_err(ours)?;
        let sending = (!body.is_empty()).then_some(Sending { stream, left: body });
        Ok(Self { connection, is_over: false, sending, response, body: None, seen: shared })
    }

    /// The final head. Interim ones are dropped.
    pub async fn head(&mut self) -> Result<Head, Broken> {
        let head = |talk: &mut Self, cx: &mut Context<'_>| match Pin::new(&mut talk.response).poll(cx) {
            Poll::Ready(response) => Poll::Ready(response.map_err(|e| talk.why(&e))),
            Poll::Pending if seen(&talk.seen).bytes > MAX_HEAD => Poll::Ready(Err(Broken::TooLarge)),
            Poll::Pending => Poll::Pending,
        };
        let (parts, body) = poll_fn(|cx| self.poll(cx, head)).await?.into_parts();
        self.body = Some(body);
        let mut headers = Headers::default();
        parts.headers.iter().for_each(|(name, value)| headers.push(name.as_str(), value.as_bytes()));
        Ok(Head { status: parts.status.as_u16(), http: HttpVersion::V2, headers })
    }

    /// The next piece of the body; `None` at its end, trailers included. The rest of the request goes on being sent.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        let piece = |talk: &mut Self, cx: &mut Context<'_>| {
            let Some(body) = &mut talk.body else { return Poll::Ready(Ok(None)) };
            let Some(piece) = ready!(body.poll_data(cx)) else { return Poll::Ready(Ok(None)) };
            // The site may send as much again. The library refuses only what it has not given.
            let taken = piece.and_then(|p| body.flow_control().release_capacity(p.len()).map(|()| Some(p)));
            Poll::Ready(taken.map_err(|e| talk.why(&e)))
        };
        poll_fn(|cx| self.poll(cx, piece)).await
    }

    /// Whether any part of an answer has come.
    pub fn has_answer(&self) -> bool {
        seen(&self.seen).has_answer
    }

    /// Moves the connection, frame by frame, until the step is done.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl Fn(&mut Self, &mut Context<'_>) -> Poll<Result<T, Broken>>,
    ) -> Poll<Result<T, Broken>> {
        for _ in 0..AT_ONCE {
            self.poll_send(cx);
            self.is_over = self.is_over || Pin::new(&mut self.connection).poll(cx).is_ready();
            if let Poll::Ready(done) = step(self, cx) {
                return Poll::Ready(done);
            }
            if let Some(end) = seen(&self.seen).end.take() {
                return Poll::Ready(Err(end.into()));
            }
            if self.is_over {
                return Poll::Ready(Err(Broken::Ended(Ok(0))));
            }
            if !take(&mut seen(&self.seen).is_held) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands over as much of the request's body as the site has room for.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while let Some(Sending { stream, left }) = &mut self.sending {
            stream.reserve_capacity(left.len().min(PIECE));
            let room = match stream.capacity() {
                0 => match stream.poll_capacity(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Some(Ok(_))) => continue,
                    // The site wants no more of it. What it has to say is heard by reading.
                    Poll::Ready(Some(Err(_)) | None) => 0,
                },
                room => room.min(left.len()),
            };
            let piece = left.split_to(room);
            let is_last = left.is_empty();
            if room == 0 || stream.send_data(piece, is_last).is_err() || is_last {
                self.sending = None;
            }
        }
    }

    /// What the library says of a failure, unless the wire has said it better.
    fn why(&self, e: &h2::Error) -> Broken {
        if let Some(end) = seen(&self.seen).end.take() {
            return end.into();
        }
        match e.reason() {
            Some(reason) if e.is_remote() && e.is_reset() => Broken::Reset(reason),
            Some(reason) if e.is_remote() => Broken::GoAway(reason),
            Some(reason) => Broken::NotHttp2(format!("{reason:?}")),
            None if e.is_io() => Broken::Ended(Ok(0)),
            None => Broken::Ours(e.to_string()),
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEAD as u32); // far below 4 GiB
    builder
}

impl From<End> for Broken {
    fn from(end: End) -> Self {
        match end {
            End::Read(read) => Self::Ended(read),
            End::GoAway(reason) => Self::GoAway(reason),
            End::NotHttp2 => Self::NotHttp2("it does not begin with SETTINGS".into()),
        }
    }
}
