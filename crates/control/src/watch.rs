//! Files that have changed. They are looked at once a second: that also sees files that were replaced, and links that
//! were turned, which is how container platforms deliver configuration.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Some files as they were when they were looked at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Watch {
    seen: Vec<(PathBuf, Option<Print>)>,
    /// What is in those that are folders.
    inside: Vec<(PathBuf, Option<Print>)>,
}

/// What changes about a file when its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Who may read it counts, too: a file that could not be read may be readable now.
    changed: (i64, i64),
}

impl Watch {
    /// The files as they are now.
    pub fn of(files: &[PathBuf]) -> Watch {
        let seen: Vec<_> = files.iter().map(|file| (file.clone(), print(file))).collect();
        let entries = files.iter().filter_map(|file| fs::read_dir(file).ok()).flatten().flatten();
        let mut inside: Vec<_> = entries.map(|entry| entry.path()).map(|file| (file.clone(), print(&file))).collect();
        inside.sort_by(|(one, _), (other, _)| one.cmp(other));
        Watch { seen, inside }
    }

    /// The same files as they are now.
    pub fn again(&self) -> Watch {
        Watch::of(&self.seen.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>())
    }
}

fn print(file: &PathBuf) -> Option<Print> {
    let meta = fs::metadata(file).ok()?;
    Some(Print {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}
