//! The page that is checked: nginx on loopback, one worker, a new connection for every request.

use anyhow::{Context, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use testkit::{free_port, get, pki};

pub const PAGE: usize = 10_240;

#[derive(Debug)]
pub struct Nginx {
    child: Child,
    http: u16,
    https: u16,
    folder: TempDir,
}

impl Nginx {
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let dir = folder.path();
        let (http, https) = (free_port(), free_port());
        fs::write(dir.join("index.html"), page())?;
        fs::write(dir.join("cert.pem"), &pki().good.chain_pem)?;
        fs::write(dir.join("key.pem"), &pki().good.key_pem)?;
        fs::write(dir.join("root.pem"), &pki().root.pem)?;
        fs::write(dir.join("nginx.conf"), config(dir, http, https))?;
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(dir)
            .arg("-c")
            .arg(dir.join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start nginx: install it (Debian: apt-get install nginx-light)")?;
        let nginx = Self { child, http, https, folder };
        let until = Instant::now() + Duration::from_secs(10);
        while get(&nginx.url()).map_or(true, |a| a.status != 200) {
            if Instant::now() > until {
                bail!("nginx did not answer within 10 s");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http)
    }

    /// The root of its certificate.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    pub fn https_url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.https)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it runs in the foreground with one process
        let _ = self.child.wait();
    }
}

/// 10,240 bytes; what the pattern looks for is in the last 90.
fn page() -> String {
    let tail = "<footer>Copyright 2026 Lapwing</footer></body></html>\n";
    let line = "<p>The northern lapwing is a bird of the plover family, known for its crest and its call.</p>\n";
    let mut page = line.repeat(PAGE / line.len() + 1);
    page.truncate(PAGE - tail.len());
    page + tail
}

fn config(dir: &Path, http: u16, https: u16) -> String {
    let user = if rustix_is_root() { "user root;" } else { "" };
    let dir = dir.display();
    format!(
        "{user} daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_timeout 0; types {{ text/html html; }}
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  ssl_session_cache off; ssl_session_tickets off; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
  server {{ listen 127.0.0.1:{http} backlog=8192; listen 127.0.0.1:{https} ssl backlog=8192; root {dir}; }} }}
"
    )
}

fn rustix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}
