//! The connection as the HTTP/2 library gets to see it: one frame at a time.
//!
//! The library reads all that is there before it lets go, and tells of it afterwards. Held back after each frame it tells what
//! came of that one: an answer that is complete is not undone by the reset behind it, memory does not grow with what a site
//! floods us with, and a failure is named by what was seen on the wire.

use crate::stream::Stream;
use bytes::{Buf, BytesMut};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_write_buf;

/// What one read takes at most, and what is gathered before a write: the preface, the settings and a request go out in one piece.
const ROOM: usize = 16 << 10;
const HEADER: usize = 9;

#[derive(Debug)]
pub struct Tap<'s> {
    stream: &'s mut Stream,
    seen: Arc<Mutex<Seen>>,
    incoming: BytesMut,
    /// How much of the current frame, its header included, has not been given away.
    left: usize,
    outgoing: BytesMut,
    /// The site takes no more. As with HTTP/1.1 that is no end: it may have answered, and reading tells.
    is_deaf: bool,
}

/// What went by, for those who can't look at the connection while the library has it.
#[derive(Debug, Default)]
pub struct Seen {
    /// A frame has gone by, and the next one waits until this is taken back.
    pub is_held: bool,
    /// Bytes of all frames so far.
    pub bytes: usize,
    /// Whether any part of an answer has come.
    pub has_answer: bool,
    pub end: Option<End>,
}

/// How a connection ended, as seen on the wire.
#[derive(Debug)]
pub enum End {
    /// In good order, or with an error: as reading said.
    Read(io::Result<usize>),
    /// The first thing that came is not what HTTP/2 begins with.
    NotHttp2,
    /// GOAWAY with this error: nothing will follow.
    GoAway(h2::Reason),
}

impl<'s> Tap<'s> {
    pub fn new(stream: &'s mut Stream, seen: Arc<Mutex<Seen>>) -> Self {
        Self { stream, seen, incoming: BytesMut::new(), left: 0, outgoing: BytesMut::new(), is_deaf: false }
    }

    /// Reads until so many bytes are there; `false`: the connection ended before.
    fn poll_incoming(&mut self, cx: &mut Context<'_>, needed: usize) -> Poll<io::Result<bool>> {
        while self.incoming.len() < needed {
            let read = ready!(self.stream.poll_fill(cx, &mut self.incoming, ROOM));
            if let Ok(1..) = read {
                continue;
            }
            let told = read.as_ref().map(|_| false).map_err(|e| e.kind().into());
            seen(&self.seen).end.get_or_insert(End::Read(read));
            return Poll::Ready(told);
        }
        Poll::Ready(Ok(true))
    }

    /// Looks at the next frame before the library does. `false`: there is none.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !ready!(self.poll_incoming(cx, HEADER))? {
            return Poll::Ready(Ok(false));
        }
        let mut frame = Frame::of(&self.incoming);
        if frame.kind == Frame::GOAWAY && frame.length >= 8 {
            if !ready!(self.poll_incoming(cx, HEADER + 8))? {
                return Poll::Ready(Ok(false));
            }
            frame.error = Some(u32_at(&self.incoming, HEADER + 4));
        }
        let mut seen = seen(&self.seen);
        let is_first = seen.bytes == 0;
        if is_first && !frame.is_settings() {
            seen.end = Some(End::NotHttp2);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if let Some(error) = frame.error.filter(|&e| e != 0) {
            seen.end = Some(End::GoAway(error.into()));
        }
        seen.has_answer |= frame.kind == Frame::HEADERS;
        self.left = HEADER + frame.length;
        Poll::Ready(Ok(true))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.outgoing.is_empty() {
            match ready!(poll_write_buf(Pin::new(&mut *self.stream), cx, &mut self.outgoing)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => self.give_up_sending(),
            }
        }
        Poll::Ready(())
    }

    fn give_up_sending(&mut self) {
        self.is_deaf = true;
        self.outgoing.clear();
    }
}

impl AsyncRead for Tap<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if seen(&self.seen).is_held {
            return Poll::Pending; // whoever takes it back polls again
        }
        let is_there = if self.left == 0 { self.poll_frame(cx) } else { self.poll_incoming(cx, 1) };
        if !ready!(is_there)? {
            return Poll::Ready(Ok(()));
        }
        let n = self.incoming.len().min(self.left).min(buf.remaining());
        buf.put_slice(&self.incoming[..n]);
        self.incoming.advance(n);
        self.left -= n;
        let mut seen = seen(&self.seen);
        seen.bytes += n;
        seen.is_held = self.left == 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.outgoing.len() >= ROOM {
            ready!(self.poll_drain(cx));
        }
        if self.is_deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let n = bytes.len().min(ROOM);
        self.outgoing.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx));
        if !self.is_deaf && ready!(Pin::new(&mut *self.stream).poll_flush(cx)).is_err() {
            self.give_up_sending();
        }
        Poll::Ready(Ok(()))
    }

    /// The connection ends when the attempt drops it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

pub fn seen(shared: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The header of a frame (RFC 9113, section 4.1).
#[derive(Debug)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
    /// Of a GOAWAY.
    error: Option<u32>,
}

impl Frame {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;

    /// Of at least as many bytes as a header has.
    fn of(bytes: &[u8]) -> Self {
        let length = (u32_at(bytes, 0) >> 8) as usize;
        Self { length, kind: bytes[3], flags: bytes[4], stream: u32_at(bytes, 5) & (u32::MAX >> 1), error: None }
    }

    /// What a server begins with (section 3.4), and no mere acknowledgement.
    fn is_settings(&self) -> bool {
        self.kind == Self::SETTINGS && self.flags & 1 == 0 && self.stream == 0
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |n, &b| n << 8 | u32::from(b))
}
