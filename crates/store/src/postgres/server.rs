//! The store URL as meant: where the server is, who logs in, and how the connection is protected.

use super::error::OpenError;
use percent_encoding::percent_decode_str;
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_postgres::Config;
use url::Url;

const PORT: u16 = 5432;

/// A database on a server.
pub(super) struct Server {
    /// For people: `host:port/database`.
    pub at: Arc<str>,
    pub place: Place,
    /// Who logs in, and with which password.
    pub login: Config,
    pub tls: Tls,
    pub connect_timeout: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `address` is where to connect when it is not looked up by name.
    Tcp {
        host: String,
        address: Option<IpAddr>,
        port: u16,
    },
    Unix(PathBuf),
}

#[derive(Debug, Default)]
pub(super) struct Tls {
    pub mode: Mode,
    pub root: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// libpq's `sslmode`. (<https://www.postgresql.org/docs/current/libpq-ssl.html>)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.at).finish()
    }
}

impl Server {
    pub fn parse(url: &Url) -> Result<Self, OpenError> {
        let mut parts = Parts::default();
        parts.take_url(url)?;
        for (name, value) in url.query_pairs() {
            parts.take_parameter(&name, &value)?;
        }
        parts.server()
    }
}

/// What the URL says, in whichever of its two places: `user@host:port/database` or parameters.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    address: Option<IpAddr>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<Vec<u8>>,
    database: Option<String>,
    application: Option<String>,
    options: Option<String>,
    connect_timeout: Option<Duration>,
    tls: Tls,
}

fn bad(why: impl Into<String>) -> OpenError {
    OpenError::Url { why: why.into() }
}

impl Parts {
    fn take_url(&mut self, url: &Url) -> Result<(), OpenError> {
        let some = |text: &str, what: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(Some(text.into_owned()).filter(|text| !text.is_empty())),
            Err(_) => Err(bad(format!("its {what} is not UTF-8"))),
        };
        self.host = some(url.host_str().unwrap_or_default().trim_matches(['[', ']']), "host")?;
        self.user = some(url.username(), "user")?;
        self.database = some(url.path().trim_start_matches('/'), "database")?;
        self.password = url.password().map(|password| percent_decode_str(password).collect());
        self.port = url.port();
        Ok(())
    }

    fn take_parameter(&mut self, name: &str, value: &str) -> Result<(), OpenError> {
        let text = Some(value.to_owned());
        let file = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
        match name {
            "host" => self.host = text,
            "hostaddr" => self.address = Some(value.parse().map_err(|_| bad("hostaddr is no IP address"))?),
            "port" => self.port = Some(value.parse().map_err(|_| bad("port is no port number"))?),
            "user" => self.user = text,
            "password" => self.password = Some(value.as_bytes().to_vec()),
            "dbname" => self.database = text,
            "application_name" => self.application = text,
            "options" => self.options = text,
            "connect_timeout" => {
                let seconds: u64 = value.parse().map_err(|_| bad("connect_timeout is no number of seconds"))?;
                self.connect_timeout = Some(Duration::from_secs(seconds)).filter(|d| !d.is_zero());
            }
            "sslmode" => self.tls.mode = Mode::parse(value)?,
            "sslrootcert" => self.tls.root = file,
            "sslcert" => self.tls.certificate = file,
            "sslkey" => self.tls.key = file,
            "target_session_attrs" if ["any", "read-write", "primary"].contains(&value) => {}
            // The value may be a secret (`sslpassword`).
            _ => return Err(bad(format!("its parameter {name:?} is not supported, or not with this value"))),
        }
        Ok(())
    }

    fn server(mut self) -> Result<Server, OpenError> {
        self.tls.settle()?;
        let host = self.host.ok_or_else(|| bad("it has no host"))?;
        let port = self.port.unwrap_or(PORT);
        let place = match host.starts_with('/') {
            true => Place::Unix(Path::new(&host).join(format!(".s.PGSQL.{port}"))),
            false => Place::Tcp { host: host.clone(), address: self.address, port },
        };
        let mut login = Config::new();
        login.application_name(self.application.unwrap_or("lapwing".to_owned()));
        self.user.as_ref().map(|user| login.user(user.as_str()));
        self.password.map(|password| login.password(password));
        self.options.map(|options| login.options(options));
        // The server's own default as well.
        let database = self.database.or(self.user);
        database.as_ref().map(|database| login.dbname(database.as_str()));
        let database = database.map(|database| format!("/{database}")).unwrap_or_default();
        let at = match &place {
            Place::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}{database}"),
            Place::Tcp { host, port, .. } => format!("{host}:{port}{database}"),
            Place::Unix(path) => format!("{}{database}", path.display()),
        };
        let connect_timeout = self.connect_timeout.unwrap_or(Duration::from_secs(10));
        Ok(Server { at: at.into(), place, login, tls: self.tls, connect_timeout })
    }
}

impl Mode {
    fn parse(text: &str) -> Result<Self, OpenError> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(bad("sslmode is none of disable, allow, prefer, require, verify-ca, verify-full")),
        })
    }
}

impl Tls {
    /// Whether the roots are those of the system (`sslrootcert=system`).
    pub fn trusts_the_system(&self) -> bool {
        self.root.as_deref().is_none_or(|root| root == Path::new("system"))
    }

    /// As libpq: a root file makes `require` verify, and whoever trusts the whole world must look at the name. Unlike libpq
    /// `verify-full` without a root file takes the system's roots, and not a file of the user's home.
    fn settle(&mut self) -> Result<(), OpenError> {
        if self.mode == Mode::Require && self.root.is_some() {
            self.mode = if self.trusts_the_system() { Mode::VerifyFull } else { Mode::VerifyCa };
        }
        if self.mode == Mode::VerifyCa && self.trusts_the_system() {
            return Err(bad("sslmode=verify-ca proves nothing without sslrootcert=FILE: name one, or use verify-full"));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(bad("sslcert and sslkey go together, and one of them is missing"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, String> {
        Server::parse(&url.parse().expect("a URL")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_url_says_where_and_who() {
        for (url, at) in [
            ("postgres://u:p@h/db", "h:5432/db"),
            ("postgresql://u@h:6000", "h:6000/u"),
            ("postgres://h/db%2Fx", "h:5432/db/x"),
            ("postgres://[::1]:7000/db", "[::1]:7000/db"),
            ("postgres:///db?host=/run/postgresql", "/run/postgresql/.s.PGSQL.5432/db"),
            ("postgres://%2Frun%2Fpostgresql:7000/db", "/run/postgresql/.s.PGSQL.7000/db"),
            ("postgres://h/x?dbname=y&port=1&user=v", "h:1/y"),
            ("postgres://name/db?hostaddr=10.0.0.1", "name:5432/db"),
        ] {
            assert_eq!(&*server(url).expect("sound").at, at, "{url}");
        }
        let login = server("postgres://us%20er:p%40ss@h/d").expect("sound").login;
        assert_eq!((login.get_user(), login.get_password()), (Some("us er"), Some(&b"p@ss"[..])));
    }

    #[test]
    fn a_password_is_in_no_text() {
        let server = server("postgres://u:hunter2@h/db").expect("sound");
        assert!(!format!("{server:?} {:?} {}", server.login, server.at).contains("hunter2"));
        let said = self::server("postgres://h/db?sslpassword=hunter2").expect_err("not supported");
        assert!(said.contains("sslpassword") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn tls_modes_are_those_of_libpq() {
        let mode = |query: &str| server(&format!("postgres://h/db?{query}")).map(|server| server.tls.mode);
        assert_eq!(mode(""), Ok(Mode::Prefer));
        assert_eq!(mode("sslmode=require"), Ok(Mode::Require));
        assert_eq!(mode("sslmode=require&sslrootcert=ca.pem"), Ok(Mode::VerifyCa));
        assert_eq!(mode("sslmode=require&sslrootcert=system"), Ok(Mode::VerifyFull));
        assert_eq!(mode("sslmode=verify-full"), Ok(Mode::VerifyFull));
        for bad in ["sslmode=verify-ca", "sslmode=verify-ca&sslrootcert=system", "sslmode=x", "sslcert=a", "nonsense=1"]
        {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }
}
