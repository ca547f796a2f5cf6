//! Whether it is this machine that is cut off: asked only after a check has failed in a way that could come from that.

use crate::{
    arrival::Arrivals,
    connect::{self, Candidates},
    dns::Resolver,
    routes,
};
use model::{Phase, Reason, Target, Verdict, result::Finding, target::Lookup};
use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, time::timeout};

/// How long the places of `probe.online_check` may take, all together.
const LONGEST: Duration = Duration::from_secs(2);
/// For so long one answer is for every check that failed.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Online {
    /// `probe.online_check`: host and port.
    places: Vec<(String, u16)>,
    /// When somebody asked last, and whether any place could be connected to. Whoever asks meanwhile waits for that answer.
    last: Mutex<Option<(Instant, bool)>>,
}

impl Online {
    pub fn new(places: Vec<(String, u16)>) -> Self {
        Self { places, last: Mutex::default() }
    }

    /// Takes a failure back that may be our own network's: `prober_offline`. (The contract, section 5.) `peer` is the last
    /// address that was tried.
    pub async fn doubt(
        &self,
        judged: (Verdict, Option<Finding>),
        target: &Target,
        peer: Option<SocketAddr>,
        resolver: &Resolver,
    ) -> (Verdict, Option<Finding>) {
        let (Verdict::Down, Some(finding)) = &judged else { return judged };
        if !may_be_our_network(finding.reason) {
            return judged;
        }
        // Where the packets went that brought nothing; the system's resolver sends them on to where nobody here knows.
        let asked = match finding.phase {
            Some(Phase::Dns) => resolver.servers(&target.request.lookup),
            _ => peer.as_slice(),
        };
        let answered = matches!(finding.reason, Reason::DnsNotFound | Reason::DnsNoAddress);
        let why = if !answered && routes::lead_nowhere(asked) {
            "it has no default route".to_owned()
        } else if self.is_cut_off(resolver).await {
            let places: Vec<_> = self.places.iter().map(|(host, port)| shown(host, *port)).collect();
            format!("none of {} could be connected to", places.join(", "))
        } else {
            return judged;
        };
        let message = format!("this machine is offline: {why}; it saw {}: {}", finding.reason, finding.message);
        (Verdict::Unknown, Some(Finding::new(Reason::ProberOffline, message)))
    }

    async fn is_cut_off(&self, resolver: &Resolver) -> bool {
        if self.places.is_empty() {
            return false;
        }
        let mut last = self.last.lock().await;
        if let Some((at, reached)) = *last
            && at.elapsed() < FRESH
        {
            return !reached;
        }
        let reached = timeout(LONGEST, self.reach_any(resolver)).await.unwrap_or(false);
        *last = Some((Instant::now(), reached));
        !reached
    }

    /// Tries all places at once; the first that is reached is enough.
    async fn reach_any(&self, resolver: &Resolver) -> bool {
        let mut tries: Vec<Pin<Box<dyn Future<Output = bool> + Send + '_>>> = Vec::new();
        for (host, port) in &self.places {
            tries.push(Box::pin(reach(host, *port, resolver)));
        }
        poll_fn(|cx| {
            let mut reached = false;
            tries.retain_mut(|t| match t.as_mut().poll(cx) {
                Poll::Ready(this) => {
                    reached |= this;
                    false
                }
                Poll::Pending => true,
            });
            if reached || tries.is_empty() { Poll::Ready(reached) } else { Poll::Pending }
        })
        .await
    }
}

async fn reach(host: &str, port: u16, resolver: &Resolver) -> bool {
    let addresses = match host.parse::<IpAddr>() {
        Ok(ip) => Ok(vec![ip].into()),
        Err(_) => resolver.resolve(host, &Lookup::default(), &Arrivals::new()).await,
    };
    let connected = match addresses {
        Ok(found) => {
            let candidates = Candidates::of(found, |list| connect::by_turns(list, port));
            connect::connect(candidates, &mut connect::Tried::default()).await.map(drop)
        }
        Err(e) => Err(e),
    };
    // Short of something of our own we can't tell, and the failure stands.
    connected.map_or_else(|e| e.reason == Reason::ProberFailed, |()| true)
}

fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What a cut cable, a router that is away or a resolver that is away can look like. An answer of somebody's can't come from
/// that.
fn may_be_our_network(reason: Reason) -> bool {
    match reason {
        Reason::DnsNotFound
        | Reason::DnsNoAddress
        | Reason::DnsFailed
        | Reason::ConnectRefused
        | Reason::ConnectUnreachable
        | Reason::ConnectFailed
        | Reason::TlsFailed
        | Reason::Closed
        | Reason::Truncated
        | Reason::Timeout => true,
        Reason::Blocked
        | Reason::TlsExpired
        | Reason::TlsNotYetValid
        | Reason::TlsWrongHost
        | Reason::TlsUntrusted
        | Reason::BadResponse
        | Reason::TooManyRedirects
        | Reason::BadRedirect
        | Reason::BadEncoding
        | Reason::BodyTooLarge
        | Reason::Status
        | Reason::Header
        | Reason::BodyNoMatch
        | Reason::BodyMatch
        | Reason::Cel
        | Reason::Slow
        | Reason::CertificateExpiring
        | Reason::ProberOverloaded
        | Reason::ProberFailed
        | Reason::ProberOffline
        | Reason::Late
        | Reason::Stopping => false,
    }
}
