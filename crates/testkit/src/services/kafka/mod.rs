//! An Apache Kafka of a test's own: one node, its own controller (KRaft), plain `java` on the broker's Maven artifacts; further
//! brokers can join it.
//!
//! It listens without any security for [`Kafka::brokers`], and, when the options say so, with TLS and SASL on further ports.

mod jars;
mod properties;

use super::daemon::{Daemon, Launch};
use super::folder::{Folder, Lasting};
use super::trouble::ServiceError;
use crate::fail::fail;
use crate::net::free_port;
use crate::{Authority, Identity};
use jars::{Jars, uuid};
use properties::Properties;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(90);

/// How a broker is made. The defaults serve ordinary tests.
#[derive(Debug, Default)]
pub struct KafkaOptions<'a> {
    properties: Vec<(String, String)>,
    heap_mib: Option<u32>,
    tls: Option<&'a Identity>,
    client_authority: Option<&'a Authority>,
    users: Vec<(String, String)>,
    lasting: Option<&'a Lasting>,
    port: Option<u16>,
    joins: Option<(u32, &'a Kafka)>,
}

impl<'a> KafkaOptions<'a> {
    /// A line of `server.properties`.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// The most memory that Java takes for objects, instead of 512 MiB.
    pub fn heap_mib(self, heap: u32) -> Self {
        Self { heap_mib: Some(heap), ..self }
    }

    /// Listens for TLS too, with this certificate: [`Kafka::tls_brokers`].
    pub fn tls(self, identity: &'a Identity) -> Self {
        Self { tls: Some(identity), ..self }
    }

    /// Over TLS, wants a certificate of clients that this authority signed.
    pub fn client_authority(self, authority: &'a Authority) -> Self {
        Self { client_authority: Some(authority), ..self }
    }

    /// Listens for this user, and for those that were named before, by SASL PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512: [`Kafka::sasl_brokers`], and where it has a
    /// certificate [`Kafka::sasl_tls_brokers`].
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// Data that stay.
    pub fn lasting(self, folder: &'a Lasting) -> Self {
        Self { lasting: Some(folder), ..self }
    }

    /// This port instead of a free one, for [`Kafka::brokers`].
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// A further broker of that one's cluster, whose controller that one remains. `node`: from 2, each once.
    pub fn joins(self, node: u32, first: &'a Kafka) -> Self {
        Self { joins: Some((node, first)), ..self }
    }

    /// Fails the test when the broker does not come to serve.
    pub async fn start(self) -> Kafka {
        self.try_start().await.unwrap_or_else(|error| fail(&error.to_string()))
    }

    /// # Errors
    /// When Java or Kafka's jars can't be had, or the broker does not come to serve.
    pub async fn try_start(self) -> Result<Kafka, ServiceError> {
        // The first time it fetches them, for seconds.
        let jars = tokio::task::spawn_blocking(Jars::ready).await.expect("getting the jars does not panic")?;
        let (home, folder) = match self.lasting {
            Some(lasting) => (lasting.part("kafka", None)?, None),
            None => {
                let folder = Folder::new(None)?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let heap_mib = self.heap_mib.unwrap_or(512);
        let long_lived = self.lasting.is_some();
        let ports = Ports::default();
        let cluster = self.joins.map_or_else(uuid, |(_, first)| first.cluster.clone());
        let mut broker = Kafka { jars, home, cluster, heap_mib, long_lived, ports, daemon: None, _folder: folder };
        broker.first_start(&self).await?;
        Ok(broker)
    }

    fn ports(&self) -> Ports {
        let [clients, controller, tls, sasl, sasl_tls] = std::array::from_fn(|_| free_port());
        let clients = self.port.unwrap_or(clients);
        Ports { clients, controller, tls, sasl, sasl_tls }
    }

    fn configuration(&self, home: &Path, ports: &Ports) -> Properties {
        let mut all = Properties::new(&home.join("data"), [ports.clients, ports.controller]);
        if let Some((node, first)) = self.joins {
            all.join(node, first.ports.controller);
        }
        if let Some(identity) = self.tls {
            all.listen("SSL", ports.tls);
            all.set("ssl.keystore.type", "PEM");
            all.set("ssl.keystore.certificate.chain", &identity.chain_pem);
            all.set("ssl.keystore.key", &identity.key_pem);
        }
        if let Some(authority) = self.client_authority {
            all.set("ssl.truststore.type", "PEM");
            all.set("ssl.truststore.certificates", &authority.pem);
            all.set("ssl.client.auth", "required");
        }
        if !self.users.is_empty() {
            all.listen("SASL_PLAINTEXT", ports.sasl);
            if self.tls.is_some() {
                all.listen("SASL_SSL", ports.sasl_tls);
            }
            all.set("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512");
            let module = "org.apache.kafka.common.security";
            let users: String = self.users.iter().map(|(name, word)| format!(" user_{name}=\"{word}\"")).collect();
            let plain = format!("{module}.plain.PlainLoginModule required{users};");
            for listener in ["sasl_plaintext", "sasl_ssl"] {
                all.set(format!("listener.name.{listener}.plain.sasl.jaas.config"), &plain);
                for mechanism in ["scram-sha-256", "scram-sha-512"] {
                    let scram = format!("{module}.scram.ScramLoginModule required;");
                    all.set(format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"), scram);
                }
            }
        }
        self.properties.iter().for_each(|(name, value)| all.set(name, value));
        all
    }

    /// Arguments for the format tool; without them the quicker way will do.
    fn credentials(&self) -> Vec<String> {
        let credential = |mechanism: &str, (name, password): &(String, String)| {
            ["--add-scram".into(), format!("{mechanism}=[name={name},password={password}]")]
        };
        let of_all = |mechanism| self.users.iter().flat_map(move |user| credential(mechanism, user));
        ["SCRAM-SHA-256", "SCRAM-SHA-512"].into_iter().flat_map(of_all).collect()
    }
}

/// A running broker; killed and removed when dropped, unless its data are lasting: then it is stopped in order.
#[derive(Debug)]
pub struct Kafka {
    jars: Jars,
    /// Holds `data`, `server.properties` and the log.
    home: PathBuf,
    /// The cluster's id, which a new folder is formatted with.
    cluster: String,
    heap_mib: u32,
    long_lived: bool,
    ports: Ports,
    daemon: Option<Daemon>,
    _folder: Option<Folder>,
}

#[derive(Debug, Default)]
struct Ports {
    clients: u16,
    controller: u16,
    tls: u16,
    sasl: u16,
    sasl_tls: u16,
}

impl Kafka {
    /// Fails the test when the broker does not come to serve.
    pub async fn start() -> Self {
        Self::options().start().await
    }

    pub fn options<'a>() -> KafkaOptions<'a> {
        KafkaOptions::default()
    }

    /// `127.0.0.1:port`, without any security.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.clients)
    }

    pub fn port(&self) -> u16 {
        self.ports.clients
    }

    /// Where it speaks TLS, when it was given a certificate.
    pub fn tls_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.tls)
    }

    /// Where it wants a user, in plain text, when it was given one.
    pub fn sasl_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// Where it wants a user and speaks TLS, when it was given both.
    pub fn sasl_tls_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl_tls)
    }

    /// What it has logged since its last start: warnings and worse.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::said).unwrap_or_default()
    }

    /// In order: leaders resign, logs are flushed.
    pub async fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop(Signal::TERM, Duration::from_secs(30)).await;
        }
    }

    /// What it had acknowledged is kept: the system has it.
    pub fn kill9(&mut self) {
        self.daemon = None;
    }

    /// SIGSTOP: connections stay, nothing is answered.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Starts it again on the same ports, over the same data; one that still runs is stopped first. After `kill9` it takes about
    /// six seconds until it serves: its former self's session has to end.
    pub async fn restart(&mut self) {
        self.stop().await;
        let started = Instant::now();
        while let Err(error) = self.serve().await {
            if !error.port_taken() || started.elapsed() > LIMIT {
                fail(&error.to_string());
            }
        }
    }

    /// Ports that were free may be taken by the time the broker binds them.
    async fn first_start(&mut self, options: &KafkaOptions<'_>) -> Result<(), ServiceError> {
        let data = self.home.join("data");
        let mut tries = 0..5;
        loop {
            self.ports = options.ports();
            let configuration = self.home.join("server.properties");
            let text = options.configuration(&self.home, &self.ports).to_string();
            std::fs::write(&configuration, text).map_err(ServiceError::io(format!("write {configuration:?}")))?;
            if !data.join("meta.properties").exists() {
                match options.credentials() {
                    none if none.is_empty() => {
                        let node = options.joins.map_or(1, |(node, _)| node);
                        self.jars.format(&data, node, &self.cluster)?;
                    }
                    credentials => self.jars.format_with(&configuration, &self.cluster, &credentials)?,
                }
            }
            match self.serve().await {
                Err(error) if error.port_taken() && tries.next().is_some() => {}
                done => return done,
            }
        }
    }

    async fn serve(&mut self) -> Result<(), ServiceError> {
        let mut arguments = self.jars.arguments(self.heap_mib, self.long_lived);
        arguments.extend(["kafka.Kafka", "server.properties"].map(Into::into));
        let launch = Launch {
            name: "Kafka",
            program: self.jars.java(),
            arguments,
            user: None,
            at_our_death: if self.long_lived { "TERM" } else { "KILL" },
            log: self.home.join("log"),
        };
        let daemon = self.daemon.insert(launch.start()?);
        let ready = daemon.ready(LIMIT, async |daemon| serves(&daemon.said())).await;
        if ready.is_err() {
            self.daemon = None;
        }
        ready
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(daemon) = &mut self.daemon {
            daemon.signal(signal);
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon
            && self.long_lived
        {
            daemon.end(Signal::TERM, Duration::from_secs(30));
        }
    }
}

/// Whether a broker with this log answers every request: it says so last of all, when the controller has let it in.
fn serves(log: &str) -> bool {
    log.contains("Kafka Server started")
}
