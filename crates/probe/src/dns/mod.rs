//! From a host name to addresses, asked afresh every time: the system's hosts file and resolvers, and nothing remembered.

mod query;
mod system;

use crate::shortage;
use hickory_proto::{op::ResponseCode, rr::RecordType};
use model::{Phase, Reason, result::Finding};
use query::{Asked, Unanswered};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::pin,
    time::Duration,
};
use system::System;

/// How long the answer for one family waits for the other (RFC 8305, section 3: the resolution delay).
const OTHER_FAMILY: Duration = Duration::from_millis(50);

/// Where resolvers listen: `resolv.conf` can't say otherwise.
const DNS_PORT: u16 = 53;

#[derive(Debug)]
pub struct Resolver {
    system: System,
}

impl Resolver {
    /// As this machine is set up: `/etc/resolv.conf` and `/etc/hosts`, read again when they change.
    pub fn system() -> Self {
        Self { system: System::new("/etc/resolv.conf".into(), "/etc/hosts".into(), DNS_PORT) }
    }

    /// The addresses of a host, IPv6 before IPv4 unless the hosts file says otherwise. Never empty.
    ///
    /// # Errors
    /// A reason of phase `dns`, or `prober_failed`.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Finding> {
        let setup = self.system.current().map_err(|e| {
            let what = shortage::of(&e).unwrap_or("can't read resolv.conf and hosts");
            Finding::new(Reason::ProberFailed, what)
        })?;
        let searched = if host.contains('.') { &[][..] } else { &setup.search[..] }; // a dot at the end says: no search
        let host = host.trim_end_matches('.');
        if let Some(addresses) = setup.hosts.get(&host.to_ascii_lowercase()) {
            return Ok(addresses.clone());
        }
        if host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost") {
            return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]); // RFC 6761, section 6.3
        }
        for suffix in searched {
            if let Ok(addresses) = both_families(&setup.servers, &format!("{host}.{suffix}")).await {
                return Ok(addresses);
            }
        }
        both_families(&setup.servers, host).await.map_err(|e| e.finding(host))
    }
}

/// Why there are no addresses.
#[derive(Debug)]
enum NoAddresses {
    NotFound,
    None,
    Code(ResponseCode),
    Unanswered(Unanswered),
}

async fn both_families(servers: &[std::net::SocketAddr], name: &str) -> Result<Vec<IpAddr>, NoAddresses> {
    let (mut v6, mut v4) =
        (pin!(query::ask(servers, name, RecordType::AAAA)), pin!(query::ask(servers, name, RecordType::A)));
    let (first, second) = tokio::select! {
        six = &mut v6 => {
            let four = other(&six, v4).await;
            (Some(six), four)
        }
        four = &mut v4 => {
            let six = other(&four, v6).await;
            (six, Some(four))
        }
    };
    let answers: Vec<_> = first.into_iter().chain(second).collect();
    let addresses: Vec<IpAddr> =
        answers.iter().filter_map(|a| a.as_ref().ok()).flat_map(|a| a.addresses.iter().copied()).collect();
    if addresses.is_empty() { Err(worst(answers)) } else { Ok(addresses) }
}

/// The other family's answer: waited for as long as it takes when the first brought nothing, else only shortly.
async fn other(
    first: &Result<Asked, Unanswered>,
    second: impl Future<Output = Result<Asked, Unanswered>>,
) -> Option<Result<Asked, Unanswered>> {
    match first {
        Ok(asked) if !asked.addresses.is_empty() => tokio::time::timeout(OTHER_FAMILY, second).await.ok(),
        Ok(_) | Err(_) => Some(second.await),
    }
}

/// Of two answers without addresses the one that tells most: the name does not exist; nobody answered; an error; nothing there.
fn worst(answers: Vec<Result<Asked, Unanswered>>) -> NoAddresses {
    let mut found = NoAddresses::None;
    for answer in answers {
        found = match (found, answer) {
            (NoAddresses::NotFound, _) => NoAddresses::NotFound,
            (_, Ok(asked)) if asked.code == ResponseCode::NXDomain => NoAddresses::NotFound,
            (kept @ NoAddresses::Unanswered(_), _) => kept,
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
