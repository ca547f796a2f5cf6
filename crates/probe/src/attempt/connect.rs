//! The way to a site: resolve, guard, connect, a proxy's CONNECT, TLS.

use super::{Attempt, End, READ, broke};
use crate::{
    clock::Leg,
    connect::{self, Candidates},
    dns::Found,
    hop::Hop,
    http1::HeadReader,
    shortage,
    stream::{Outgoing, Stream},
    tcp::Tcp,
    tls::{self, Peer},
};
use bytes::{Bytes, BytesMut};
use model::{
    Reason, Target,
    result::Finding,
    target::{Http, Proxy},
};
use std::{io, net::IpAddr, sync::Arc};

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

impl<'a> Attempt<'a> {
    pub(super) async fn connect(&mut self) -> Result<Spoken, End> {
        let Some(proxy) = self.target.request.proxy.as_deref() else {
            let found = self.resolve(self.hop.literal()).await?;
            self.begin_connecting();
            let candidates = self.allowed(found).await?;
            self.connect_to(candidates).await?;
            return self.secure(Bytes::new()).await;
        };
        // What the proxy makes of a name is its own; where the target itself is an address, the guard has its say.
        if let Some(literal) = self.hop.literal() {
            self.begin_connecting();
            connect::allowed(&self.prober.guard, &[literal], self.hop.port())?;
        }
        let found = self.resolve(proxy.host.parse().ok()).await?;
        self.begin_connecting();
        self.connect_to(Candidates::of(found, |list| connect::by_turns(list, proxy.port))).await?;
        let ahead = if self.hop.is_https() { self.tunnel(proxy).await? } else { Bytes::new() };
        self.secure(ahead).await
    }

    /// What was known of the last connection is of no interest from here on.
    fn begin_connecting(&mut self) {
        self.enter(Leg::Connect);
        (self.look.peer, self.stream, self.shaking) = (None, None, None);
    }

    /// Whose addresses are asked for: the proxy's or the site's.
    pub(super) fn to_resolve(&self) -> &str {
        place(self.target, &self.hop)
    }

    async fn resolve(&mut self, literal: Option<IpAddr>) -> Result<Found, End> {
        if let Some(ip) = literal {
            return Ok(vec![ip].into());
        }
        self.enter(Leg::Dns);
        let (place, lookup) = (place(self.target, &self.hop), &self.target.request.lookup);
        let resolving = self.prober.resolver.resolve(place, lookup, self.clock.arrivals());
        Ok(self.deadline.limit(Box::pin(resolving)).await??)
    }

    /// What the guard lets through. When that is none of what is known, what comes late is waited for.
    async fn allowed(&mut self, found: Found) -> Result<Candidates<'a>, End> {
        let Found { mut addresses, late } = found;
        let (prober, port) = (self.prober, self.hop.port());
        let guard = &prober.guard;
        let Some(late) = late else { return Ok(connect::allowed(guard, &addresses, port)?.into()) };
        let ready = match connect::allowed(guard, &addresses, port) {
            Ok(ready) => ready,
            Err(blocked) => {
                addresses.extend(self.deadline.limit(late).await.map_err(|_| blocked)?);
                return Ok(connect::allowed(guard, &addresses, port)?.into());
            }
        };
        let late = async move { connect::allowed(guard, &late.await, port).unwrap_or_default() };
        Ok(Candidates { ready, late: Some(Box::pin(late)) })
    }

    async fn connect_to(&mut self, candidates: Candidates<'_>) -> Result<(), End> {
        let mut tried = connect::Tried::default();
        let connected = self.deadline.limit(connect::connect(candidates, &mut tried)).await;
        self.look.peer = tried.last;
        let connected = connected.map_err(|late| tried.short.or(tried.failed).map_or(late.into(), End::Failed))?;
        let stream = connected.map_err(|failed| self.after_connecting(failed))?;
        if let Some(begun) = tried.begun {
            self.clock.arrivals().connected(begun, &stream);
        }
        self.stream = Some(Stream::Plain(Tcp::new(stream, self.clock.arrivals().clone())));
        Ok(())
    }

    /// A connection that was reset before it could be used had been made: what failed is what would have come next.
    fn after_connecting(&mut self, failed: Finding) -> Finding {
        if failed.reason != Reason::Closed {
            return failed;
        }
        let reset = broke(&io::ErrorKind::ConnectionReset.into());
        match (self.hop.is_https(), &self.target.request.proxy) {
            (true, Some(_)) => no_tunnel(Err(io::ErrorKind::ConnectionReset.into())),
            (true, None) => {
                self.enter(Leg::Tls);
                Finding::new(Reason::TlsFailed, format!("{reset} during the handshake"))
            }
            (false, _) => {
                self.enter(Leg::Wait);
                Finding::new(Reason::Closed, format!("{reset} before it answered"))
            }
        }
    }

    /// Asks the proxy for a way to the site, which is a part of connecting. What came behind the proxy's answer is the site's.
    async fn tunnel(&mut self, proxy: &Proxy) -> Result<Bytes, End> {
        let mut out = Outgoing::new(self.asking().connect(&self.hop, proxy), Bytes::new());
        let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::new());
        loop {
            let stream = self.stream.as_mut().expect("connect_to has made it");
            let read = self.deadline.limit(stream.exchange(&mut out, &mut buffer, READ)).await?;
            let Ok(1..) = read else { return Err(no_tunnel(read).into()) };
            match reader.read(&mut buffer) {
                Ok(Some(head)) if (200..300).contains(&head.status) => return Ok(buffer.freeze()),
                Ok(Some(head)) => return Err(refused(&format!("refused CONNECT with status {}", head.status)).into()),
                Ok(None) => {}
                Err(e) => return Err(refused(&format!("did not answer CONNECT: {e}")).into()),
            }
            self.give_up_when_late()?;
        }
    }

    /// TLS where the URL says so, and which version of HTTP was agreed upon.
    async fn secure(&mut self, ahead: Bytes) -> Result<Spoken, End> {
        let settings = &self.target.request.tls;
        let http = self.target.request.http;
        if !self.hop.is_https() {
            return Ok(if http == Http::V2 { Spoken::Http2 } else { Spoken::Http1 });
        }
        self.enter(Leg::Tls);
        let Some(Stream::Plain(tcp)) = self.stream.take() else { unreachable!("connect_to has made it") };
        let tcp = self.shaking.insert(tcp.behind(ahead)).clone();
        let config = self.ours(|prober| prober.tls.get(settings));
        let config = config.map_err(|e| Finding::new(Reason::ProberFailed, e.to_string()))?;
        let named = settings.server_name.as_deref().filter(|_| self.hop.same_host);
        let host = named.unwrap_or(self.hop.host());
        let peer = Peer { host, with_client_certificate: self.hop.with_credentials, http };
        let capture = self.capture.insert(Arc::new(config.capture(self.now)));
        let shake = Box::pin(tls::handshake(&config, tcp, &peer, Arc::clone(capture)));
        let stream = self.stream.insert(self.deadline.limit(shake).await??);
        match (stream.protocol(), http) {
            (Some(tls::H2), _) => Ok(Spoken::Http2),
            (None | Some(_), Http::Auto | Http::V1_1) => Ok(Spoken::Http1),
            (None | Some(_), Http::V2) => {
                Err(Finding::new(Reason::TlsFailed, "the server does not speak HTTP/2: it declined it (ALPN)").into())
            }
        }
    }
}

fn place<'h>(target: &'h Target, hop: &'h Hop) -> &'h str {
    target.request.proxy.as_ref().map_or(hop.host(), |proxy| &proxy.host)
}

fn no_tunnel(read: io::Result<usize>) -> Finding {
    match read {
        Err(e) if let Some(what) = shortage::of(&e) => Finding::new(Reason::ProberFailed, what),
        Err(e) => refused(&format!("did not answer CONNECT: {}", broke(&e).replace("the server", "it"))),
        Ok(_) => refused("closed the connection instead of answering CONNECT"),
    }
}

fn refused(how: &str) -> Finding {
    Finding::new(Reason::ConnectFailed, format!("the proxy {how}"))
}
