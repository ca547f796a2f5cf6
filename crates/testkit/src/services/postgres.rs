//! A PostgreSQL server of a test's own: Debian's package, a data folder of its own, a free port of the loopback.
//!
//! The superuser [`SUPERUSER`] is trusted whatever its password; every other role needs its own (`scram-sha-256`).

use super::daemon::{Daemon, Launch, last_lines};
use super::database::{TestDatabase, connect};
use super::folder::{Folder, Lasting, User};
use super::trouble::ServiceError;
use crate::fail::fail;
use crate::net::free_port;
use crate::process::{children, ended, send};
use crate::{Authority, Identity};
use rustix::process::Signal;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SUPERUSER: &str = "lapwing";
const LIMIT: Duration = Duration::from_secs(60);

/// How a server is made. The defaults serve ordinary tests.
#[derive(Debug, Default)]
pub struct PostgresOptions<'a> {
    settings: Vec<(String, String)>,
    rules: Vec<String>,
    tls: Option<&'a Identity>,
    client_authority: Option<&'a Authority>,
    lasting: Option<&'a Lasting>,
    port: Option<u16>,
}

impl<'a> PostgresOptions<'a> {
    /// A line of `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// A line of `pg_hba.conf`, before the one that lets every role in by its password.
    pub fn rule(mut self, line: &str) -> Self {
        self.rules.push(line.into());
        self
    }

    /// Speaks TLS to those who ask for it, with this certificate.
    pub fn tls(self, identity: &'a Identity) -> Self {
        Self { tls: Some(identity), ..self }
    }

    /// Over TLS, knows certificates of clients that this authority signed; a rule may want one.
    pub fn client_authority(self, authority: &'a Authority) -> Self {
        Self { client_authority: Some(authority), ..self }
    }

    /// Data that stay, and are synced to the disk.
    pub fn lasting(self, folder: &'a Lasting) -> Self {
        Self { lasting: Some(folder), ..self }
    }

    /// This port instead of a free one.
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Fails the test when the server does not come to serve.
    pub async fn start(self) -> Postgres {
        self.try_start().await.unwrap_or_else(|error| fail(&error.to_string()))
    }

    /// # Errors
    /// When PostgreSQL is not installed, or does not come to serve.
    pub async fn try_start(self) -> Result<Postgres, ServiceError> {
        let programs = programs()?;
        let user = User::unprivileged()?;
        let folder = match self.lasting {
            Some(_) => None,
            None => Some(Folder::new(user.as_ref())?),
        };
        let home = match (self.lasting, &folder) {
            (Some(lasting), _) => lasting.part("postgres", user.as_ref())?,
            (None, Some(folder)) => folder.path().to_owned(),
            (None, None) => unreachable!("one of the two was made"),
        };
        let mut server = Postgres { programs, user, home, port: 0, daemon: None, _folder: folder };
        if !server.data().join("PG_VERSION").exists() {
            server.initialize(&self).await?;
        }
        server.first_start(self.port).await?;
        Ok(server)
    }

    /// What goes behind initdb's own `postgresql.conf`. A later line beats an earlier one.
    fn configuration(&self) -> String {
        let mut lines = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            "unix_socket_directories = ''".to_owned(),
            "shared_buffers = '64MB'".to_owned(),
            "max_connections = 200".to_owned(),
            "timezone = 'UTC'".to_owned(),
        ];
        if self.lasting.is_none() {
            // What a killed server has written is safe with the system; only a power cut could take it, and with it the test.
            lines.push("fsync = off".to_owned());
        }
        if self.tls.is_some() {
            lines.push("ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'".to_owned());
        }
        if self.client_authority.is_some() {
            lines.push("ssl_ca_file = '../clients.crt'".to_owned());
        }
        lines.extend(self.settings.iter().map(|(name, value)| format!("{name} = '{}'", value.replace('\'', "''"))));
        lines.join("\n") + "\n"
    }

    fn access(&self) -> String {
        let mut lines = vec![format!("host all {SUPERUSER} 127.0.0.1/32 trust")];
        lines.extend(self.rules.iter().cloned());
        lines.push("host all all 127.0.0.1/32 scram-sha-256".to_owned());
        lines.join("\n") + "\n"
    }
}

/// A running server; killed and removed when dropped, unless its data are lasting: then it is stopped in order.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    user: Option<User>,
    /// Holds `data`, the log and the certificate.
    home: PathBuf,
    port: u16,
    daemon: Option<Daemon>,
    _folder: Option<Folder>,
}

impl Postgres {
    /// Fails the test when the server does not come to serve.
    pub async fn start() -> Self {
        Self::options().start().await
    }

    pub fn options<'a>() -> PostgresOptions<'a> {
        PostgresOptions::default()
    }

    /// Of the superuser, to the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://{SUPERUSER}:{SUPERUSER}@127.0.0.1:{}/postgres", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A database that stays; made when it is not there yet. Its URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn lasting_database(&self, name: &str) -> Result<String, ServiceError> {
        super::database::create(&self.url(), name).await?;
        Ok(format!("postgres://{SUPERUSER}:{SUPERUSER}@127.0.0.1:{}/{name}", self.port))
    }

    /// A fresh database on this server.
    pub async fn database(&self) -> TestDatabase {
        TestDatabase::on(&self.url()).await
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::said).unwrap_or_default()
    }

    /// `stop -m fast`: sessions are cut, what was committed is on disk.
    pub async fn stop(&mut self) {
        self.end(Signal::INT).await;
    }

    /// `stop -m immediate`: like a crash, but the server's own doing; the next start recovers.
    pub async fn stop_immediately(&mut self) {
        self.end(Signal::QUIT).await;
    }

    /// `kill -9` of the server and of every session's process at one moment.
    pub fn kill9(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // Stopped it makes no further process while they are counted.
        daemon.signal(Signal::STOP);
        let sessions = children(daemon.pid());
        sessions.iter().for_each(|&session| send(session, Signal::KILL));
        daemon.kill9();
        // The next start refuses to serve while one of them is still there.
        let gone = || sessions.iter().all(|&session| ended(session));
        crate::until("every process of the killed PostgreSQL is gone", LIMIT, gone);
    }

    /// SIGSTOP of all its processes: connections stay, nothing is answered.
    pub fn pause(&mut self) {
        self.signal_all(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal_all(Signal::CONT);
    }

    /// Starts it again on the same port, over the same data; one that still runs is stopped first.
    pub async fn restart(&mut self) {
        self.stop().await;
        let started = std::time::Instant::now();
        while let Err(error) = self.serve().await {
            if !error.port_taken() || started.elapsed() > LIMIT {
                fail(&error.to_string());
            }
        }
    }

    async fn end(&mut self, signal: Signal) {
        self.resume();
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop(signal, LIMIT).await;
        }
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    async fn initialize(&self, options: &PostgresOptions<'_>) -> Result<(), ServiceError> {
        // Takes a second, in which Kafka starts beside it.
        let mut command = tokio::process::Command::new("setpriv");
        command.args(self.user.iter().flat_map(User::setpriv)).arg("--").arg(self.programs.join("initdb"));
        command.args(["--username", SUPERUSER, "--encoding=UTF8", "--locale=C", "--auth=trust"]);
        command.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(self.data());
        let output = command.current_dir(&self.home).kill_on_drop(true).output().await;
        let output = output.map_err(ServiceError::io("run initdb"))?;
        if !output.status.success() {
            let said = last_lines(&String::from_utf8_lossy(&output.stderr), 20);
            return Err(ServiceError::Failed { deed: "run initdb".into(), status: output.status.to_string(), said });
        }
        let write = || -> std::io::Result<()> {
            let configuration = self.data().join("postgresql.conf");
            let theirs = std::fs::read_to_string(&configuration)?;
            std::fs::write(&configuration, theirs + &options.configuration())?;
            std::fs::write(self.data().join("pg_hba.conf"), options.access())?;
            if let Some(authority) = options.client_authority {
                self.secret("clients.crt", &authority.pem)?;
            }
            let Some(identity) = options.tls else { return Ok(()) };
            self.secret("server.crt", &identity.chain_pem)?;
            self.secret("server.key", &identity.key_pem)
        };
        write().map_err(ServiceError::io("configure PostgreSQL"))
    }

    /// A file that the server alone may read; it refuses a key that others could.
    fn secret(&self, name: &str, content: &str) -> std::io::Result<()> {
        let path = self.home.join(name);
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        self.user.as_ref().map_or(Ok(()), |user| chown(&path, Some(user.uid), Some(user.gid)))
    }

    /// A port that was free may be taken by the time the server binds it.
    async fn first_start(&mut self, port: Option<u16>) -> Result<(), ServiceError> {
        for _ in 0..5 {
            self.port = port.unwrap_or_else(free_port);
            match self.serve().await {
                Err(error) if error.port_taken() && port.is_none() => {}
                done => return done,
            }
        }
        self.port = free_port();
        self.serve().await
    }

    async fn serve(&mut self) -> Result<(), ServiceError> {
        let arguments = ["-D", "data", "-p", &self.port.to_string()].map(Into::into).to_vec();
        let launch = Launch {
            name: "PostgreSQL",
            program: &self.programs.join("postgres"),
            arguments,
            user: self.user.as_ref(),
            at_our_death: "QUIT",
            log: self.home.join("log"),
        };
        let daemon = self.daemon.insert(launch.start()?);
        let url = format!("postgres://{SUPERUSER}@127.0.0.1:{}/postgres?sslmode=disable", self.port);
        let ready = daemon.ready(LIMIT, async |_| connect(&url).await.is_ok()).await;
        if ready.is_err() {
            self.daemon = None;
        }
        ready
    }

    fn signal_all(&mut self, signal: Signal) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.signal(signal);
        children(daemon.pid()).into_iter().for_each(|session| send(session, signal));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let signal = if self._folder.is_some() { Signal::QUIT } else { Signal::INT };
        self.resume();
        if let Some(daemon) = &mut self.daemon {
            daemon.end(signal, Duration::from_secs(10));
        }
    }
}

/// The folder of the newest installed version's programs.
fn programs() -> Result<PathBuf, ServiceError> {
    let version = |folder: &PathBuf| folder.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok());
    let versions = Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten().flatten().map(|e| e.path());
    let debian = versions.filter(|v| v.join("bin/initdb").exists()).max_by_key(version).map(|v| v.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = || std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    debian.or_else(elsewhere).ok_or_else(|| ServiceError::Missing {
        what: "PostgreSQL (initdb, under /usr/lib/postgresql/*/bin or on the PATH)".into(),
        remedy: format!(
            "install it (Debian: apt-get install postgresql), or set {} to one that runs",
            super::POSTGRES_VARIABLE
        ),
    })
}
