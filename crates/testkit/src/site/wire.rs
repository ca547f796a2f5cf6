//! A connection of a site, plain or TLS: reading with a buffer, sending, and the different ways to end.

use super::Reading;
use super::tls::Session;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

pub(super) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    reading: Reading,
    sent: Arc<AtomicU64>,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// What the handshake agreed on; `None` without TLS.
    pub(super) fn session(&self) -> Option<Session> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(s) => Some(Session::of(s.get_ref().1)),
        }
    }
}

impl Wire {
    /// `sent` counts the site's bytes before encryption.
    pub(super) fn new(stream: Stream, reading: Reading, sent: Arc<AtomicU64>) -> Self {
        Self { stream, buffer: Vec::new(), reading, sent }
    }

    pub(super) fn session(&self) -> Option<Session> {
        self.stream.session()
    }

    /// Everything up to and with the mark; `None` when the peer ended before it.
    pub(super) async fn take_until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(i) = self.buffer.windows(mark.len()).position(|w| w == mark) {
                let rest = self.buffer.split_off(i + mark.len());
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.more().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// So many bytes; `None` when the peer ended before.
    pub(super) async fn take(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        while self.buffer.len() < length {
            if self.more().await? == 0 {
                return Ok(None);
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(Some(std::mem::replace(&mut self.buffer, rest)))
    }

    /// Waits for something and takes it away.
    pub(super) async fn receive(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.more().await?;
        }
        self.buffer.clear();
        Ok(())
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = match &mut self.stream {
                Stream::Plain(s) => s.write(rest).await?,
                Stream::Tls(s) => s.write(rest).await?,
            };
            self.sent.fetch_add(n as u64, Ordering::Relaxed);
            rest = &rest[n..];
        }
        match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(s) => s.flush().await,
        }
    }

    /// Becomes a part of another connection.
    pub(super) async fn tunnel(self, port: u16) -> io::Result<()> {
        let mut there = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        there.set_nodelay(true)?;
        there.write_all(&self.buffer).await?;
        match self.stream {
            Stream::Plain(mut s) => copy_bidirectional(&mut s, &mut there).await?,
            Stream::Tls(mut s) => copy_bidirectional(&mut s, &mut there).await?,
        };
        Ok(())
    }

    /// Returns when the peer has gone; what it still says is thrown away.
    pub(super) async fn hold(&mut self) -> io::Result<()> {
        self.reading = Reading::Whole;
        loop {
            self.buffer.clear();
            if self.more().await? == 0 {
                return Ok(());
            }
        }
    }

    /// close_notify on TLS, FIN, and then the peer's end is awaited: closing with unread bytes would send an RST.
    pub(super) async fn close(mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(s) => s.shutdown().await?,
            Stream::Tls(s) => s.shutdown().await?,
        }
        self.hold().await
    }

    /// FIN without close_notify.
    pub(super) async fn cut(mut self) -> io::Result<()> {
        self.tcp_mut().shutdown().await?;
        self.hold().await
    }

    /// RST: a close with SO_LINGER 0 throws away what was not sent and ends without a FIN.
    pub(super) fn reset(mut self) -> io::Result<()> {
        self.tcp_mut().set_zero_linger()
    }

    fn tcp_mut(&mut self) -> &mut TcpStream {
        match &mut self.stream {
            Stream::Plain(s) => s,
            Stream::Tls(s) => s.get_mut().0,
        }
    }

    async fn more(&mut self) -> io::Result<usize> {
        let mut room = vec![0; 64 * 1024];
        if let Reading::Slow { bytes, every } = self.reading {
            tokio::time::sleep(every).await;
            room.truncate(bytes);
        }
        let n = match &mut self.stream {
            Stream::Plain(s) => s.read(&mut room).await?,
            Stream::Tls(s) => s.read(&mut room).await?,
        };
        self.buffer.extend_from_slice(&room[..n]);
        Ok(n)
    }
}
