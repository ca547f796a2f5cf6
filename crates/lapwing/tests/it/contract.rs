//! The list of what shows that the contract holds, held against the sources.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of a crate, as the parts of its path (without `.rs`), with its text.
fn sources(folder: &Path, found: &mut Vec<(Vec<String>, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let parts =
                path.with_extension("").components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
            found.push((parts, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// `crate::file::test`: the test stands in a file, or below a folder, of that name.
fn exists(name: &str, of_crates: &mut HashMap<String, Vec<(Vec<String>, String)>>) -> bool {
    let parts: Vec<_> = name.split("::").collect();
    let [of, file, test] = parts[..] else { return false };
    let sources = of_crates.entry(of.to_owned()).or_insert_with(|| {
        let mut found = Vec::new();
        let folder = root().join("crates").join(of);
        if folder.exists() {
            sources(&folder, &mut found);
        }
        found
    });
    sources.iter().any(|(parts, text)| parts.iter().any(|part| part == file) && text.contains(&format!("fn {test}(")))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_test_that_is_named_exists_and_every_sentence_names_one() {
    let list = fs::read_to_string(root().join("docs/contract-tests.md")).unwrap();
    let named = |text: &str| -> Vec<String> {
        let code = text.split('`').skip(1).step_by(2);
        code.filter(|c| c.contains("::")).map(str::to_owned).collect()
    };
    let mut of_crates = HashMap::new();
    let missing: Vec<_> = named(&list).into_iter().filter(|name| !exists(name, &mut of_crates)).collect();
    assert!(missing.is_empty(), "there is no such test:\n{}", missing.join("\n"));
    let rows = list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what is said"));
    let silent: Vec<_> = rows.filter(|row| named(row).is_empty() && !row.contains("| not built yet |")).collect();
    assert!(silent.is_empty(), "these name no test:\n{}", silent.join("\n"));
    assert!(named(&list).len() > 250, "the list was read");
}
