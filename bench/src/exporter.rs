//! Prometheus' blackbox exporter on the same page: what its process takes for a probe. Asked over connections that stay open, so that
//! as little as possible of the figure is the asking.

use crate::{
    load::{Check, Load, PATTERN},
    pipeline::cpu_us,
};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use testkit::{free_port, get};
use tokio::net::TcpStream;

#[derive(Debug)]
pub struct Exporter {
    server: Arc<Server>,
    path: String,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Clone for Exporter {
    /// With a connection of its own.
    fn clone(&self) -> Self {
        Self { server: Arc::clone(&self.server), path: self.path.clone(), connection: None }
    }
}

impl Exporter {
    pub fn new(load: &Load) -> anyhow::Result<Self> {
        let path = format!("/probe?module=page&target={}", load.url);
        Ok(Self { server: Arc::new(Server::start(load)?), path, connection: None })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(("127.0.0.1", self.server.port)).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl Check for Exporter {
    async fn check(&mut self) -> anyhow::Result<()> {
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let request = Request::get(&self.path).header("host", "exporter").body(Empty::new())?;
        let answer = connection.send_request(request).await?.collect().await?.to_bytes();
        let text = std::str::from_utf8(&answer)?;
        ensure!(text.contains("\nprobe_success 1\n"), "{text}");
        self.connection = Some(connection);
        Ok(())
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(Duration::from_secs_f64(cpu_us(self.server.child.id())? / 1e6))
    }
}

#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    fn start(load: &Load) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("blackbox.yml");
        let tls = match &load.ca {
            Some(ca) => format!("\n      tls_config: {{ca_file: '{}'}}", ca.display()),
            None => String::new(),
        };
        let text = format!(
            "modules:\n  page:\n    prober: http\n    timeout: 10s\n    http:\n      preferred_ip_protocol: ip4\n      fail_if_body_not_matches_regexp: ['{PATTERN}']{tls}\n"
        );
        std::fs::write(&config, text)?;
        let port = free_port();
        let child = Command::new("prometheus-blackbox-exporter")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the exporter: install it (Debian: apt-get install prometheus-blackbox-exporter)")?;
        let server = Self { child, port, _folder: folder };
        let until = Instant::now() + Duration::from_secs(10);
        while get(&format!("http://127.0.0.1:{port}/metrics")).map_or(true, |answer| answer.status != 200) {
            ensure!(Instant::now() < until, "the exporter did not answer within 10 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
