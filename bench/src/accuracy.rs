//! Whether the phases are what they were: a site and a name server that answer after delays which they measure themselves, checked a
//! thousand times a second.

use crate::pipeline::{built, wait};
use anyhow::{Context, ensure};
use rustls::ServerConfig;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    collections::HashMap,
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use testkit::{Program, Signal, free_port, pki};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::sleep,
};
use tokio_rustls::LazyConfigAcceptor;

const TARGETS: usize = 2000;
/// Checks of each target that do not count: at the start all targets are checked at once.
const FIRST: usize = 3;
const STRETCH: Duration = Duration::from_secs(30);
const DNS: Duration = Duration::from_millis(10);
const TLS: Duration = Duration::from_millis(15);
const WAIT: Duration = Duration::from_millis(40);
const TRANSFER: Duration = Duration::from_millis(25);
const BODY: &str = "0123456789";

/// The phases that have a delay, as the table of checks calls them.
const PHASES: [&str; 4] = ["dns", "tls", "wait", "transfer"];

/// How long each delay really was, in the order of a target's checks.
#[derive(Debug, Default)]
struct Delays(Mutex<HashMap<(usize, String), Vec<Duration>>>);

impl Delays {
    /// Waits, and remembers for how long.
    async fn delay(&self, phase: usize, target: &str, by: Duration) {
        let begun = Instant::now();
        sleep(by).await;
        self.add(phase, target, begun.elapsed());
    }

    fn add(&self, phase: usize, target: &str, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((phase, target.to_owned())).or_default().push(took);
    }

    fn of(&self, phase: usize, target: &str) -> Vec<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(phase, target.to_owned())).cloned().unwrap_or_default()
    }
}

pub fn all(bin: &Path) -> anyhow::Result<()> {
    let bin = built(bin)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let delays = Arc::new(Delays::default());
    let (names, site) = runtime.block_on(serve(&delays))?;
    let program = Program::new(bin.display().to_string()).open_files(8192);
    let port = free_port();
    let mut config = format!(
        "web: {{listen: '127.0.0.1:{port}'}}\nprobe: {{per_host: 250, concurrency: 250, resolver: ['127.0.0.1:{names}']}}\n\
         defaults: {{interval: 2s, timeout: 1900ms, request: {{ip: 4, tls: {{verify: false}}}}}}\ntargets:\n"
    );
    for i in 0..TARGETS {
        let _ = writeln!(config, "  - {{id: t{i}, url: 'https://t{i}.bench.test:{site}/'}}"); // a String takes everything
    }
    program.write("lapwing.yaml", config);
    let mut running = program.spawn(&["run", "-q"]);
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    wait(&metrics, Duration::from_secs(30), |_| true)?;
    std::thread::sleep(STRETCH);
    running.signal(Signal::TERM);
    let ended = running.wait(Duration::from_secs(60));
    ensure!(ended.code == 0, "{ended}");
    runtime.block_on(report(&program.folder().join("lapwing.db"), &delays))
}

/// Starts both; returns their ports.
async fn serve(delays: &Arc<Delays>) -> anyhow::Result<(u16, u16)> {
    let names = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
    let site = TcpListener::bind("127.0.0.1:0").await?;
    let ports = (names.local_addr()?.port(), site.local_addr()?.port());
    tokio::spawn(answer_names(names, Arc::clone(delays)));
    let identity = &pki().good;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = config.with_single_cert(identity.chain.clone(), identity.key_der())?;
    config.send_tls13_tickets = 0;
    let config = Arc::new(config);
    let delays = Arc::clone(delays);
    tokio::spawn(async move {
        while let Ok((stream, _)) = site.accept().await {
            let (config, delays) = (Arc::clone(&config), Arc::clone(&delays));
            tokio::spawn(async move {
                let _ = answer(stream, config, &delays).await; // a check that gets no answer says so itself
            });
        }
    });
    Ok(ports)
}

/// Every name is at 127.0.0.1.
async fn answer_names(socket: Arc<UdpSocket>, delays: Arc<Delays>) -> anyhow::Result<()> {
    let mut query = [0; 512];
    loop {
        let (len, from) = socket.recv_from(&mut query).await?;
        let (socket, delays, query) = (Arc::clone(&socket), Arc::clone(&delays), query[..len].to_vec());
        tokio::spawn(async move {
            let label = query.get(13..13 + usize::from(query[12])).context("a name")?;
            delays.delay(0, std::str::from_utf8(label)?, DNS).await;
            // The question again, without what stands behind it, and one record of type A for it (RFC 1035, section 4).
            let end = query[12..].iter().position(|byte| *byte == 0).context("the end of the name")? + 12 + 5;
            let mut answer = query[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            socket.send_to(&answer, from).await?;
            anyhow::Ok(())
        });
    }
}

async fn answer(stream: TcpStream, config: Arc<ServerConfig>, delays: &Delays) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let name = hello.client_hello().server_name().context("a name")?.to_owned();
    let target = name.split('.').next().context("a label")?;
    delays.delay(1, target, TLS).await;
    let mut stream = hello.into_stream(config).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut request).await? > 0, "the request ends early");
    }
    delays.delay(2, target, WAIT).await;
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY.len()).as_bytes()).await?;
    stream.flush().await?;
    delays.delay(3, target, TRANSFER).await;
    stream.write_all(BODY.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn report(file: &Path, delays: &Delays) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut sql = SqliteConnection::connect_with(&options).await?;
    let query = "select target, verdict, dns_us, tls_us, wait_us, transfer_us, connect_us from results order by due_at";
    type Row = (String, String, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
    let rows: Vec<Row> = sqlx::query_as(query).fetch_all(&mut sql).await?;
    let mut of_targets: HashMap<&str, Vec<[Option<i64>; 5]>> = HashMap::new();
    for (target, verdict, dns, tls, wait, transfer, connect) in &rows {
        ensure!(verdict == "up" || verdict == "unknown", "{target} was {verdict}");
        of_targets.entry(target).or_default().push([*dns, *tls, *wait, *transfer, *connect]);
    }
    let mut errors: [Vec<f64>; 5] = Default::default();
    for (target, checks) in &of_targets {
        for phase in 0..PHASES.len() {
            let real = delays.of(phase, target);
            for (check, real) in checks.iter().zip(real).skip(FIRST) {
                let Some(us) = check[phase] else { break }; // given up at the end
                errors[phase].push((us as f64 - real.as_micros() as f64) / 1000.0);
            }
        }
        errors[4].extend(checks.iter().skip(FIRST).filter_map(|check| check[4]).map(|us| us as f64 / 1000.0));
    }
    println!(
        "{:.0} checks/s against delays that the servers measure; error of each phase in ms:",
        rows.len() as f64 / STRETCH.as_secs_f64()
    );
    for (phase, mut errors) in PHASES.into_iter().chain(["connect"]).zip(errors) {
        ensure!(!errors.is_empty(), "no figure of {phase}");
        errors.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let at = |share: usize| errors[(errors.len() - 1) * share / 100];
        println!("  {phase}: median {:.2} (goal: within 1), p99 {:.2} (goal: within 5)", at(50), at(99));
    }
    Ok(())
}
