//! Whether this machine has a way out, as the kernel says it.

use crate::connect;
use std::{fs, io, net::SocketAddr};

const UP: u32 = 0x1;
const REJECT: u32 = 0x200;

/// Whether no packet could leave for any of these: this machine has no default route in any family, and the kernel knows no
/// other way, as it does to itself, to the networks that it is connected to, and to those that somebody told it of. Without
/// an address only the default routes count.
///
/// What can't be read is taken for a way out: this machine is then not known to be cut off.
pub fn lead_nowhere(addresses: &[SocketAddr]) -> bool {
    if addresses.iter().any(|a| a.ip().to_canonical().is_loopback() || connect::has_source_for(*a)) {
        return false;
    }
    let v4 = fs::read_to_string("/proc/net/route").map(|table| has_default_v4(&table));
    let v6 = match fs::read_to_string("/proc/net/ipv6_route") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false), // a kernel without IPv6
        read => read.map(|table| has_default_v6(&table)),
    };
    matches!((v4, v6), (Ok(false), Ok(false)))
}

/// Of `/proc/net/route`: interface, destination, gateway, flags, three counters, mask, and more; numbers in hexadecimal.
fn has_default_v4(table: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [_, "00000000", _, flags, _, _, _, "00000000", ..] = columns[..] else { return false };
        leads(flags)
    })
}

/// Of `/proc/net/ipv6_route`: destination and its prefix, source and its prefix, gateway, three counters, flags, interface. A
/// machine without a default route has one that rejects.
fn has_default_v6(table: &str) -> bool {
    table.lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [destination, "00", _, _, _, _, _, _, flags, interface] = columns[..] else { return false };
        destination.bytes().all(|b| b == b'0') && interface != "lo" && leads(flags)
    })
}

fn leads(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP != 0 && flags & REJECT == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn v4(lines: &[&str]) -> bool {
        has_default_v4(&lines.iter().fold(HEADER.to_owned(), |table, line| format!("{table}{line}\n")))
    }

    #[test]
    fn a_default_route_of_ipv4_goes_everywhere_and_is_up() {
        let connected = "eth0\t0000FEA9\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
        let default = "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert!(v4(&[connected, default]));
        assert!(v4(&["tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0"]), "by an interface alone");
        assert!(!v4(&[connected]), "a connected network");
        assert!(!v4(&["eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000080\t0\t0\t0"]), "half of the net");
        assert!(!v4(&["eth0\t00000000\t010011AC\t0002\t0\t0\t0\t00000000\t0\t0\t0"]), "down");
        assert!(!v4(&["*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0"]), "unreachable");
        assert!(!v4(&[]) && !has_default_v4("") && !v4(&["nonsense"]));
    }

    #[test]
    fn a_default_route_of_ipv6_is_not_the_one_that_rejects() {
        let zeros = "0".repeat(32);
        let gateway = "fe800000000000000000000000000001";
        let route = |to: &str, by: &str, flags: &str, interface: &str| {
            has_default_v6(&format!("{to} {zeros} 00 {by} 00000400 00000001 00000000 {flags} {interface}\n"))
        };
        assert!(route(&format!("{zeros} 00"), gateway, "00000003", "    eth0"));
        assert!(!route(&format!("{zeros} 00"), &zeros, "00200200", "      lo"), "every machine has it");
        assert!(!route("fe800000000000000000000000000000 40", &zeros, "00000001", "    eth0"), "a connected network");
        assert!(!route(&format!("{zeros} 80"), &zeros, "00000001", "    eth0"), "one address");
        assert!(!has_default_v6("") && !has_default_v6("nonsense\n"));
    }

    #[test]
    fn there_is_always_a_way_to_this_machine() {
        assert!(!lead_nowhere(&[([127, 0, 0, 1], 1).into()]));
        assert!(!lead_nowhere(&[([127, 255, 255, 255], 1).into()]), "though nothing can be sent there");
    }
}
