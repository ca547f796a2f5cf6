//! How this machine looks names up: its hosts file and its resolvers.

use crate::shortage;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How often the files are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct System {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    port: u16,
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
    /// `port` is that of all resolvers.
    pub fn new(resolv_conf: PathBuf, hosts: PathBuf, port: u16) -> Self {
        Self { resolv_conf, hosts, port, last: Mutex::new(None) }
    }

    /// The setup as it is now, at most a second old; the last one known while this machine is too short of something to
    /// read its files.
    ///
    /// # Errors
    /// That shortage, when there is no last one.
    pub fn current(&self) -> io::Result<Arc<Setup>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, _, setup)) = &*last
            && at.elapsed() < LOOK_AGAIN
        {
            return Ok(Arc::clone(setup));
        }
        let stamp = [&self.resolv_conf, &self.hosts]
            .map(|p| std::fs::metadata(p).ok().and_then(|m| Some((m.len(), m.modified().ok()?))));
        let setup = match &*last {
            Some((_, before, setup)) if *before == stamp => Arc::clone(setup),
            before => match self.read() {
                Ok(setup) => Arc::new(setup),
                // Not kept: the files have not changed, and were not read.
                Err(e) => return before.as_ref().map(|(_, _, setup)| Arc::clone(setup)).ok_or(e),
            },
        };
        *last = Some((Instant::now(), stamp, Arc::clone(&setup)));
        Ok(setup)
    }

    fn read(&self) -> io::Result<Setup> {
        let (config, _) = resolv_conf::Config::parse_with_errors(&text(&self.resolv_conf)?);
        let mut servers: Vec<_> = config.nameservers.iter().filter_map(|ip| server(ip, self.port)).collect();
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, self.port).into()); // resolv.conf(5)
        }
        let search = config
            .get_last_search_or_domain()
            .map(|s| s.trim_matches('.').to_owned())
            .filter(|s| !s.is_empty())
            .collect();
        Ok(Setup { servers, search, hosts: parse_hosts(&String::from_utf8_lossy(&text(&self.hosts)?)) })
    }
}

/// What can't be read is as if it were empty, as for every other program of this machine; unless it is only we who can't.
fn text(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(e) if shortage::of(&e).is_some() => Err(e),
        read => Ok(read.unwrap_or_default()),
    }
}

fn server(ip: &resolv_conf::ScopedIp, port: u16) -> Option<SocketAddr> {
    match ip {
        resolv_conf::ScopedIp::V4(ip) => Some((*ip, port).into()),
        resolv_conf::ScopedIp::V6(ip, None) => Some((*ip, port).into()),
        // A scope is a number here; an interface's name would need the system's own look-up.
        resolv_conf::ScopedIp::V6(ip, Some(scope)) => Some(SocketAddrV6::new(*ip, port, 0, scope.parse().ok()?).into()),
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
    fn files_that_can_not_be_opened_for_lack_of_a_descriptor_are_not_taken_for_empty() {
        // Descriptors are one for all tests of a process: this one needs its own.
        let name = "dns::system::tests::short_of_descriptors";
        let script = format!(r#"ulimit -n 32 && exec "$0" --exact {name} --ignored"#);
        let mut alone = std::process::Command::new("sh");
        let output = alone.args(["-c", &script]).arg(std::env::current_exe().unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "needs a process of its own: run by the test before"]
    fn short_of_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, hosts) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
        std::fs::write(&hosts, "10.0.0.1 shop.test\n").unwrap();
        let system = System::new(conf, hosts.clone(), 53);
        let take_all = || std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect::<Vec<_>>();
        let taken = take_all();
        assert_eq!(system.current().unwrap_err().raw_os_error(), Some(libc::EMFILE));
        drop(taken);
        assert!(system.current().unwrap().hosts.contains_key("shop.test"));
        std::fs::write(&hosts, "10.0.0.1 shop.test other.test\n").unwrap();
        std::thread::sleep(LOOK_AGAIN);
        let taken = take_all();
        assert!(system.current().unwrap().hosts.contains_key("shop.test"), "as it was");
        drop(taken);
        assert!(system.current().unwrap().hosts.contains_key("other.test"));
    }

    #[test]
    fn a_change_of_the_files_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let (conf, hosts) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
        std::fs::write(&conf, "nameserver 10.0.0.53\nsearch corp.example. \n").expect("written");
        let system = System::new(conf.clone(), hosts.clone(), 53);
        let setup = system.current().expect("read");
        assert_eq!(
            (setup.servers.as_slice(), setup.search.as_slice()),
            (&["10.0.0.53:53".parse().expect("an address")][..], &["corp.example".to_owned()][..])
        );
        std::fs::write(&hosts, "10.0.0.1 new.example\n").expect("written");
        let until = Instant::now() + Duration::from_secs(20);
        while system.current().expect("read").hosts.is_empty() {
            assert!(Instant::now() < until, "the new hosts file was not read");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
