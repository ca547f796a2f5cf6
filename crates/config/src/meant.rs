//! A config as meant: nothing left to decide, every default filled in, every file read.

use crate::{
    environment::Environment,
    files,
    grammar::keys::CONFIG,
    kafka::Kafka,
    mistakes::Report,
    place::{Path, Place, Sources},
    rules::{self, Listen},
    spot::Spot,
    store::{self, StoreSetting},
    tree::Node,
    view::View,
};
use model::{Location, Target, guard::Guard, kafka::KafkaSetting};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What a process needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub location: Location,
    /// The folder of everything that Lapwing writes. It need not be there yet.
    pub data_dir: PathBuf,
    pub store: StoreSetting,
    /// Whether somebody named it: who did not may have forgotten to.
    pub store_is_named: bool,
    /// `None`: the log between the stages is the queue.
    pub kafka: Option<KafkaSetting>,
    pub queue: QueueSetting,
    pub web: WebSetting,
    pub metrics: MetricsSetting,
    pub retention: Retention,
    /// How long a stop waits for what is in flight.
    pub shutdown_grace: Duration,
    pub probe: ProbeSetting,
    /// Whether somebody wrote `probe.concurrency`; else it is the usual number, which may be too much for a small machine.
    pub concurrency_is_written: bool,
    pub guard: Guard,
    /// In the order of the files, those of other locations and those not enabled too.
    pub targets: Vec<Arc<Target>>,
    /// Every path whose change may change the config: what was read, what would have been if it were there (a `.env`),
    /// and the folders that `include` looks into.
    pub files: Vec<PathBuf>,
    pub(crate) defaults: Defaults,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSetting {
    pub path: PathBuf,
    /// Bytes; beyond it the oldest results go.
    pub max_size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSetting {
    pub listen: Listen,
    pub title: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSetting {
    /// `None`: nobody said; then each role has a port of its own.
    pub listen: Option<Listen>,
}

impl MetricsSetting {
    /// Where `lapwing probe` listens.
    pub fn of_probe(&self) -> Listen {
        self.or_port(9464)
    }

    /// Where `lapwing write` listens.
    pub fn of_write(&self) -> Listen {
        self.or_port(9465)
    }

    fn or_port(&self, port: u16) -> Listen {
        self.listen.clone().unwrap_or(Listen { host: Some("127.0.0.1".into()), port })
    }
}

/// How long what is stored is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub checks: Duration,
    pub hourly: Duration,
    pub daily: Duration,
    pub incidents: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSetting {
    /// Checks in flight; at least 1.
    pub concurrency: usize,
    /// Checks in flight to one host:port; at least 1.
    pub per_host: usize,
    /// Name servers of targets that have none of their own; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Host and port of places that this machine can connect to unless it is cut off; empty: nobody said.
    pub online_check: Vec<(String, u16)>,
    /// Where a target sets none.
    pub user_agent: String,
}

/// The checked `defaults`, for URLs of the command line. No text of it is shown: it may hold secrets.
#[derive(Clone)]
pub(crate) struct Defaults {
    pub node: Node,
    /// What its places point into.
    pub sources: Sources,
}

impl fmt::Debug for Defaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Defaults(..)")
    }
}

/// Reads the checked root of a config in this folder; the targets come later. `None` when a mistake stands in its way.
pub(crate) fn settings(
    root: &Node,
    folder: &FilePath,
    variables: &Environment,
    mut kafka: Kafka<'_>,
) -> Option<Config> {
    let view = View::new(root, &CONFIG);
    let data_dir = data_dir(view, folder, variables);
    let (queue, web, probe) = (view.map("queue"), view.map("web"), view.map("probe"));
    Some(Config {
        location: view.read("location", rules::location)?,
        store: view.read("store", store::parse)?.within(&data_dir),
        store_is_named: view.node("store").is_some(),
        kafka: match view.node("kafka") {
            Some(_) => Some(kafka.setting(view.map("kafka"))?),
            None => None,
        },
        queue: QueueSetting { path: data_dir.join(queue.text("path")?), max_size: queue.size("max_size") },
        web: WebSetting { listen: web.read("listen", rules::listen)?, title: web.text("title")?.to_owned() },
        metrics: MetricsSetting { listen: view.map("metrics").read("listen", rules::listen) },
        retention: retention(view.map("retention")),
        shutdown_grace: view.duration("shutdown_grace"),
        probe: ProbeSetting {
            concurrency: usize::try_from(probe.whole("concurrency")).ok()?,
            per_host: usize::try_from(probe.whole("per_host")).ok()?,
            resolvers: probe.list("resolver", rules::resolver),
            online_check: probe.list("online_check", rules::host_port),
            user_agent: probe.text("user_agent")?.to_owned(),
        },
        concurrency_is_written: probe.node("concurrency").is_some(),
        guard: guard(view.map("guard")),
        targets: Vec::new(),
        files: Vec::new(),
        defaults: Defaults { node: defaults(root), sources: Sources::default() },
        data_dir,
    })
}

/// The checked `defaults`; an empty map where there are none.
pub(crate) fn defaults(root: &Node) -> Node {
    let none = || Node::empty_map(Place { line: 0, ..root.place });
    View::new(root, &CONFIG).node("defaults").cloned().unwrap_or_else(none)
}

fn data_dir(view: View<'_>, folder: &FilePath, variables: &Environment) -> PathBuf {
    let from_environment = variables.get("LAPWING_DATA_DIR").ok().flatten().filter(|v| !v.is_empty());
    let joined = match from_environment.or(view.text("data_dir")) {
        Some(text) => folder.join(text),
        None => folder.to_owned(),
    };
    if joined.as_os_str().is_empty() { PathBuf::from(".") } else { joined }
}

fn retention(view: View<'_>) -> Retention {
    Retention {
        checks: view.duration("checks"),
        hourly: view.duration("hourly"),
        daily: view.duration("daily"),
        incidents: view.duration("incidents"),
    }
}

fn guard(view: View<'_>) -> Guard {
    Guard {
        private: view.text("private") == Some("allow"),
        deny: view.list("deny", rules::network),
        allow: view.list("allow", rules::network),
    }
}

/// What several keys of the settings say together.
pub(crate) fn check_settings(root: &Node, store: Option<&StoreSetting>, report: &mut Report) {
    let (view, spot) = (View::new(root, &CONFIG), Spot { own: root, path: Path::ROOT });
    if let Some(kafka) = view.node("kafka") {
        spot.both_or_none(report, view.map("kafka").map("tls"), &["kafka", "tls"], ["cert_file", "key_file"]);
        if let Some(sasl) = kafka.get("sasl") {
            spot.needs_username(report, sasl, &["kafka", "sasl"]);
        }
    }
    let Some(node) = view.node("store") else { return };
    for (parameter, file) in store.map(StoreSetting::tls_files).unwrap_or_default() {
        if let Err(why) = files::check_readable(&file) {
            let file = if node.origin.is_some() { node.shown() } else { format!("{:?}", file.display().to_string()) };
            spot.report(report, &["store"], node.place, format!("{parameter}: {file} {why}"));
        }
    }
}
