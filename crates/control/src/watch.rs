//! Files that have changed. They are looked at once a second: that also sees files that were replaced, and links that
//! were turned, which is how container platforms deliver configuration.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::discovery::Look;

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

/// Files as they were when they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// As they were when they were read last.
    read: Option<Watch>,
    /// As they were at the last look, if that was not the same: whoever writes them may be half way through.
    pending: Option<Watch>,
}

impl Seen {
    /// Whether they have to be read as they are now: at a reload, and when two looks agree that they have changed.
    pub fn is_new(&mut self, now: Watch, look: Look) -> bool {
        let now = Some(now);
        if look == Look::Due && self.read.is_some() {
            if self.read == now {
                self.pending = None;
                return false;
            }
            if self.pending != now {
                self.pending = now;
                return false;
            }
        }
        self.pending = None;
        self.read = now;
        true
    }

    /// Whether they are not as they were when they were read last.
    pub fn is_other(&self, now: &Watch) -> bool {
        self.read.as_ref() != Some(now)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn watch(content: &str) -> Watch {
        let path = std::env::temp_dir().join(format!("tidegate-seen-{}", std::process::id()));
        fs::write(&path, content).expect("a written file");
        Watch::of(&[path])
    }

    #[test]
    fn a_file_is_read_when_two_looks_agree() {
        let mut seen = Seen::default();
        let (one, two, three) = (watch("1"), watch("two"), watch("three"));
        assert!(seen.is_new(one.clone(), Look::Due), "never read");
        assert!(!seen.is_new(one.clone(), Look::Due));
        assert!(!seen.is_new(two, Look::Due), "perhaps half written");
        assert!(!seen.is_new(three.clone(), Look::Due), "changed again");
        assert!(seen.is_new(three.clone(), Look::Due));
        assert!(!seen.is_new(three.clone(), Look::Due));
        assert!(!seen.is_new(one, Look::Due));
        assert!(!seen.is_new(three.clone(), Look::Due), "as it was");
        assert!(seen.is_new(three, Look::Reload));
    }
}
