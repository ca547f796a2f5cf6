//! A config in a temporary folder, loaded.

use config::{Config, Environment, Mistakes};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with a `lapwing.yaml` and the files that it names.
pub struct Folder {
    dir: TempDir,
    pub environment: Environment,
}

impl Folder {
    pub fn new(yaml: &str) -> Self {
        let folder =
            Self { dir: tempfile::tempdir().expect("a temporary folder"), environment: Environment::default() };
        folder.with("lapwing.yaml", yaml)
    }

    pub fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
        std::fs::write(path, content).expect("written");
        self
    }

    pub fn variables(self, pairs: &[(&str, &str)]) -> Self {
        Self { environment: pairs.iter().copied().collect(), ..self }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn load(&self) -> Result<Config, Mistakes> {
        config::load(&self.path("lapwing.yaml"), &self.environment)
    }

    pub fn good(&self) -> Config {
        self.load().unwrap_or_else(|e| panic!("{e}"))
    }

    /// The lines of what is wrong, without the folder's name.
    pub fn mistakes(&self) -> Vec<String> {
        let text = self.load().err().map(|m| m.to_string()).unwrap_or_default();
        text.replace(&format!("{}/", self.dir.path().display()), "").lines().map(str::to_owned).collect()
    }

    pub fn shown(&self) -> String {
        let parsed = config::parse(&self.path("lapwing.yaml"), &self.environment).unwrap_or_else(|e| panic!("{e}"));
        config::show(&parsed)
    }
}

pub fn load(yaml: &str) -> Config {
    Folder::new(yaml).good()
}

pub fn mistakes(yaml: &str) -> Vec<String> {
    Folder::new(yaml).mistakes()
}

/// A config of one target; the lines are keys of it.
pub fn target(lines: &[&str]) -> String {
    lines.iter().fold("targets:\n  - url: http://h.example/\n".to_owned(), |text, line| format!("{text}    {line}\n"))
}

pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The configurations that we hand out.
pub fn samples() -> Vec<PathBuf> {
    let names = std::fs::read_dir(repository()).expect("the repository").map(|entry| entry.expect("an entry").path());
    let mut samples: Vec<_> = names.filter(|path| path.to_string_lossy().ends_with(".sample.yaml")).collect();
    samples.sort();
    samples
}
