//! Whether the phases are what they were: a site and a name server that answer after known delays, checked a thousand times a second.
//!
//! What a phase should be, the servers measure: from the moment at which the kernel had what they were sent (it stamps that) to the
//! one before they write. Their threads block and sleep by themselves, one for each connection, without a runtime whose timers are
//! whole milliseconds.
//! They have no higher priority: they would take from the prober, on the cores that both share, what its phases then show.

use crate::pipeline::{built, scheduled, wait};
use anyhow::{Context, ensure};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrLike, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use rustls::{ServerConfig, server::Acceptor};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    cell::Cell,
    collections::HashMap,
    fmt::Write as _,
    fs,
    io::{self, IoSliceMut, Read, Write},
    net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};
use testkit::{Program, Signal, free_port, pki};

/// Of every target.
const INTERVAL: Duration = Duration::from_secs(2);
/// Checks of each target that do not count: at the start all targets are checked at once.
const FIRST: usize = 3;
const STRETCH: Duration = Duration::from_secs(20);
/// Enough for all that is being answered at once: 10 look-ups and 80 requests at a thousand checks a second.
const NAME_THREADS: usize = 50;
const SITE_THREADS: usize = 250;
const BODY: &str = "0123456789";

/// The phases that have a delay, as the table of checks calls them, with that delay.
const PHASES: [(&str, Duration); 4] = [
    ("dns", Duration::from_millis(10)),
    ("tls", Duration::from_millis(15)),
    ("wait", Duration::from_millis(40)),
    ("transfer", Duration::from_millis(25)),
];
const DNS: usize = 0;
const TLS: usize = 1;
const WAIT: usize = 2;
const TRANSFER: usize = 3;

/// How long each delay really was, in the order of a target's checks.
#[derive(Debug, Default)]
struct Delays(Mutex<HashMap<(usize, String), Vec<Duration>>>);

impl Delays {
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
    let servers = Servers::start()?;
    for (scheme, checks_per_second) in [("http", 1000), ("https", 1000), ("https", 500), ("https", 20)] {
        one(&bin, &servers, scheme, checks_per_second)?;
    }
    Ok(())
}

fn one(bin: &Path, servers: &Servers, scheme: &str, checks_per_second: u64) -> anyhow::Result<()> {
    let program = Program::new(bin.display().to_string()).open_files(8192);
    let port = free_port();
    let mut config = format!(
        "web: {{listen: '127.0.0.1:{port}'}}\nprobe: {{per_host: 250, concurrency: 250, resolver: ['127.0.0.1:{}']}}\n\
         defaults: {{interval: {}s, timeout: 1900ms, request: {{ip: 4, tls: {{verify: false}}}}}}\ntargets:\n",
        servers.names,
        INTERVAL.as_secs(),
    );
    let site = if scheme == "https" { servers.https } else { servers.http };
    for i in 0..checks_per_second * INTERVAL.as_secs() {
        // A String takes everything. The names are new in each run: their delays are counted from the first on.
        let _ = writeln!(config, "  - {{id: t{i}, url: '{scheme}://t{i}-{port}.bench.test:{site}/'}}");
    }
    program.write("lapwing.yaml", config);
    let mut running = program.spawn(&["run", "-q"]);
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    wait(&metrics, Duration::from_secs(30), |_| true)?;
    let before = taken(running.pid())?;
    let [late, latest] = wake_ups(STRETCH);
    let after = taken(running.pid())?;
    running.signal(Signal::TERM);
    let ended = running.wait(Duration::from_secs(60));
    ensure!(ended.code == 0, "{ended}");
    let [lapwing, waited, servers_took, all] = std::array::from_fn(|i| (after[i] - before[i]) / STRETCH.as_secs_f64());
    println!(
        "{scheme}, {checks_per_second} checks/s; of a core lapwing took {:.0} %, the servers {:.0} %, the rest of the machine {:.0} %; \
         lapwing's threads waited for a core {:.0} µs a check; a thread that only sleeps woke up {late:.1} ms late at p99, {latest:.0} ms at most",
        lapwing / 1e4,
        servers_took / 1e4,
        (all - lapwing - servers_took) / 1e4,
        waited / checks_per_second as f64,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let of = |target: &str| format!("{target}-{port}");
    runtime.block_on(report(&program.folder().join("lapwing.db"), &servers.delays, of))
}

/// How late a thread that only sleeps wakes up meanwhile, in milliseconds: at p99 and at most. Nothing on this machine is better served.
fn wake_ups(during: Duration) -> [f64; 2] {
    const NAP: Duration = Duration::from_millis(1);
    let (begun, mut late) = (Instant::now(), Vec::new());
    while begun.elapsed() < during {
        let slept = Instant::now();
        thread::sleep(NAP);
        late.push((slept.elapsed() - NAP).as_secs_f64() * 1e3);
    }
    late.sort_by(f64::total_cmp);
    [99, 100].map(|share| late[(late.len() - 1) * share / 100])
}

/// In microseconds so far: what Lapwing took of all cores, how long its threads were ready and had none, what this process took, and
/// what all together took (proc_stat(5): in hundredths of a second).
fn taken(lapwing: u32) -> anyhow::Result<[f64; 4]> {
    let text = fs::read_to_string("/proc/stat")?;
    let numbers = text.lines().next().context("a line")?.split_whitespace().skip(1).map(str::parse);
    let numbers = numbers.collect::<Result<Vec<f64>, _>>()?;
    let [user, low, system, _idle, _waiting, irq, softirq, ..] = numbers[..] else { anyhow::bail!("{text}") };
    let ([ran, waited], [servers, _]) = (scheduled(lapwing)?, scheduled(std::process::id())?);
    Ok([ran, waited, servers, (user + low + system + irq + softirq) * 1e4])
}

/// A name server, and a site over both schemes: their ports, and what they measured.
#[derive(Debug)]
struct Servers {
    names: u16,
    http: u16,
    https: u16,
    delays: Arc<Delays>,
}

impl Servers {
    fn start() -> anyhow::Result<Self> {
        let delays = Arc::new(Delays::default());
        let names = UdpSocket::bind("127.0.0.1:0")?;
        setsockopt(&names, ReceiveTimestampns, &true)?;
        let (http, https) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let ports = (names.local_addr()?.port(), http.local_addr()?.port(), https.local_addr()?.port());
        for _ in 0..NAME_THREADS {
            let (names, delays) = (names.try_clone()?, Arc::clone(&delays));
            thread::spawn(move || while answer_name(&names, &delays).is_ok() {});
        }
        let tls = tls()?;
        for _ in 0..SITE_THREADS {
            serve(http.try_clone()?, Arc::clone(&delays), |wire, delays| answer(&mut &*wire, &wire.came, delays));
            let tls = Arc::clone(&tls);
            serve(https.try_clone()?, Arc::clone(&delays), move |wire, delays| answer_https(wire, &tls, delays));
        }
        Ok(Self { names: ports.0, http: ports.1, https: ports.2, delays })
    }
}

fn serve(
    listener: TcpListener,
    delays: Arc<Delays>,
    answer: impl Fn(&Wire, &Delays) -> anyhow::Result<()> + Send + 'static,
) {
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let _ = stream.set_nodelay(true).and_then(|()| Ok(setsockopt(&stream, ReceiveTimestampns, &true)?));
            let wire = Wire { stream, came: Cell::new(Instant::now()) };
            let _ = answer(&wire, &delays); // a check that gets no answer says so itself
        }
    });
}

fn tls() -> anyhow::Result<Arc<ServerConfig>> {
    let identity = &pki().good;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = config.with_single_cert(identity.chain.clone(), identity.key_der())?;
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A connection, and when what was read last had come.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    came: Cell<Instant>,
}

impl Read for &Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (n, _, came) = receive::<()>(&self.stream, buffer)?;
        self.came.set(came);
        Ok(n)
    }
}

impl Write for &Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is there, from whom, and when it came by the kernel's stamp.
fn receive<A: SockaddrLike + Copy>(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<A>, Instant)> {
    let (mut pieces, mut control) = ([IoSliceMut::new(buffer)], nix::cmsg_space!(nix::sys::time::TimeSpec));
    let fd = socket.as_fd().as_raw_fd();
    let message = recvmsg::<A>(fd, &mut pieces, Some(&mut control), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(time) => Some(SystemTime::UNIX_EPOCH + Duration::from(time)),
        _ => None,
    });
    let lain = stamp.and_then(|stamp| SystemTime::now().duration_since(stamp).ok()).unwrap_or_default();
    Ok((message.bytes, message.address, Instant::now() - lain))
}

/// Every name is at 127.0.0.1.
fn answer_name(socket: &UdpSocket, delays: &Delays) -> anyhow::Result<()> {
    let mut query = [0; 512];
    let (_, from, asked) = receive::<SockaddrIn>(socket, &mut query)?;
    let from = SocketAddrV4::from(from.context("a sender")?);
    let label = query.get(13..13 + usize::from(query[12])).context("a name")?;
    // The question again, without what stands behind it, and one record of type A for it (RFC 1035, section 4).
    let end = query[12..].iter().position(|byte| *byte == 0).context("the end of the name")? + 12 + 5;
    let mut answer = query[..end].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    thread::sleep(PHASES[DNS].1);
    let took = asked.elapsed();
    socket.send_to(&answer, from)?;
    delays.add(DNS, std::str::from_utf8(label)?, took);
    Ok(())
}

fn answer_https(mut wire: &Wire, config: &Arc<ServerConfig>, delays: &Delays) -> anyhow::Result<()> {
    let mut acceptor = Acceptor::default();
    let (hello, asked) = loop {
        ensure!(acceptor.read_tls(&mut wire)? > 0, "the hello ends early");
        let asked = wire.came.get();
        if let Some(hello) = acceptor.accept().map_err(|(error, _)| error)? {
            break (hello, asked);
        }
    };
    let name = hello.client_hello().server_name().context("a name")?.to_owned();
    thread::sleep(PHASES[TLS].1);
    // The computing of the server is a part of its delay.
    let mut connection = hello.into_connection(Arc::clone(config)).map_err(|(error, _)| error)?;
    let took = asked.elapsed();
    while connection.wants_write() {
        connection.write_tls(&mut wire)?;
    }
    delays.add(TLS, label(&name), took);
    let mut secure = rustls::StreamOwned::new(connection, wire);
    answer(&mut secure, &wire.came, delays)?;
    secure.conn.send_close_notify();
    secure.flush()?;
    Ok(())
}

/// One request, and its answer after the delays.
fn answer(wire: &mut (impl Read + Write), came: &Cell<Instant>, delays: &Delays) -> anyhow::Result<()> {
    let (mut request, mut room) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"\r\n\r\n") {
        let n = wire.read(&mut room)?;
        ensure!(n > 0, "the request ends early");
        request.extend_from_slice(&room[..n]);
    }
    let asked = came.get();
    let host = request.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"host: ")).context("a host")?;
    let target = label(std::str::from_utf8(host)?).to_owned();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY.len());
    thread::sleep(PHASES[WAIT].1);
    let answered = Instant::now();
    wire.write_all(head.as_bytes())?;
    wire.flush()?;
    thread::sleep(PHASES[TRANSFER].1);
    let ended = Instant::now();
    wire.write_all(BODY.as_bytes())?;
    wire.flush()?;
    delays.add(WAIT, &target, answered - asked);
    delays.add(TRANSFER, &target, ended - answered);
    Ok(())
}

/// A target's label, as its name begins with it.
fn label(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// `of`: the label of a target.
async fn report(file: &Path, delays: &Delays, of: impl Fn(&str) -> String) -> anyhow::Result<()> {
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
        for (phase, errors) in errors.iter_mut().enumerate() {
            let real =
                if phase < PHASES.len() { delays.of(phase, &of(target)) } else { vec![Duration::ZERO; checks.len()] };
            for (check, real) in checks.iter().zip(real).skip(FIRST) {
                let Some(us) = check[phase] else { break }; // given up at the end, or no TLS
                errors.push((us as f64 - real.as_micros() as f64) / 1000.0);
            }
        }
    }
    let names = PHASES.map(|(name, _)| name).into_iter().chain(["connect"]);
    for (name, mut errors) in names.zip(errors).filter(|(_, errors)| !errors.is_empty()) {
        errors.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let at = |share: usize| errors[(errors.len() - 1) * share / 100];
        let (median, p99) = (at(50), at(99));
        println!(
            "  {name}: median {median:.2} ms (goal: within 1), p99 {p99:.2} ms (goal: within 5), of {} checks",
            errors.len()
        );
    }
    Ok(())
}
