//! One attempt: hop after hop on fresh connections, until an answer is complete or something breaks.

use crate::{
    Prober,
    clock::{Clock, Leg},
    connect,
    content::{Content, Told},
    deadline::{Deadline, TimedOut},
    hop::Hop,
    http1::{self, Body, HeadReader},
    shortage,
    stream::{Outgoing, Stream},
    tcp::Tcp,
    tls::{self, Capture, Peer},
};
use bytes::{Buf, Bytes, BytesMut};
use model::{
    Reason, Target, UnixMs,
    answer::{Answer, Head},
    result::{Finding, Look},
    text::{duration, thousands},
};
use std::{io, sync::Arc, time::SystemTime};

/// What one read takes at most: a head and a small page in one go.
const READ: usize = 16 << 10;

/// Why an attempt ends before its answer is complete.
enum End {
    TimedOut,
    Failed(Finding),
}

impl From<TimedOut> for End {
    fn from(TimedOut: TimedOut) -> Self {
        Self::TimedOut
    }
}

impl From<Finding> for End {
    fn from(finding: Finding) -> Self {
        Self::Failed(finding)
    }
}

pub struct Attempt<'a> {
    prober: &'a Prober,
    target: &'a Target,
    look: &'a mut Look,
    clock: Clock,
    deadline: Deadline<'a>,
    now: UnixMs,
    hop: Hop,
    /// The connection of the current hop; kept here so that the kernel can be asked about it however the attempt ends.
    stream: Option<Stream>,
    /// The same, while a TLS handshake has it.
    shaking: Option<Tcp>,
    /// Of the last hop that was https.
    capture: Option<Arc<Capture>>,
    /// The final one, whose body is then read.
    head: Option<Head>,
    /// Of the final body.
    told: Told,
}

impl<'a> Attempt<'a> {
    pub fn new(prober: &'a Prober, target: &'a Target, look: &'a mut Look) -> Self {
        Self {
            prober,
            target,
            look,
            clock: Clock::new(),
            deadline: Deadline::after(target.timeout, &prober.delays),
            now: UnixMs::from_system(SystemTime::now()),
            hop: Hop::first(target),
            stream: None,
            shaking: None,
            capture: None,
            head: None,
            told: Told::default(),
        }
    }

    /// Never fails: what went wrong is in the answer, and the look tells what was seen until then.
    pub async fn run(mut self) -> Answer {
        let end = self.exchange().await;
        self.clock.stop();
        let failure = match end {
            Ok(()) => None,
            Err(End::TimedOut) => Some(self.timed_out()),
            Err(End::Failed(finding)) => Some(finding),
        };
        self.ask_the_kernel();
        let shown = self.capture.as_ref().map(|c| c.shown()).unwrap_or_default();
        let look = self.look;
        look.phases = self.clock.phases();
        let total = look.phases.sum();
        look.total = Some(total);
        look.tls = shown.seen();
        let limited = [&self.target.expect, &self.target.warn].iter().any(|l| l.certificate.is_some());
        Answer {
            head: self.head,
            failure,
            matched: self.told.matched,
            body_bytes: look.body_bytes.unwrap_or(0),
            kept: self.told.kept,
            outcomes: Vec::new(),
            total,
            certificates: if limited { shown.validities() } else { Vec::new() },
            now: self.now,
        }
    }

    async fn exchange(&mut self) -> Result<(), End> {
        loop {
            (self.look.status, self.look.http) = (None, None);
            let (mut out, mut buffer) = (self.request(), BytesMut::new());
            self.connect().await?;
            let head = self.ask(&mut out, &mut buffer).await?;
            let next = self.redirect(&head);
            self.look.status = Some(head.status);
            self.look.http = Some(head.http);
            let Some(next) = next? else {
                let framing =
                    Body::of(&self.hop.method, &head).map_err(|e| Finding::new(Reason::BadResponse, e.to_string()))?;
                self.head = Some(head);
                return self.read_body(framing, &mut out, buffer).await;
            };
            self.hop = next;
            self.look.redirects += 1;
            self.look.final_url = Some(self.hop.shown(&self.target.request.secrets));
        }
    }

    /// Resolve, guard, connect, TLS.
    async fn connect(&mut self) -> Result<(), End> {
        let addresses = match self.hop.literal() {
            Some(ip) => vec![ip],
            None => {
                self.clock.enter(Leg::Dns);
                self.deadline
                    .limit(Box::pin(self.prober.resolver.resolve(self.hop.host(), &self.target.request.lookup)))
                    .await??
            }
        };
        self.clock.enter(Leg::Connect);
        (self.look.peer, self.stream, self.shaking) = (None, None, None);
        let addresses = connect::allowed(&self.prober.guard, &addresses, self.hop.port())?;
        let tcp = self.deadline.limit(connect::connect(&addresses, &mut self.look.peer)).await??;
        if !self.hop.is_https() {
            self.stream = Some(Stream::Plain(tcp));
            return Ok(());
        }
        self.clock.enter(Leg::Tls);
        let tcp = self.shaking.insert(Tcp::new(tcp)).clone();
        let settings = &self.target.request.tls;
        let config = self.ours(|prober| prober.tls.get(settings));
        let config = config.map_err(|e| Finding::new(Reason::ProberFailed, e.to_string()))?;
        let named = settings.server_name.as_deref().filter(|_| self.hop.same_host);
        let peer = Peer { host: named.unwrap_or(self.hop.host()), with_client_certificate: self.hop.with_credentials };
        let capture = self.capture.insert(Arc::new(config.capture(self.now)));
        let shake = Box::pin(tls::handshake(&config, tcp, &peer, Arc::clone(capture)));
        self.stream = Some(self.deadline.limit(shake).await??);
        Ok(())
    }

    fn request(&self) -> Outgoing {
        let head = http1::request(&self.hop, self.target, &self.prober.user_agent);
        let body = self.target.request.body.as_ref().filter(|_| self.hop.with_body);
        Outgoing::new(head, body.map_or_else(Bytes::new, |b| Bytes::from_owner(Arc::clone(b))))
    }

    /// Sends the request and reads the final head. What came behind it stays in the buffer.
    async fn ask(&mut self, out: &mut Outgoing, buffer: &mut BytesMut) -> Result<Head, End> {
        self.clock.enter(Leg::Wait);
        let mut reader = HeadReader::default();
        let mut nothing_yet = true;
        loop {
            let stream = self.stream.as_mut().expect("connect has made it");
            let read = self.deadline.limit(stream.exchange(out, buffer, READ)).await?;
            if let Ok(1..) = read {
                nothing_yet = false;
                if let Some(head) = reader.read(buffer).map_err(|e| Finding::new(Reason::BadResponse, e.to_string()))? {
                    return Ok(head);
                }
                self.give_up_when_late()?;
                continue;
            }
            // An alert before the first byte of an answer is the handshake's end, late: TLS 1.3 refuses a client so.
            if let Err(e) = &read
                && nothing_yet
                && tls::tls_error(e).is_some()
            {
                self.clock.belongs_to(Leg::Tls);
                return Err(Finding::new(Reason::TlsFailed, tls::why(e)).into());
            }
            return Err(no_head(read, nothing_yet).into());
        }
    }

    /// Where the answer leads, if it is a redirect to follow.
    fn redirect(&self, head: &Head) -> Result<Option<Hop>, Finding> {
        let limit = self.target.request.redirects;
        let Some(location) = head.headers.first("location") else { return Ok(None) };
        if limit == 0 || !matches!(head.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        if self.look.redirects >= limit {
            let message = format!("{limit} redirects were followed, and status {} redirects again", head.status);
            return Err(Finding::new(Reason::TooManyRedirects, message));
        }
        self.hop.follow(head, location, &self.target.url).map(Some)
    }

    /// Reads the body, and goes on sending the request if its answer came before its end: the site may need both.
    async fn read_body(&mut self, mut framing: Body, out: &mut Outgoing, mut buffer: BytesMut) -> Result<(), End> {
        self.clock.enter(Leg::Transfer);
        self.look.body_bytes = Some(0);
        let head = self.head.as_ref().expect("a body follows its head");
        let mut content = Content::of(head, self.target);
        loop {
            while !framing.is_complete() && !buffer.is_empty() {
                let taken = framing.take(&buffer).map_err(|e| Finding::new(Reason::Truncated, e.to_string()))?;
                let from = taken.used - taken.body;
                self.take_body(&buffer[from..taken.used], &mut content)?;
                buffer.advance(taken.used);
            }
            if framing.is_complete() {
                break;
            }
            self.give_up_when_late()?;
            let stream = self.stream.as_mut().expect("connect has made it");
            match self.deadline.limit(stream.exchange(out, &mut buffer, READ)).await? {
                Ok(1..) => {}
                end => {
                    self.end_of_body(&framing, end)?;
                    break;
                }
            }
        }
        self.clock.stop();
        self.told = content.end()?;
        Ok(())
    }

    /// A piece of body. What we make of it is our work, so the clock stands still.
    fn take_body(&mut self, piece: &[u8], content: &mut Content) -> Result<(), Finding> {
        let taken = if content.is_work() { self.ours(|_| content.take(piece)) } else { content.take(piece) };
        self.look.body_bytes = Some(content.read());
        taken
    }

    /// The connection ended, or broke, while a body was being read.
    fn end_of_body(&self, framing: &Body, end: io::Result<usize>) -> Result<(), Finding> {
        let read = self.look.body_bytes.unwrap_or(0);
        match end {
            Ok(_) => framing.end(read),
            Err(e) if let Some(what) = shortage::of(&e) => return Err(Finding::new(Reason::ProberFailed, what)),
            // The end of a TLS connection without close_notify, as browsers take it.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => framing.end(read),
            Err(e) => {
                return Err(Finding::new(
                    Reason::Truncated,
                    format!("the connection broke after {} bytes of the body: {}", thousands(read), broke(&e)),
                ));
            }
        }
        .map_err(|e| Finding::new(Reason::Truncated, e.to_string()))
    }

    /// Work of ours: the clock stands still, and the site gets the time back.
    fn ours<T>(&mut self, work: impl FnOnce(&'a Prober) -> T) -> T {
        let paused = self.clock.pause();
        let done = work(self.prober);
        self.deadline.extend(self.clock.resume(&paused));
        done
    }

    /// A site that always has one more byte never makes us wait, so the timer alone would not end it.
    fn give_up_when_late(&mut self) -> Result<(), TimedOut> {
        if self.deadline.has_passed() { Err(TimedOut) } else { Ok(()) }
    }

    fn timed_out(&self) -> Finding {
        let limit = duration(self.target.timeout);
        let peer = self.look.peer.map_or_else(|| "the site".to_owned(), |p| p.to_string());
        let message = match self.clock.leg() {
            Leg::Dns => format!("no resolver answered for {} within {limit}", self.hop.host()),
            Leg::Connect => format!("no connection to {peer} within {limit}"),
            Leg::Tls => format!("the TLS handshake with {peer} was not done within {limit}"),
            Leg::Wait => format!("no complete response head from {peer} within {limit}"),
            Leg::Transfer => {
                let read = thousands(self.look.body_bytes.unwrap_or(0));
                format!("the body was not complete within {limit} ({read} bytes came)")
            }
        };
        Finding::timeout(self.clock.leg().phase(), message)
    }

    fn ask_the_kernel(&mut self) {
        let info = match &self.stream {
            Some(stream) => stream.tcp_info(),
            None => self.shaking.as_ref().and_then(Tcp::info),
        };
        self.look.rtt = info.map(|i| i.rtt);
        self.look.retransmits = info.map(|i| i.retransmits);
    }
}

fn no_head(read: io::Result<usize>, nothing_yet: bool) -> Finding {
    let ended = match read {
        Err(e) if let Some(what) = shortage::of(&e) => return Finding::new(Reason::ProberFailed, what),
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => broke(&e),
        Ok(_) | Err(_) => "the server closed the connection".into(),
    };
    let when = if nothing_yet { "before it answered" } else { "before its response head was complete" };
    Finding::new(Reason::Closed, format!("{ended} {when}"))
}

fn broke(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the server reset the connection".into(),
        _ => e.to_string(),
    }
}
