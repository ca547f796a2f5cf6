//! From addresses to a connection: the guard first, then happy eyeballs (RFC 8305).

use crate::{dns::Found, shortage};
use model::{Reason, guard::Guard, result::Finding};
use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// How long an attempt is alone before the next address is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// The addresses that may be asked, those of both families by turns.
///
/// # Errors
/// `blocked`, when the guard leaves none.
pub fn allowed(guard: &Guard, addresses: &[IpAddr], port: u16) -> Result<Vec<SocketAddr>, Finding> {
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for &address in addresses {
        match guard.judge(address) {
            Ok(()) => allowed.push(address),
            Err(why) => refused.push(format!("{address}: {why}")),
        }
    }
    if allowed.is_empty() {
        return Err(Finding::new(Reason::Blocked, format!("no address may be asked: {}", refused.join(", "))));
    }
    Ok(by_turns(&allowed, port))
}

/// The addresses of both families by turns, as RFC 8305 wants them; the first one's family begins.
pub fn by_turns(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (a, b): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|ip| ip.is_ipv6() == first_is_v6);
    (0..a.len().max(b.len())).flat_map(|i| [a.get(i), b.get(i)]).flatten().map(|&ip| (ip, port).into()).collect()
}

/// Where to connect to, in this order; and more of it, once the look-up of the other family has an answer.
pub struct Candidates<'a> {
    pub ready: Vec<SocketAddr>,
    pub late: Option<Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send + 'a>>>,
}

impl<'a> Candidates<'a> {
    /// What a look-up has found and will find, each in this order.
    pub fn of(found: Found, order: impl Fn(&[IpAddr]) -> Vec<SocketAddr> + Send + Sync + 'a) -> Self {
        let ready = order(&found.addresses);
        Self { ready, late: found.late.map(|late| Box::pin(async move { order(&late.await) }) as _) }
    }
}

impl From<Vec<SocketAddr>> for Candidates<'_> {
    fn from(ready: Vec<SocketAddr>) -> Self {
        Self { ready, late: None }
    }
}

/// What is known of the addresses, also when the time is up before one of them has answered.
#[derive(Debug, Default)]
pub struct Tried {
    /// The last one that was tried, or the one that answered.
    pub last: Option<SocketAddr>,
    /// When connecting to the one that answered began.
    pub begun: Option<Instant>,
    /// This machine could not try one of them: whether that one would have answered nobody knows.
    pub short: Option<Finding>,
    /// All that were there have failed, and only a look-up that may bring more is waited for.
    pub failed: Option<Finding>,
}

/// Connects to the first address that answers.
///
/// # Errors
/// When all fail: refused over unreachable over other; ours over all, since then nobody knows. `closed`: there was a connection,
/// which was reset before anybody could use it.
pub async fn connect(candidates: Candidates<'_>, tried: &mut Tried) -> Result<TcpStream, Finding> {
    let stream = match (&candidates.ready[..], &candidates.late) {
        (&[one], None) => {
            (tried.last, tried.begun) = (Some(one), Some(Instant::now()));
            TcpStream::connect(one).await.map_err(|e| failure(&[(one, e)]))?
        }
        _ => {
            let (stream, address, begun) = race(candidates, tried).await?;
            (tried.last, tried.begun) = (Some(address), Some(begun));
            stream
        }
    };
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!(error = %e, "can't switch off Nagle's algorithm");
    }
    Ok(stream)
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

enum Event {
    Done(usize, io::Result<TcpStream>),
    More(Vec<SocketAddr>),
    Next,
}

async fn race(candidates: Candidates<'_>, tried: &mut Tried) -> Result<(TcpStream, SocketAddr, Instant), Finding> {
    let (mut waiting, mut late) = (VecDeque::from(candidates.ready), candidates.late);
    let mut open: Vec<(SocketAddr, Instant, Attempt)> = Vec::new();
    let mut failed = Vec::new();
    let mut next_at = Box::pin(tokio::time::sleep(Duration::ZERO));
    loop {
        let all_failed = open.is_empty();
        let more = !waiting.is_empty();
        if all_failed && !more {
            if late.is_none() {
                return Err(failure(&failed));
            }
            tried.failed = Some(failure(&failed));
        }
        let event = poll_fn(|cx| {
            for (i, (.., attempt)) in open.iter_mut().enumerate() {
                if let Poll::Ready(done) = attempt.as_mut().poll(cx) {
                    return Poll::Ready(Event::Done(i, done));
                }
            }
            if let Some(Poll::Ready(more)) = late.as_mut().map(|late| late.as_mut().poll(cx)) {
                return Poll::Ready(Event::More(more));
            }
            if more && (all_failed || next_at.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Event::Next);
            }
            Poll::Pending
        })
        .await;
        match event {
            Event::Done(i, Ok(stream)) => {
                let (address, begun, _) = open.swap_remove(i);
                return Ok((stream, address, begun));
            }
            Event::Done(i, Err(e)) => {
                let address = open.remove(i).0;
                if reason(address, &e) == Reason::Closed {
                    tried.last = Some(address); // this one has answered
                    return Err(failure(&[(address, e)]));
                }
                failed.push((address, e));
                if let Some(this @ [(address, e)]) = failed.last_chunk()
                    && reason(*address, e) == Reason::ProberFailed
                {
                    tried.short = Some(failure(this));
                }
                next_at.as_mut().reset(tokio::time::Instant::now()); // a failure starts the next one at once
            }
            Event::More(more) => {
                (late, tried.failed) = (None, None);
                waiting = in_turn(more, waiting);
            }
            Event::Next => {
                if let Some(address) = waiting.pop_front() {
                    tried.last = Some(address);
                    open.push((address, Instant::now(), Box::pin(TcpStream::connect(address))));
                    next_at.as_mut().reset(tokio::time::Instant::now() + STAGGER);
                }
            }
        }
    }
}

/// Both by turns: of the family that came late, none was tried yet.
fn in_turn(late: Vec<SocketAddr>, waiting: VecDeque<SocketAddr>) -> VecDeque<SocketAddr> {
    let (mut late, mut waiting) = (late.into_iter(), waiting.into_iter());
    let mut all = VecDeque::with_capacity(late.len() + waiting.len());
    while late.len() + waiting.len() > 0 {
        all.extend(late.next());
        all.extend(waiting.next());
    }
    all
}

fn failure(failed: &[(SocketAddr, io::Error)]) -> Finding {
    let reasons: Vec<_> = failed.iter().map(|(address, e)| reason(*address, e)).collect();
    let rank =
        [Reason::Closed, Reason::ProberFailed, Reason::Timeout, Reason::ConnectRefused, Reason::ConnectUnreachable];
    let worst = rank.into_iter().find(|r| reasons.contains(r)).unwrap_or(Reason::ConnectFailed);
    let told = failed.iter().map(|(address, e)| match shortage::of(e) {
        Some(what) if worst == Reason::ProberFailed => format!("{address}: {what}"),
        _ => format!("{address}: {}", plain(e)),
    });
    let message = told.collect::<Vec<_>>().join(", ");
    if worst == Reason::Timeout {
        Finding::timeout(model::Phase::Connect, message)
    } else {
        Finding::new(worst, message)
    }
}

/// The system's words without its numbers.
fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn reason(address: SocketAddr, e: &io::Error) -> Reason {
    match e.raw_os_error() {
        Some(libc::ECONNREFUSED) => Reason::ConnectRefused,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::EAFNOSUPPORT) => {
            Reason::ConnectUnreachable
        }
        Some(libc::ETIMEDOUT) => Reason::Timeout, // the kernel gave up before we did
        Some(libc::ECONNRESET) => Reason::Closed, // refused is another word: there was a connection, and it was reset at once
        // Without an IPv6 address of our own the kernel says the same as without a free port.
        Some(libc::EADDRNOTAVAIL) if address.is_ipv6() && !has_source_for(address) => Reason::ConnectUnreachable,
        _ if shortage::of(e).is_some() => Reason::ProberFailed,
        _ => Reason::ConnectFailed,
    }
}

/// Whether this machine has an address from which it could speak to that one. Sends nothing.
pub fn has_source_for(address: SocketAddr) -> bool {
    let any: SocketAddr = if address.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
    std::net::UdpSocket::bind(any).and_then(|s| s.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(addresses: &[&str]) -> String {
        let list: Vec<IpAddr> = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        let guard = Guard { deny: vec!["10.9.0.0/16".parse().expect("a network")], ..Guard::default() };
        match allowed(&guard, &list, 80) {
            Ok(list) => list.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(" "),
            Err(f) => f.reason.to_string(),
        }
    }

    #[test]
    fn families_take_turns_and_refused_addresses_are_skipped() {
        assert_eq!(order(&["::1", "fd::2", "1.1.1.1", "1.1.1.2", "1.1.1.3"]), "::1 1.1.1.1 fd::2 1.1.1.2 1.1.1.3");
        assert_eq!(order(&["10.9.0.1", "1.1.1.1"]), "1.1.1.1");
        assert_eq!(order(&["10.9.0.1", "169.254.169.254"]), "blocked");
    }

    #[tokio::test]
    async fn a_failure_starts_the_next_attempt_at_once() {
        // Alone for 250 ms the first one hangs; the second is refused; a pause before the third would make it 500.
        let hanging = testkit::Backlog::on("127.0.0.1");
        let _site = testkit::Site::setup().address("127.0.0.3").port(hanging.port()).serve([]);
        let addresses = [1, 2, 3].map(|n| SocketAddr::from(([127, 0, 0, n], hanging.port())));
        let mut took = Vec::new();
        for _ in 0..6 {
            let (begun, mut tried) = (Instant::now(), Tried::default());
            connect(addresses.to_vec().into(), &mut tried).await.expect("the third one answers");
            assert_eq!(tried.last, Some(addresses[2]));
            took.push(begun.elapsed());
            if (STAGGER..STAGGER * 19 / 10).contains(&begun.elapsed()) {
                return;
            }
        }
        panic!("{took:?}");
    }

    #[test]
    fn of_several_failures_refused_says_most_and_our_own_says_nothing_of_the_site() {
        let errors = |codes: &[i32]| {
            let list: Vec<_> = codes
                .iter()
                .map(|&c| (SocketAddr::from(([127, 0, 0, 1], 80)), io::Error::from_raw_os_error(c)))
                .collect();
            failure(&list).reason
        };
        assert_eq!(errors(&[libc::EHOSTUNREACH, libc::ECONNREFUSED]), Reason::ConnectRefused);
        assert_eq!(errors(&[libc::EACCES, libc::EHOSTUNREACH]), Reason::ConnectUnreachable);
        assert_eq!(errors(&[libc::EACCES]), Reason::ConnectFailed);
        assert_eq!(errors(&[libc::ECONNREFUSED, libc::ETIMEDOUT]), Reason::Timeout);
        for ours in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL] {
            assert_eq!(errors(&[ours]), Reason::ProberFailed, "{ours}");
        }
        assert_eq!(errors(&[libc::ECONNREFUSED, libc::EMFILE]), Reason::ProberFailed);
        assert_eq!(errors(&[libc::ECONNRESET]), Reason::Closed);
    }
}
