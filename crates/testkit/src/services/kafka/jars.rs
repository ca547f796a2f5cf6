//! Apache Kafka's jars: brought once by Maven in pinned versions, checked against `scripts/kafka.sha256`, kept under
//! `target/services/kafka`, and prepared so that a broker starts in a third of the time.

use super::properties::Properties;
use crate::services::daemon::{last_lines, spawn};
use crate::services::folder::{lock, root, script};
use crate::services::trouble::ServiceError;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// For the code that starts a broker: no time goes into optimising what runs for some minutes, and both commands share one
/// archive of classes, which the machine accepts only for the flags that it was made with.
const SHORT_LIVED: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// Of stdout and stderr only warnings, and the line that says that a broker serves.
const LOGGING: [&str; 3] = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
];

/// The jars, and the Java to run them with.
#[derive(Clone, Debug)]
pub(crate) struct Jars {
    java: PathBuf,
    folder: PathBuf,
    names: Vec<String>,
}

impl Jars {
    /// Fetches and prepares what is not there yet. Blocks: seconds the first time, milliseconds later.
    pub(crate) fn ready() -> Result<Self, ServiceError> {
        static READY: Mutex<Option<Jars>> = Mutex::new(None);
        let mut ready = READY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(jars) = &*ready {
            return Ok(jars.clone());
        }
        let promised = promised()?;
        let names = promised.iter().map(|(name, _)| name.clone()).collect();
        let jars = Self { java: java()?, folder: root()?.join("kafka"), names };
        // Several test programs may need them at the same moment.
        let _one_at_a_time = lock(&root()?.join("kafka.lock"))?;
        if check(&jars.folder, &promised).is_err() {
            fetch(&jars.folder, &promised)?;
        }
        jars.prepare()?;
        Ok(ready.insert(jars).clone())
    }

    /// The arguments of `java` for one of Kafka's programs.
    pub(crate) fn arguments(&self, heap_mib: u32, long_lived: bool) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![format!("-Xmx{heap_mib}m").into()];
        if !long_lived {
            arguments.extend(SHORT_LIVED.map(Into::into));
        }
        if !long_lived && self.archive().exists() {
            arguments.push(option("-XX:SharedArchiveFile=", &self.archive()));
        }
        arguments.extend(LOGGING.map(Into::into));
        arguments.extend(["-cp".into(), self.class_path()]);
        arguments
    }

    pub(crate) fn java(&self) -> &Path {
        &self.java
    }

    /// Makes `data` the empty log of a new broker, as `StorageTool format` does, whose work for the version was kept: a folder's
    /// identities are all that differs.
    pub(crate) fn format(&self, data: &Path, node: u32, cluster: &str) -> Result<(), ServiceError> {
        let copy = || -> io::Result<()> {
            std::fs::create_dir_all(data)?;
            std::fs::copy(self.template().join("bootstrap.checkpoint"), data.join("bootstrap.checkpoint"))?;
            let theirs = std::fs::read_to_string(self.template().join("meta.properties"))?;
            let ours = theirs.lines().map(|line| match line.split_once('=') {
                Some((key @ "directory.id", _)) => format!("{key}={}\n", uuid()),
                Some((key @ "cluster.id", _)) => format!("{key}={cluster}\n"),
                Some((key @ "node.id", _)) => format!("{key}={node}\n"),
                _ => format!("{line}\n"),
            });
            std::fs::write(data.join("meta.properties"), ours.collect::<String>())
        };
        copy().map_err(ServiceError::io(format!("format the broker's folder {data:?}")))
    }

    /// The same by Kafka's own tool, which can also put a user's SCRAM credentials into it.
    pub(crate) fn format_with(&self, configuration: &Path, cluster: &str, more: &[String]) -> Result<(), ServiceError> {
        let mut command = Command::new(&self.java);
        command.args(self.arguments(256, false)).args(["kafka.tools.StorageTool", "format"]);
        command.args(["-t", cluster, "-c"]).arg(configuration).args(more);
        run("format the folder of a Kafka broker", command)
    }

    fn archive(&self) -> PathBuf {
        self.folder.join("classes.jsa")
    }

    fn template(&self) -> PathBuf {
        self.folder.join("template")
    }

    fn class_path(&self) -> OsString {
        let jars = self.names.iter().map(|name| self.folder.join(name));
        std::env::join_paths(jars).expect("a build folder's name has no colon: cargo refuses one")
    }

    /// Lets the format tool work once, and a broker start and end once, whose loaded classes Java keeps for the next start.
    fn prepare(&self) -> Result<(), ServiceError> {
        let stamp = self.folder.join("prepared-for");
        let java = format!("{:?} {:?}", self.java, self.java.metadata().and_then(|m| m.modified()).ok());
        if std::fs::read_to_string(&stamp).is_ok_and(|text| text == java) {
            return Ok(());
        }
        let scratch = tempfile::tempdir_in(&self.folder).map_err(ServiceError::io("make a folder for Kafka"))?;
        let configuration = scratch.path().join("server.properties");
        let ports = [crate::free_port(), crate::free_port()];
        let text = Properties::new(&scratch.path().join("data"), ports).to_string();
        std::fs::write(&configuration, text).map_err(ServiceError::io("write a configuration for Kafka"))?;
        self.format_with(&configuration, &uuid(), &[])?;
        let keep = || -> io::Result<()> {
            std::fs::create_dir_all(self.template())?;
            for file in ["bootstrap.checkpoint", "meta.properties"] {
                std::fs::copy(scratch.path().join("data").join(file), self.template().join(file))?;
            }
            Ok(())
        };
        keep().map_err(ServiceError::io("keep the format of a Kafka broker"))?;
        self.train(&configuration, scratch.path()).map_err(ServiceError::io("train Java on a Kafka broker"))?;
        std::fs::write(&stamp, java).map_err(ServiceError::io("keep what Kafka was prepared for"))
    }

    /// A Java that can't make an archive, or one that was interrupted, costs seconds at each start and nothing else.
    fn train(&self, configuration: &Path, scratch: &Path) -> io::Result<()> {
        let made = scratch.join("classes.jsa");
        let log = scratch.join("log");
        let _ = std::fs::remove_file(self.archive());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.java).arg(option("-XX:ArchiveClassesAtExit=", &made));
        command.args(self.arguments(512, false)).arg("kafka.Kafka").arg(configuration).current_dir(scratch);
        let output = std::fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut broker = spawn(command)?;
        let started = Instant::now();
        let mut asked = false;
        while broker.try_wait()?.is_none() {
            if !asked && super::serves(&std::fs::read_to_string(&log)?) {
                asked = true;
                crate::process::send(broker.id(), rustix::process::Signal::TERM);
            }
            if started.elapsed() > Duration::from_secs(90) {
                broker.kill()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whole or not at all.
        if made.exists() { std::fs::rename(made, self.archive()) } else { Ok(()) }
    }
}

/// Name and SHA-256 of every jar.
fn promised() -> Result<Vec<(String, String)>, ServiceError> {
    let list = script("kafka.sha256");
    let text = std::fs::read_to_string(&list).map_err(ServiceError::io(format!("read {list:?}")))?;
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    Ok(lines.map(|(sum, name)| (name.to_owned(), sum.to_owned())).collect())
}

/// Whether every jar is there and what was promised.
fn check(folder: &Path, promised: &[(String, String)]) -> Result<(), ServiceError> {
    for (name, sum) in promised {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(ServiceError::io(format!("read {path:?}")))?;
        let mut found = String::new();
        for byte in Sha256::digest(&bytes) {
            // Infallible for a String.
            let _ = write!(found, "{byte:02x}");
        }
        if &found != sum {
            return Err(ServiceError::Checksum { file: name.clone(), found });
        }
    }
    Ok(())
}

/// Into a folder of its own first, which takes the place when it has been checked.
fn fetch(folder: &Path, promised: &[(String, String)]) -> Result<(), ServiceError> {
    let maven = on_path("mvn").ok_or_else(|| ServiceError::Missing {
        what: "Maven (mvn), which brings Apache Kafka".into(),
        remedy: format!(
            "install it (Debian: apt-get install maven), or set {} to one that runs",
            crate::KAFKA_VARIABLE
        ),
    })?;
    let home = folder.parent().expect("it lies in target/services");
    let fetched = tempfile::tempdir_in(home).map_err(ServiceError::io(format!("make a folder in {home:?}")))?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(maven).args(["--batch-mode", "--quiet", "--file"]);
    command.arg(script("kafka.pom.xml")).arg("dependency:copy-dependencies");
    command.arg(option("-DoutputDirectory=", fetched.path()));
    run("fetch Apache Kafka with Maven", command)?;
    check(fetched.path(), promised)?;
    let replace = || -> io::Result<()> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::rename(fetched.keep(), folder)
    };
    replace().map_err(ServiceError::io(format!("put Kafka's jars into {folder:?}")))
}

fn run(deed: &str, mut command: Command) -> Result<(), ServiceError> {
    let spawned = spawn({
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    });
    let output = spawned.and_then(std::process::Child::wait_with_output).map_err(ServiceError::io(deed))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Err(ServiceError::Failed { deed: deed.into(), status: output.status.to_string(), said: last_lines(&said, 20) })
}

fn java() -> Result<PathBuf, ServiceError> {
    let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java")).filter(|java| java.exists());
    let found = home.or_else(|| on_path("java")).and_then(|java| java.canonicalize().ok());
    found.ok_or_else(|| ServiceError::Missing {
        what: "Java 17 or later, which runs Apache Kafka".into(),
        remedy: format!(
            "install it (Debian: apt-get install default-jre-headless), or set {} to a Kafka that runs",
            crate::KAFKA_VARIABLE
        ),
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}

fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

/// 16 random bytes as Kafka writes them. It refuses one that begins with a dash; its tools read that as an option.
pub(crate) fn uuid() -> String {
    use std::hash::{BuildHasher, RandomState};
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random = || RandomState::new().hash_one(crate::unique("uuid"));
    let mut bits = (u128::from(random()) << 64) | u128::from(random());
    let mut text = String::new();
    // 128 bits are 21 digits of 6, and one of 2 that stand to the left.
    for _ in 0..21 {
        text.push(char::from(DIGITS[(bits >> 122) as usize]));
        bits <<= 6;
    }
    text.push(char::from(DIGITS[(bits >> 122) as usize]));
    if text.starts_with('-') { text.replacen('-', "L", 1) } else { text }
}
