//! How this machine looks names up: its hosts file and its resolvers.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How often the files are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct System {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    last: Mutex<Option<(Instant, Stamp, Arc<Setup>)>>,
}

/// Size and time of both files: a change of either is a change.
type Stamp = [Option<(u64, SystemTime)>; 2];

#[derive(Debug, Default, PartialEq)]
pub struct Setup {
    pub servers: Vec<SocketAddr>,
    pub search: Vec<String>,
    /// By name in lower case.
    pub hosts: HashMap<String, Vec<IpAddr>>,
}

impl System {
    pub fn new(resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Self { resolv_conf, hosts, last: Mutex::new(None) }
    }

    /// The setup as it is now, at most a second old.
    pub fn current(&self) -> Arc<Setup> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, _, setup)) = &*last
            && at.elapsed() < LOOK_AGAIN
        {
            return Arc::clone(setup);
        }
        let stamp = [&self.resolv_conf, &self.hosts]
            .map(|p| std::fs::metadata(p).ok().and_then(|m| Some((m.len(), m.modified().ok()?))));
        let setup = match &*last {
            Some((_, before, setup)) if *before == stamp => Arc::clone(setup),
            _ => Arc::new(self.read()),
        };
        *last = Some((Instant::now(), stamp, Arc::clone(&setup)));
        setup
    }

    /// What can't be read is as if it were empty, as for every other program of this machine.
    fn read(&self) -> Setup {
        let text = |path| std::fs::read(path).unwrap_or_default();
        let (config, _) = resolv_conf::Config::parse_with_errors(&text(&self.resolv_conf));
        let mut servers: Vec<_> = config.nameservers.iter().filter_map(server).collect();
        if servers.is_empty() {
            servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 53))); // resolv.conf(5)
        }
        let search = config
            .get_last_search_or_domain()
            .map(|s| s.trim_matches('.').to_owned())
            .filter(|s| !s.is_empty())
            .collect();
        Setup { servers, search, hosts: parse_hosts(&String::from_utf8_lossy(&text(&self.hosts))) }
    }
}

fn server(ip: &resolv_conf::ScopedIp) -> Option<SocketAddr> {
    match ip {
        resolv_conf::ScopedIp::V4(ip) => Some((*ip, 53).into()),
        resolv_conf::ScopedIp::V6(ip, None) => Some((*ip, 53).into()),
        // A scope is a number here; an interface's name would need the system's own look-up.
        resolv_conf::ScopedIp::V6(ip, Some(scope)) => Some(SocketAddrV6::new(*ip, 53, 0, scope.parse().ok()?).into()),
    }
}

fn parse_hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words {
            let list = hosts.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
            if !list.contains(&ip) {
                list.push(ip);
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_names_several_addresses_and_aliases() {
        let hosts = parse_hosts(
            "127.0.0.1 localhost # comment\n::1 localhost ip6\n\n# 1.2.3.4 gone\nnonsense x\n10.0.0.1 Shop.Example.\n",
        );
        let of = |name: &str| hosts.get(name).map(|l| l.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(of("localhost").as_deref(), Some("127.0.0.1 ::1"));
        assert_eq!(of("shop.example").as_deref(), Some("10.0.0.1"));
        assert_eq!((of("gone"), of("x")), (None, None));
    }

    #[test]
    fn a_change_of_the_files_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let (conf, hosts) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
        std::fs::write(&conf, "nameserver 10.0.0.53\nsearch corp.example. \n").expect("written");
        let system = System::new(conf.clone(), hosts.clone());
        let setup = system.current();
        assert_eq!(
            (setup.servers.as_slice(), setup.search.as_slice()),
            (&["10.0.0.53:53".parse().expect("an address")][..], &["corp.example".to_owned()][..])
        );
        std::fs::write(&hosts, "10.0.0.1 new.example\n").expect("written");
        let until = Instant::now() + Duration::from_secs(20);
        while system.current().hosts.is_empty() {
            assert!(Instant::now() < until, "the new hosts file was not read");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
