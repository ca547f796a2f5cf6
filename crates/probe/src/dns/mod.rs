//! From a host name to addresses, asked afresh every time: the system's hosts file and resolvers, and nothing remembered.

mod query;
mod system;

use crate::{arrival::Arrivals, shortage};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use model::{
    Phase, Reason,
    result::Finding,
    target::{Family, Lookup},
};
use query::{Asked, Servers, Unanswered};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    time::Duration,
};
use system::System;

/// How long the answer for one family waits for the other (RFC 8305, section 3: the resolution delay).
const OTHER_FAMILY: Duration = Duration::from_millis(50);

/// How long the other family is waited for where one says that the name does not exist: then it does not (RFC 8020), but some servers
/// say so of the one family that they know nothing of (RFC 4074).
const NOT_EVEN_A_NAME: Duration = Duration::from_secs(2);

/// Where resolvers listen: `resolv.conf` can't say otherwise.
const DNS_PORT: u16 = 53;

/// What a look-up has found.
pub struct Found {
    /// IPv6 before IPv4 unless the hosts file says otherwise. Never empty.
    pub addresses: Vec<IpAddr>,
    /// Those of the family that has not answered yet.
    pub late: Option<Late>,
}

/// Addresses that are still asked for; none if there is no answer.
pub type Late = Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>>;

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl From<Vec<IpAddr>> for Found {
    fn from(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, late: None }
    }
}

#[derive(Debug)]
pub struct Resolver {
    system: System,
    /// Of targets that have none of their own; empty: the system's.
    own: Vec<SocketAddr>,
}

impl Resolver {
    /// With these name servers; without any as this machine is set up: `/etc/resolv.conf` and `/etc/hosts`, read again when
    /// they change.
    pub fn new(own: Vec<SocketAddr>) -> Self {
        Self { system: System::new("/etc/resolv.conf".into(), "/etc/hosts".into(), DNS_PORT), own }
    }

    /// The name servers that somebody named for this; empty: the system's.
    pub fn servers<'a>(&'a self, lookup: &'a Lookup) -> &'a [SocketAddr] {
        if lookup.resolvers.is_empty() { &self.own } else { &lookup.resolvers }
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// A reason of phase `dns`, or `prober_failed`.
    pub async fn resolve(&self, host: &str, lookup: &Lookup, arrivals: &Arrivals) -> Result<Found, Finding> {
        let servers = Servers { at: self.servers(lookup), arrivals };
        if servers.at.is_empty() {
            return self.resolve_by_system(host, lookup.family, arrivals).await;
        }
        let host = host.trim_end_matches('.');
        if is_localhost(host) {
            return of_family(&LOOPBACKS, lookup.family, host).map(Found::from);
        }
        addresses(servers, host, lookup.family).await.map_err(|e| e.finding(host))
    }

    /// As every program of this machine would: with its hosts file and its search list.
    async fn resolve_by_system(&self, host: &str, family: Family, arrivals: &Arrivals) -> Result<Found, Finding> {
        let setup = self.system.current().map_err(|e| {
            let what = shortage::of(&e).unwrap_or("can't read resolv.conf and hosts");
            Finding::new(Reason::ProberFailed, what)
        })?;
        let searched = if host.contains('.') { &[][..] } else { &setup.search[..] }; // a dot at the end says: no search
        let host = host.trim_end_matches('.');
        if let Some(addresses) = setup.hosts.get(&host.to_ascii_lowercase()) {
            return of_family(addresses, family, host).map(Found::from);
        }
        if is_localhost(host) {
            return of_family(&LOOPBACKS, family, host).map(Found::from);
        }
        let servers = Servers { at: &setup.servers, arrivals };
        for suffix in searched {
            if let Ok(found) = addresses(servers, &format!("{host}.{suffix}"), family).await {
                return Ok(found);
            }
        }
        addresses(servers, host, family).await.map_err(|e| e.finding(host))
    }
}

/// What `localhost` means whatever a resolver says (RFC 6761, section 6.3).
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

fn of_family(addresses: &[IpAddr], family: Family, host: &str) -> Result<Vec<IpAddr>, Finding> {
    let fits = |ip: &&IpAddr| match family {
        Family::Auto => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    };
    let fitting: Vec<_> = addresses.iter().filter(fits).copied().collect();
    if fitting.is_empty() { Err(NoAddresses::None.finding(host)) } else { Ok(fitting) }
}

/// Why there are no addresses.
#[derive(Debug)]
enum NoAddresses {
    NotFound,
    None,
    Code(ResponseCode),
    Unanswered(Unanswered),
}

async fn addresses(servers: Servers<'_>, name: &str, family: Family) -> Result<Found, NoAddresses> {
    let kind = match family {
        Family::Auto => return both_families(servers, name).await,
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    };
    match query::ask(servers, name, kind).await {
        Ok(asked) if !asked.addresses.is_empty() => Ok(asked.addresses.into()),
        none => Err(worst(vec![none])),
    }
}

/// One family's question, which may outlive the look-up: its sockets tell no clock but their own.
struct Asking {
    arrivals: Arrivals,
    answer: Pin<Box<dyn Future<Output = Result<Asked, Unanswered>> + Send>>,
}

impl Asking {
    fn of(servers: Servers<'_>, name: &str, family: RecordType) -> Self {
        let (at, name, arrivals) = (servers.at.to_vec(), name.to_owned(), Arrivals::new());
        let own = arrivals.clone();
        let answer = async move { query::ask(Servers { at: &at, arrivals: &own }, &name, family).await };
        Self { arrivals, answer: Box::pin(answer) }
    }
}

async fn both_families(servers: Servers<'_>, name: &str) -> Result<Found, NoAddresses> {
    let [mut six, mut four] = [RecordType::AAAA, RecordType::A].map(|family| Asking::of(servers, name, family));
    let (first, first_is_six) = tokio::select! {
        first = &mut six.answer => (first, true),
        first = &mut four.answer => (first, false),
    };
    let (of_first, mut other) = if first_is_six { (six.arrivals, four) } else { (four.arrivals, six) };
    servers.arrivals.adopt(&of_first);
    let patience = match &first {
        Ok(asked) if !asked.addresses.is_empty() => Some(OTHER_FAMILY),
        Ok(asked) if asked.code == ResponseCode::NXDomain => Some(NOT_EVEN_A_NAME),
        Ok(_) | Err(_) => None,
    };
    let second = match patience {
        Some(patience) => tokio::time::timeout(patience, &mut other.answer).await.ok(),
        None => Some((&mut other.answer).await),
    };
    match second {
        Some(second) => {
            servers.arrivals.adopt(&other.arrivals);
            together(if first_is_six { [first, second] } else { [second, first] })
        }
        None => {
            servers.arrivals.forget();
            let late = async move { other.answer.await.map(|asked| asked.addresses).unwrap_or_default() };
            match first {
                Ok(asked) if !asked.addresses.is_empty() => {
                    Ok(Found { addresses: asked.addresses, late: Some(Box::pin(late)) })
                }
                none => Err(worst(vec![none])),
            }
        }
    }
}

fn together(answers: [Result<Asked, Unanswered>; 2]) -> Result<Found, NoAddresses> {
    let found = answers.iter().filter_map(|a| a.as_ref().ok()).flat_map(|a| a.addresses.iter().copied());
    let found: Vec<IpAddr> = found.collect();
    if found.is_empty() { Err(worst(answers.into())) } else { Ok(found.into()) }
}

/// Of two answers without addresses the one that tells most: the name does not exist; nobody answered; an error; nothing there.
fn worst(answers: Vec<Result<Asked, Unanswered>>) -> NoAddresses {
    let mut found = NoAddresses::None;
    for answer in answers {
        found = match (found, answer) {
            (NoAddresses::NotFound, _) => NoAddresses::NotFound,
            (_, Ok(asked)) if asked.code == ResponseCode::NXDomain => NoAddresses::NotFound,
            (NoAddresses::Unanswered(kept), Err(other)) => NoAddresses::Unanswered(kept.or(other)),
            (kept @ NoAddresses::Unanswered(_), Ok(_)) => kept,
            (_, Err(unanswered)) => NoAddresses::Unanswered(unanswered),
            (kept @ NoAddresses::Code(_), Ok(_)) => kept,
            (NoAddresses::None, Ok(asked)) if asked.code != ResponseCode::NoError => NoAddresses::Code(asked.code),
            (NoAddresses::None, Ok(_)) => NoAddresses::None,
        };
    }
    found
}

impl NoAddresses {
    fn finding(self, host: &str) -> Finding {
        match self {
            Self::NotFound => Finding::new(Reason::DnsNotFound, format!("{host} does not exist (NXDOMAIN)")),
            Self::None => Finding::new(Reason::DnsNoAddress, format!("{host} has no address")),
            Self::Code(code) => Finding::new(Reason::DnsFailed, format!("the resolver answered {code} for {host}")),
            Self::Unanswered(Unanswered::NoServer) => {
                Finding::new(Reason::DnsFailed, format!("no resolver is configured to look up {host}"))
            }
            Self::Unanswered(Unanswered::NotAName) => {
                Finding::new(Reason::DnsFailed, format!("{host} can't be a name in DNS"))
            }
            Self::Unanswered(Unanswered::Circle) => {
                Finding::new(Reason::DnsFailed, format!("the aliases (CNAME) of {host} lead in a circle"))
            }
            Self::Unanswered(Unanswered::Silent) => {
                Finding::timeout(Phase::Dns, format!("no resolver answered for {host}"))
            }
            Self::Unanswered(Unanswered::Error(e)) => match shortage::of(&e) {
                Some(what) => Finding::new(Reason::ProberFailed, what),
                None => Finding::new(Reason::DnsFailed, format!("the resolver can't be asked for {host}: {e}")),
            },
        }
    }
}

#[cfg(test)]
mod tests;
