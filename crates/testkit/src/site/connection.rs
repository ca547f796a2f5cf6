//! One connection of a site: handshake, request, script, and again.

use super::wire::{Stream, Wire};
use super::{Reading, Request, Script, Shared, Step, http2, request, step};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// An error means that the peer has gone.
pub(super) async fn serve(tcp: TcpStream, number: usize, shared: &Arc<Shared>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let Some(stream) = handshake(tcp, shared).await? else { return Ok(()) };
    let script = shared.script();
    if let Script::Http2(answer) = &*script {
        return http2::answer(stream, number, shared, answer).await;
    }
    let mut wire = Wire::new(stream, shared.reading, Arc::clone(&shared.sent));
    let with_body = !matches!(shared.reading, Reading::Heads);
    if let Script::Greet(steps) | Script::Frames(steps) = &*script {
        if matches!(*script, Script::Frames(_)) {
            let Some(mut request) = http2::read(&mut wire, number, with_body).await? else { return Ok(()) };
            shared.seen().record(&mut request);
        }
        return match play(wire, steps).await? {
            Some(wire) => wire.close().await,
            None => Ok(()),
        };
    }
    while let Some(mut request) = request::read(&mut wire, number, with_body).await? {
        shared.seen().record(&mut request);
        match play(wire, &steps_for(&shared.script(), &request)).await? {
            None => return Ok(()),
            Some(next) if shared.keep_alive => wire = next,
            Some(next) => return next.close().await,
        }
    }
    wire.close().await
}

fn steps_for(script: &Script, request: &Request) -> Vec<Step> {
    match script {
        Script::Always(steps) | Script::Greet(steps) | Script::Frames(steps) => steps.clone(),
        Script::Http2(_) => Vec::new(), // has no steps
        Script::Ask(function) => function(request),
        Script::Routes(routes) => {
            let find = |path: &str| routes.iter().find(|(p, _)| p == path).map(|(_, steps)| steps.clone());
            find(request.path()).or_else(|| find("*")).unwrap_or_else(|| vec![step::resp(404, "no such page")])
        }
    }
}

/// `None` when it failed; the alert that says why has been sent, and the peer has read it.
async fn handshake(tcp: TcpStream, shared: &Shared) -> io::Result<Option<Stream>> {
    let Some((config, late)) = &shared.tls else { return Ok(Some(Stream::Plain(tcp))) };
    sleep(*late).await;
    match TlsAcceptor::from(Arc::clone(config)).accept(tcp).into_fallible().await {
        Ok(stream) => Ok(Some(Stream::Tls(Box::new(stream)))),
        Err((error, mut tcp)) => {
            shared.seen().refused_handshakes.push(error.to_string());
            // Without this, bytes that nobody read would turn the end into an RST, which overtakes the alert.
            tcp.shutdown().await?;
            while tcp.read(&mut [0; 4096]).await? > 0 {}
            Ok(None)
        }
    }
}

/// Takes the steps one after the other; `None` when one of them ended the connection.
async fn play(mut wire: Wire, steps: &[Step]) -> io::Result<Option<Wire>> {
    for step in steps {
        match step {
            Step::Send(bytes) => wire.send(bytes).await?,
            Step::Drip(bytes, every) => {
                for byte in bytes {
                    wire.send(&[*byte]).await?;
                    sleep(*every).await;
                }
            }
            Step::Fill(length) => fill(&mut wire, *length).await?,
            Step::Endless(bytes, every) => endless(&mut wire, bytes, *every).await?,
            Step::Pause(length) => sleep(*length).await,
            Step::Receive => wire.receive().await?,
            Step::Tunnel(port) => return wire.tunnel(*port).await.map(|()| None),
            Step::Hold => return wire.hold().await.map(|()| None),
            Step::Close => return wire.close().await.map(|()| None),
            Step::Cut => return wire.cut().await.map(|()| None),
            Step::Reset => return wire.reset().map(|()| None),
        }
    }
    Ok(Some(wire))
}

async fn fill(wire: &mut Wire, length: u64) -> io::Result<()> {
    const FILLER: [u8; 16 * 1024] = [b'x'; 16 * 1024];
    let mut left = length;
    while left > 0 {
        let n = left.min(FILLER.len() as u64);
        wire.send(&FILLER[..n as usize]).await?;
        left -= n;
    }
    Ok(())
}

async fn endless(wire: &mut Wire, bytes: &[u8], every: Duration) -> io::Result<()> {
    loop {
        wire.send(bytes).await?;
        if every.is_zero() {
            // A peer that reads as fast as this would keep the site's other connections waiting.
            tokio::task::yield_now().await;
        } else {
            sleep(every).await;
        }
    }
}
