//! One attempt: hop after hop on fresh connections, until an answer is complete or something breaks.

mod connect;
mod over_http1;
mod over_http2;

use crate::{
    Prober,
    clock::{Clock, Leg},
    content::{Content, Told},
    cookies::Jar,
    deadline::{Deadline, TimedOut},
    hop::Hop,
    request::Asking,
    shortage,
    stream::Stream,
    tcp::Tcp,
    tls::Capture,
};
use bytes::Bytes;
use connect::Spoken;
use http::HeaderValue;
use model::{
    Reason, Target, UnixMs,
    answer::{Answer, Head},
    result::{Finding, Look},
    text::{duration, thousands},
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::task::yield_now;

/// What one read takes at most: a head and a small page in one go.
const READ: usize = 16 << 10;
/// How long a body is worked on at a time. Our own delay is told from ten times this on (see `delay`).
const TURN: Duration = Duration::from_millis(1);

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
    /// What the hops so far have set.
    jar: Jar,
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
    /// How long we have worked on it since others had their turn.
    worked: Duration,
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
            jar: Jar::default(),
            stream: None,
            shaking: None,
            capture: None,
            head: None,
            told: Told::default(),
            worked: Duration::ZERO,
        }
    }

    /// Never fails: what went wrong is in the answer, and the look tells what was seen until then.
    pub async fn run(mut self) -> Answer {
        let failure = match self.exchange().await {
            Ok(()) => None,
            Err(End::TimedOut) => {
                self.clock.run_out();
                Some(self.timed_out())
            }
            Err(End::Failed(finding)) => Some(finding),
        };
        self.clock.stop();
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
            let next = match self.connect().await? {
                Spoken::Http1 => self.over_http1().await?,
                Spoken::Http2 => Box::pin(self.over_http2()).await?,
            };
            let Some(next) = next else { return Ok(()) };
            self.hop = next;
            self.look.redirects += 1;
            self.look.final_url = Some(self.hop.shown(&self.target.request.secrets));
        }
    }

    fn asking(&self) -> Asking<'a> {
        Asking { target: self.target, user_agent: &self.prober.user_agent }
    }

    fn cookies(&self) -> Option<HeaderValue> {
        self.jar.header(self.asking().cookies(&self.hop), &self.hop, self.wall())
    }

    fn body(&self) -> Bytes {
        let body = self.target.request.body.as_ref().filter(|_| self.hop.with_body);
        body.map_or_else(Bytes::new, |b| Bytes::from_owner(Arc::clone(b)))
    }

    /// A final head has come: where it leads, if that is to be followed.
    fn answered(&mut self, head: &Head) -> Result<Option<Hop>, Finding> {
        let next = self.redirect(head);
        self.look.status = Some(head.status);
        self.look.http = Some(head.http);
        let next = next?;
        if next.is_some() {
            self.jar.store(&head.headers, &self.hop.url, self.wall());
        }
        Ok(next)
    }

    /// The head was the final one: what comes now is the body that counts.
    fn begin_body(&mut self, head: Head) -> Content {
        self.enter(Leg::Transfer);
        self.look.body_bytes = Some(0);
        let content = Content::of(&head, self.target);
        self.head = Some(head);
        content
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

    /// The body has come to its end.
    fn end_body(&mut self, content: Content) -> Result<(), Finding> {
        self.clock.stop();
        self.told = content.end()?;
        Ok(())
    }

    /// A piece of body. What we make of it is our work, so the clock stands still; and it is done in turns with all else that this
    /// thread has to do, whatever the piece unpacks to.
    async fn take_body(&mut self, mut piece: &[u8], content: &mut Content) -> Result<(), Finding> {
        let taken = if content.is_work() {
            let paused = self.clock.pause();
            let taken = self.work(piece, content).await;
            self.deadline.extend(self.clock.resume(&paused));
            taken
        } else {
            content.work(&mut piece).map(drop)
        };
        self.look.body_bytes = Some(content.read());
        taken
    }

    async fn work(&mut self, mut piece: &[u8], content: &mut Content) -> Result<(), Finding> {
        loop {
            let begun = Instant::now();
            let is_more = content.work(&mut piece)?;
            self.worked += begun.elapsed();
            if self.worked >= TURN {
                self.worked = Duration::ZERO;
                yield_now().await;
            }
            if !is_more {
                return Ok(());
            }
        }
    }

    /// The time from now on belongs to this leg.
    fn enter(&mut self, leg: Leg) {
        let lain = self.clock.enter(leg);
        self.deadline.give_back(lain);
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
            Leg::Dns => format!("no resolver answered for {} within {limit}", self.to_resolve()),
            Leg::Connect if self.target.request.proxy.is_some() => {
                format!("no connection to {} through the proxy {peer} within {limit}", self.hop.host())
            }
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

    /// The time of day, by which cookies expire.
    fn wall(&self) -> UnixMs {
        UnixMs::from_system(SystemTime::now())
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

/// The connection ended before there was a whole head.
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
