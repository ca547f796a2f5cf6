//! A connected socket. Two may hold it: TLS, which reads and writes, and the attempt, which asks the kernel about it however a
//! handshake ends.

use crate::{
    arrival::Arrivals,
    tcp_info::{self, TcpInfo},
};
use bytes::{Buf, Bytes};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[derive(Clone, Debug)]
pub struct Tcp {
    stream: Arc<TcpStream>,
    arrivals: Arrivals,
    /// What was read already.
    ahead: Bytes,
}

impl Tcp {
    pub fn new(stream: TcpStream, arrivals: Arrivals) -> Self {
        arrivals.stamp(&stream);
        Self { stream: Arc::new(stream), arrivals, ahead: Bytes::new() }
    }

    /// `ahead` came from it already, and is read first.
    pub fn behind(mut self, ahead: Bytes) -> Self {
        self.ahead = ahead;
        self
    }

    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() { self.stream.poll_read_ready(cx) } else { Poll::Ready(Ok(())) }
    }

    pub fn info(&self) -> Option<TcpInfo> {
        tcp_info::of(&self.stream)
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..n]);
            self.ahead.advance(n);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.arrivals.try_read(&self.stream, buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write_vectored(bufs) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The kernel has what was written: there is nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection ends when both holders have dropped it, which they do together.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
