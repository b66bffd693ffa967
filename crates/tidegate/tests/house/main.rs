//! The house rules that a compiler does not check: who may know whom, how long a file may be, and that the documents
//! say what the code does.

mod crates;
mod documents;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// A file of the workspace as text.
fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder of the workspace with this ending, as paths relative to the workspace. What builds and
/// tools leave behind is passed over.
fn files_below(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (root, mut found, mut folders) = (root(), Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "target" | "out" | ".git" | "corpus" | "book") {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path.strip_prefix(&root).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there is no {ending} below {folder}");
    found
}
