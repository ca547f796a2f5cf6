//! A connection to a site, with or without TLS.

use crate::{tcp::Tcp, tcp_info::TcpInfo, tls::tls_error};
use bytes::BytesMut;
use std::{
    future::poll_fn,
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;
use tokio_rustls::client::TlsStream;
use tokio_util::io::{poll_read_buf, poll_write_buf};

#[derive(Debug)]
pub enum Stream {
    Plain(Tcp),
    Tls(Box<Tls>),
}

/// TLS, and what broke it, until all that came before it has been read.
#[derive(Debug)]
pub struct Tls {
    stream: TlsStream<Tcp>,
    broken: Option<io::Error>,
}

impl Stream {
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        match self {
            Self::Plain(tcp) => tcp.info(),
            Self::Tls(tls) => tls.stream.get_ref().0.info(),
        }
    }

    /// What TLS agreed to speak (ALPN).
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Reads what is there into the end of `buffer`, at most `room` bytes, while sending what is left of `out`.
    ///
    /// A site may answer before it has read a request, or instead of reading it: so sending never stands in the way of
    /// reading, and an error of sending is left to what reading then says. 0 bytes: the site has ended its side.
    pub async fn exchange(&mut self, out: &mut Outgoing, buffer: &mut BytesMut, room: usize) -> io::Result<usize> {
        poll_fn(|cx| {
            out.poll_send(self, cx);
            self.poll_fill(cx, buffer, room)
        })
        .await
    }

    pub fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut, room: usize) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => {
                // Memory is taken when there is something to put into it: many a check only waits.
                ready!(tcp.poll_read_ready(cx))?;
                buffer.reserve(room);
                poll_read_buf(Pin::new(tcp), cx, buffer)
            }
            Self::Tls(tls) => {
                buffer.reserve(room);
                tls.poll_fill(cx, buffer)
            }
        }
    }
}

impl Tls {
    pub fn new(stream: TlsStream<Tcp>) -> Self {
        Self { stream, broken: None }
    }

    /// An alert or a bad record is told before what the same packet held in front of it: that is taken first.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.broken.is_none() {
            match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, buffer)) {
                Err(e) if tls_error(&e).is_some() => self.broken = Some(e),
                read => return Poll::Ready(read),
            }
        }
        let mut piece = [0; 4096];
        Poll::Ready(match (self.stream.get_mut().1.reader().read(&mut piece), self.broken.take()) {
            (Ok(n @ 1..), broken) => {
                self.broken = broken;
                buffer.extend_from_slice(&piece[..n]);
                Ok(n)
            }
            (_, Some(broken)) => Err(broken),
            (read, None) => read,
        })
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Outgoing {
    bytes: BytesMut,
    body: bytes::Bytes,
    flushed: bool,
}

impl Outgoing {
    pub fn new(head: BytesMut, body: bytes::Bytes) -> Self {
        Self { bytes: head, body, flushed: false }
    }

    /// Sends as much as the connection takes. Gives up for good when it takes no more.
    fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) {
        while !self.flushed {
            let mut stream = Pin::new(&mut *stream);
            let sent = if !self.bytes.is_empty() {
                poll_write_buf(stream, cx, &mut self.bytes)
            } else if !self.body.is_empty() {
                poll_write_buf(stream, cx, &mut self.body)
            } else {
                stream.as_mut().poll_flush(cx).map_ok(|()| {
                    self.flushed = true;
                    1
                })
            };
            match sent {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => self.flushed = true,
                Poll::Pending => return,
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(&mut s.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(&mut s.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(&mut s.stream).poll_shutdown(cx),
        }
    }
}
