//! `include`: which files hold more targets.

use crate::{mistakes::Report, place::Path, tree::Node};
use std::{
    collections::BTreeSet,
    path::{Path as FilePath, PathBuf},
};

#[derive(Default)]
pub(crate) struct Included {
    /// Sorted by name, each once.
    pub files: BTreeSet<PathBuf>,
    /// Where a new file may be a match.
    pub folders: BTreeSet<PathBuf>,
}

/// Looks for the files that the checked list names, from the folder of the config. The config itself is none of them.
pub(crate) fn find(list: &[Node], config: &FilePath, report: &mut Report) -> Included {
    let folder = config.parent().unwrap_or(FilePath::new(""));
    let mut included = Included::default();
    for (i, node) in list.iter().enumerate() {
        let Some(pattern) = node.as_text() else { continue };
        let include = Path::ROOT.key("include");
        let found = if is_pattern(pattern) {
            included.folders.insert(folder.join(fixed_part(pattern)));
            matching(folder, pattern)
        } else {
            literal(&folder.join(pattern))
        };
        match found {
            Ok(files) => included.files.extend(files.into_iter().filter(|f| !is_same(f, config))),
            Err(why) => report.add(node.place, &include.index(i), format!("{} {why}", node.shown())),
        }
    }
    included
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The folders in front of the first that has a wildcard.
fn fixed_part(pattern: &str) -> PathBuf {
    let plain = FilePath::new(pattern).components().take_while(|c| !is_pattern(&c.as_os_str().to_string_lossy()));
    plain.collect()
}

fn literal(path: &FilePath) -> Result<Vec<PathBuf>, String> {
    match std::fs::metadata(path) {
        Ok(m) if m.is_dir() => Err("is a folder; write a pattern like targets/*.yaml".into()),
        Ok(_) => Ok(vec![path.to_owned()]),
        Err(e) => Err(format!("cannot be read: {e}")),
    }
}

/// Files whose names begin with a dot are left out: editors put half-written copies there.
fn matching(folder: &FilePath, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let options =
        glob::MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, case_sensitive: true };
    let folder = glob::Pattern::escape(&folder.join("x").to_string_lossy());
    let folder = folder.strip_suffix('x').unwrap_or(&folder);
    let whole = if FilePath::new(pattern).is_absolute() { pattern.to_owned() } else { format!("{folder}{pattern}") };
    let paths = glob::glob_with(&whole, options).map_err(|e| format!("is not a pattern of file names: {}", e.msg))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|e| format!("cannot be searched: {}", e.error()))?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    Ok(files)
}

fn is_same(a: &FilePath, b: &FilePath) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
