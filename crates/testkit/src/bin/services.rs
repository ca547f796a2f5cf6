//! The services of a test run, and those of `make services`. Dev only.
//!
//! `services exec -- COMMAND…` starts what the environment does not name yet, runs the command with both variables set, ends what it
//! started, however the command ends, and returns the command's exit code. `services up` serves until it is told to stop, over
//! data that stay in the folder, `target/services/dev` if it is not given.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use testkit::{KAFKA_VARIABLE, Kafka, Lasting, POSTGRES_VARIABLE, Postgres, ServiceError, Signal};
use tokio::process::Command;
use tokio::signal::unix::{self, SignalKind};

const USAGE: &str = "usage: services exec -- COMMAND [ARGUMENT…] | services up [FOLDER]";

/// After this long an interrupted command is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Kept from one `services up` to the next while they are free, so that a `.env` may name them.
const PORTS: [u16; 2] = [15432, 19092];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<_> = arguments.collect();
    let done = match (command.to_str(), rest.as_slice()) {
        (Some("exec"), [dashes, program, arguments @ ..]) if dashes == "--" => exec(program, arguments).await,
        (Some("up"), []) => up(Lasting::dev()).await,
        (Some("up"), [folder]) => up(Lasting::open(folder.as_ref())).await,
        _ => Err(USAGE.into()),
    };
    let code = done.unwrap_or_else(|error| {
        say(&error.to_string());
        2
    });
    // Not by returning: that would wait for a thread that may still be fetching Kafka when a signal ends this.
    std::process::exit(code)
}

/// Nothing is said when all is well: the last word is the test runner's.
async fn exec(program: &OsString, arguments: &[OsString]) -> Result<i32, Box<dyn Error>> {
    let mut signals = Signals::new()?;
    let shared = tokio::select! {
        shared = Shared::start() => shared?,
        signal = signals.next() => return Ok(128 + signal.as_raw()),
    };
    // A group of its own, so that a signal reaches what the command has started too: cargo's tests outlive cargo otherwise.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program).args(arguments).envs(shared.environment());
    command.process_group(0).stdin(std::process::Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("start {}: {error}", program.display()))?;
    let group = child.id();
    let code = tokio::select! {
        status = child.wait() => code(status?),
        signal = signals.next() => {
            send(group, signal);
            tokio::select! {
                // The first is enough; a second one says that it was meant.
                _ = child.wait() => {}
                _ = signals.next() => {}
                () = tokio::time::sleep(GRACE) => {}
            }
            send(group, Signal::KILL);
            128 + signal.as_raw()
        }
    };
    Ok(code)
}

/// What the tests of a run share; ended when dropped.
#[derive(Debug)]
struct Shared {
    postgres: Option<Postgres>,
    kafka: Option<Kafka>,
}

impl Shared {
    async fn start() -> Result<Self, ServiceError> {
        let postgres =
            async { if named(POSTGRES_VARIABLE) { Ok(None) } else { Postgres::options().try_start().await.map(Some) } };
        let kafka =
            async { if named(KAFKA_VARIABLE) { Ok(None) } else { Kafka::options().try_start().await.map(Some) } };
        let (postgres, kafka) = tokio::try_join!(postgres, kafka)?;
        Ok(Self { postgres, kafka })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.iter().map(|postgres| (POSTGRES_VARIABLE, postgres.url()));
        postgres.chain(self.kafka.iter().map(|kafka| (KAFKA_VARIABLE, kafka.brokers()))).collect()
    }
}

fn named(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

async fn up(folder: Result<Lasting, ServiceError>) -> Result<i32, Box<dyn Error>> {
    let mut signals = Signals::new()?;
    let folder = folder?;
    say("starting PostgreSQL and Kafka; the first time takes half a minute");
    let ports = PORTS.map(|port| if in_use(port) { testkit::free_port() } else { port });
    let started = async {
        tokio::try_join!(
            Postgres::options().lasting(&folder).port(ports[0]).try_start(),
            Kafka::options().lasting(&folder).port(ports[1]).try_start(),
        )
    };
    let (mut postgres, mut kafka) = tokio::select! {
        started = started => started?,
        _ = signals.next() => return Ok(0),
    };
    let (store, brokers) = (postgres.lasting_database("lapwing").await?, kafka.brokers());
    // The first two are for lapwing.kafka.sample.yaml, the others for the tests.
    let environment = format!(
        "LAPWING_STORE={store}\nLAPWING_KAFKA={brokers}\n{POSTGRES_VARIABLE}={}\n{KAFKA_VARIABLE}={brokers}\n",
        postgres.url()
    );
    let file = folder.path().join("env");
    std::fs::write(&file, &environment).map_err(|error| format!("write {file:?}: {error}"))?;
    let mut out = std::io::stdout();
    writeln!(out, "PostgreSQL  {store}\nKafka       {brokers}\n\n{environment}")?;
    writeln!(
        out,
        "These lines are in {} too, where make run-producer and make run-consumer find them. Ctrl-C stops both servers; \
         the data stay in {}.",
        file.display(),
        folder.path().display()
    )?;
    signals.next().await;
    say("stopping");
    std::fs::remove_file(&file)?;
    tokio::join!(postgres.stop(), kafka.stop());
    Ok(0)
}

fn in_use(port: u16) -> bool {
    std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).is_err()
}

/// What asks a program to end.
#[derive(Debug)]
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}

fn send(group: Option<u32>, signal: Signal) {
    let group = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // An error says that nobody of it is left.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// As a shell tells it.
fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn say(text: &str) {
    // Nobody is left to hear that nobody hears.
    let _ = writeln!(std::io::stderr(), "services: {text}");
}
