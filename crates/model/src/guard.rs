//! Which addresses may be asked. Every address is judged here after resolution and before a packet is sent.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rules of section 6 of the contract. `deny` beats `allow`, `allow` beats everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Whether loopback, private, shared and unique-local addresses may be asked.
    pub private: bool,
    pub deny: Vec<IpNet>,
    pub allow: Vec<IpNet>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { private: true, deny: Vec::new(), allow: Vec::new() }
    }
}

impl Guard {
    /// `Err` says why the address may not be asked.
    pub fn judge(&self, address: IpAddr) -> Result<(), &'static str> {
        let inner = embedded(address).map(IpAddr::V4);
        let named = |list: &[IpNet], address: IpAddr| list.iter().any(|n| n.contains(&address));
        if named(&self.deny, address) || inner.is_some_and(|inner| named(&self.deny, inner)) {
            return Err("denied by guard.deny");
        }
        // A range of IPv6 allows no IPv4 that it can lead to; the very address may be named.
        let itself = || self.allow.iter().any(|n| n.addr() == address && n.prefix_len() == n.max_prefix_len());
        if named(&self.allow, inner.unwrap_or(address)) || itself() {
            return Ok(());
        }
        match kind(inner.unwrap_or(address)) {
            Kind::Never(what) => Err(what),
            Kind::Private if !self.private => Err("a private address, and guard.private is deny"),
            Kind::Private | Kind::Public => Ok(()),
        }
    }
}

enum Kind {
    Never(&'static str),
    Private,
    Public,
}

fn kind(address: IpAddr) -> Kind {
    let in_any = |nets: &[IpNet]| nets.iter().any(|n| n.contains(&address));
    if METADATA.contains(&address) {
        Kind::Never("a cloud metadata address")
    } else if address.is_unspecified() || in_any(&[v4([0, 0, 0, 0], 8)]) {
        Kind::Never("an unspecified address")
    } else if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Kind::Never("a multicast address")
    } else if in_any(&[v4([169, 254, 0, 0], 16), v6(0xfe80, 10)]) {
        Kind::Never("a link-local address")
    } else if address.is_loopback() || in_any(&PRIVATE) {
        Kind::Private
    } else {
        Kind::Public
    }
}

const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

const PRIVATE: [IpNet; 7] = [
    v4([127, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10), // shared, RFC 6598
    v6(0xfc00, 7),           // unique local, RFC 4193
    v6(0xfec0, 10),          // site local, RFC 3879: deprecated, still routed by some
];

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(u32::from_be_bytes(octets)), prefix))
}

const fn v6(first: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix))
}

/// The IPv4 address that an IPv6 one leads to: mapped and compatible (RFC 4291), 6to4 (RFC 3056), NAT64 (RFC 6052), Teredo
/// (RFC 4380, where it is the client's, with every bit turned).
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |hi: u16, lo: u16| Ipv4Addr::from_bits(u32::from(hi) << 16 | u32::from(lo));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(v4(g, h)),
        (0, 0, 0, 0, 0, 0) if g != 0 || h > 1 => Some(v4(g, h)),
        (0x2002, hi, lo, ..) => Some(v4(hi, lo)),
        (0x2001, 0, ..) => Some(v4(!g, !h)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, allowed: &[&str], refused: &[&str]) {
        for (list, want) in [(allowed, true), (refused, false)] {
            for a in list {
                let judged = guard.judge(a.parse().expect("an address"));
                assert_eq!(judged.is_ok(), want, "{a}: {judged:?}");
            }
        }
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().expect("a network")).collect()
    }

    #[test]
    fn some_addresses_are_never_asked() {
        check(
            &Guard::default(),
            &["127.0.0.1", "10.0.0.1", "::1", "8.8.8.8", "2606:4700::1", "100.64.0.1", "fd12::1"],
            &[
                "169.254.169.254",
                "169.254.1.1",
                "fe80::1",
                "fd00:ec2::254",
                "100.100.100.200",
                "0.0.0.0",
                "::",
                "224.0.0.1",
                "ff02::1",
                "::ffff:169.254.169.254",
                "::ffff:0.0.0.0",
                "255.255.255.255",
                "64:ff9b::a9fe:a9fe",
                "0.1.2.3",
                "::169.254.169.254",
            ],
        );
    }

    #[test]
    fn private_addresses_follow_the_setting_also_inside_ipv6() {
        check(
            &Guard { private: false, ..Guard::default() },
            &["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "2002:808:808::1"],
            &[
                "127.0.0.1",
                "127.9.9.9",
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "::1",
                "fd12:3456::1",
                "::ffff:127.0.0.1",
                "2002:7f00:1::1",
                "64:ff9b::7f00:1",
                "2001:0:404:404:0:0:80ff:fffe",
                "fec0::1",
            ],
        );
    }

    #[test]
    fn ipv4_inside_ipv6_is_allowed_as_ipv4() {
        let guard = Guard {
            private: false,
            deny: nets(&["2002:909:909::/48"]),
            allow: nets(&["::/0", "127.0.0.9/32", "::ffff:10.0.0.1/128"]),
        };
        check(
            &guard,
            &["::1", "fd12::1", "fe80::1", "::ffff:127.0.0.9", "64:ff9b::7f00:9", "::ffff:10.0.0.1", "2002:808:808::1"],
            &[
                "::ffff:127.0.0.1",
                "::ffff:169.254.169.254",
                "2002:7f00:1::1",
                "64:ff9b::7f00:1",
                "::ffff:10.0.0.2",
                "2002:909:909::1",
            ],
        );
    }

    #[test]
    fn deny_beats_allow_and_allow_beats_the_rest() {
        let guard = Guard {
            private: false,
            deny: nets(&["127.0.0.2/32", "8.8.0.0/16"]),
            allow: nets(&["127.0.0.0/8", "169.254.169.254/32"]),
        };
        check(
            &guard,
            &["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"],
            &["127.0.0.2", "::ffff:127.0.0.2", "8.8.8.8", "10.0.0.1"],
        );
    }
}
