//! From a file to a [`Config`]: read, check, include, merge, and all mistakes in one list.

use crate::{
    environment::{Environment, parse_env_file},
    files::{self, Files},
    grammar::{
        Shape,
        keys::{CONFIG, INCLUDED},
    },
    include,
    intern::Interned,
    kafka::Kafka,
    meant::{self, Config},
    mistakes::{Mistakes, Report},
    patterns::PatternCache,
    place::{Path, Place, Sources},
    target::{Workshop, Written},
    tree::{self, Node},
    walk::Walk,
};
use model::{Target, TargetId};
use std::{
    collections::HashMap,
    fmt,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    thread,
};

/// A config without mistakes, and what it was made of.
pub struct Parsed {
    pub(crate) config: Config,
    pub(crate) root: Node,
    pub(crate) written: Vec<Written>,
    pub(crate) sources: Sources,
}

/// Reads the config in this file, and everything that it names.
///
/// # Errors
/// Every mistake at once.
pub fn load(path: &FilePath, environment: &Environment) -> Result<Config, Mistakes> {
    let Parsed { config, root, written, .. } = parse(path, environment)?;
    // To give back what many targets were made of takes a tenth as long as making them; nobody waits for it. Where no
    // thread is to be had it is given back here.
    let _ = thread::Builder::new().spawn(move || drop((root, written)));
    Ok(config)
}

/// As [`load`], with what is needed to show the config.
///
/// # Errors
/// Every mistake at once.
pub fn parse(path: &FilePath, environment: &Environment) -> Result<Parsed, Mistakes> {
    let mut loader = Loader { variables: environment.clone(), ..Loader::default() };
    let parsed = loader.load(path);
    let files = loader.looked_at();
    let Loader { report, sources, .. } = loader;
    report.into_result(&sources).map_err(|mistakes| Mistakes { files: files.clone(), ..mistakes })?;
    let parsed =
        parsed.map(|(config, root, written)| Parsed { config: Config { files, ..config }, root, written, sources });
    // Without a mistake everything was made: what stands in the way of a value is always one.
    parsed.ok_or_else(|| unexplained(path))
}

/// No text of it, for any may be secret; [`crate::show()`] is there to be read.
impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed").field("targets", &self.written.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Loader {
    variables: Environment,
    sources: Sources,
    files: Files,
    patterns: PatternCache,
    report: Report,
    /// Files of configuration, and folders.
    looked_at: Vec<PathBuf>,
}

impl Loader {
    /// Every path whose change may change the config, or what is wrong with it.
    fn looked_at(&self) -> Vec<PathBuf> {
        self.looked_at.iter().cloned().chain(self.files.paths().map(FilePath::to_owned)).collect()
    }

    fn load(&mut self, path: &FilePath) -> Option<(Config, Node, Vec<Written>)> {
        let source = self.sources.file(path);
        let folder = path.parent().unwrap_or(FilePath::new(""));
        let env_file = folder.join(".env");
        self.looked_at.extend([path.to_owned(), env_file.clone()]);
        self.read_env_file(&env_file);
        let root = self.read(path, source, &CONFIG)?;
        let mut written = targets_of(&root);
        let include = root.get("include").map_or(&[][..], Node::items);
        let included = include::find(include, path, &mut self.report);
        self.looked_at.extend(included.files.iter().chain(&included.folders).cloned());
        for file in &included.files {
            let source = self.sources.file(file);
            written.extend(self.read(file, source, &INCLUDED).iter().flat_map(targets_of));
        }
        if let Err(why) = self.variables.get("LAPWING_DATA_DIR") {
            let place = Place { source, ..Place::default() };
            self.report.add(place, &Path::ROOT.key("data_dir"), format!("LAPWING_DATA_DIR {why}"));
        }
        let kafka = Kafka { sources: &self.sources, files: &mut self.files };
        let config = meant::settings(&root, folder, &self.variables, kafka);
        meant::check_settings(&root, config.as_ref().map(|c| &c.store), &mut self.report);
        let targets = self.targets(&written, &meant::defaults(&root));
        let mut config = config?;
        config.targets = targets;
        config.defaults.sources = self.sources.clone();
        Some((config, root, written))
    }

    fn read_env_file(&mut self, path: &FilePath) {
        let text = match files::read_if_there(path) {
            Ok(None) => return,
            Ok(Some(text)) => text,
            Err(why) => {
                let source = self.sources.file(path);
                return self.report.add(Place { source, ..Place::default() }, &Path::ROOT, format!("the file {why}"));
            }
        };
        let (pairs, bad) = parse_env_file(&text);
        self.variables.add_missing(pairs);
        if !bad.is_empty() {
            let source = self.sources.file(path);
            for line in bad {
                self.report.add(
                    Place { source, line: line.line, column: 1 },
                    &Path::ROOT,
                    format!("the line {}", line.message),
                );
            }
        }
    }

    /// The checked root of a file.
    fn read(&mut self, path: &FilePath, source: u32, shape: &'static Shape) -> Option<Node> {
        let text = match files::read_config(path) {
            Ok(text) => text,
            Err(why) => {
                self.report.add(Place { source, ..Place::default() }, &Path::ROOT, format!("the file {why}"));
                return None;
            }
        };
        let tree =
            tree::parse(text.strip_prefix('\u{feff}').unwrap_or(&text), source, &self.variables, &mut self.report)?;
        drop(text);
        let Self { sources, files, patterns, report, .. } = self;
        Some(Walk { sources, files, patterns, report }.map(&tree, shape, &Path::ROOT))
    }

    fn targets(&mut self, written: &[Written], defaults: &Node) -> Vec<Arc<Target>> {
        let Self { sources, files, patterns, report, .. } = self;
        let mut workshop = Workshop { sources, files, patterns, interned: &mut Interned::default(), report };
        let mut targets = Vec::with_capacity(written.len());
        let mut places: HashMap<TargetId, Place> = HashMap::with_capacity(written.len());
        for written in written {
            let Some(target) = workshop.target(written, defaults) else { continue };
            match places.get(&target.id) {
                Some(first) => workshop.same_id(written, &target.id, *first),
                None => {
                    places.insert(target.id.clone(), written.node.place);
                    targets.push(Arc::new(target));
                }
            }
        }
        targets
    }
}

fn targets_of(root: &Node) -> Vec<Written> {
    let items = root.get("targets").map_or(&[][..], Node::items);
    items.iter().cloned().enumerate().map(|(index, node)| Written { node, index }).collect()
}

fn unexplained(path: &FilePath) -> Mistakes {
    let mut sources = Sources::default();
    let source = sources.file(path);
    let mut report = Report::default();
    report.add(
        Place { source, ..Place::default() },
        &Path::ROOT,
        "the file cannot be used, for a reason that is a bug of Lapwing",
    );
    report.into_result(&sources).err().unwrap_or(Mistakes { list: Vec::new(), more: 0, files: Vec::new() })
}
