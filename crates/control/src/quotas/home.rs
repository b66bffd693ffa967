//! The file in which it stands what was used, and its lock: one process counts for it.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use proxy::quota::Row;
use serde_json::{Map, Value, json};

use crate::files;

/// Where what was used is written to.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    /// Absent where the folder takes no files: nothing is written there, and so nothing lost.
    lock: Option<File>,
    /// Held by whoever writes: of two that do, the later one is to know more.
    turn: Mutex<()>,
}

/// What was used, by the quotas' names.
pub(super) type Used = BTreeMap<String, Vec<Row>>;

/// The file in the state folder, and the one that says whose it is: the first is another one after each write.
const FILE: &str = "quotas.json";
const LOCK: &str = "quotas.lock";
/// No larger file is read or written: all subjects that a few quotas can have.
const LARGEST: usize = 256 * 1024 * 1024;
/// What stands at the beginning of the file.
const VERSION: u64 = 1;
/// A process that ends may have it for a moment yet.
const LOCK_TRIES: (u32, Duration) = (50, Duration::from_millis(10));

impl Home {
    /// The one in this folder, from now on this process's.
    ///
    /// # Errors
    /// It is another one's.
    pub(super) fn take(folder: &Path) -> Result<Home, String> {
        let (path, by) = (folder.join(FILE), folder.join(LOCK));
        let lock = made(folder, &by).ok();
        if let Some(lock) = &lock {
            own(lock).map_err(|why| {
                format!(
                    "cannot count for `{}`, as `{}` is locked: give each process a `state` folder of its own: {why}",
                    path.display(),
                    by.display()
                )
            })?;
            clean(folder);
        }
        Ok(Home { path, lock, turn: Mutex::default() })
    }

    /// Whether it is the one in this folder, whatever that is called.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        let of = |known: Metadata| (known.dev(), known.ino());
        let ours = self.lock.as_ref().and_then(|lock| lock.metadata().ok()).map(of);
        self.path == folder.join(FILE) || (ours.is_some() && ours == fs::metadata(folder.join(LOCK)).ok().map(of))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was used before this process began. What cannot be understood is put aside: nobody has used anything then.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(&self) -> Result<Used, String> {
        let refused = |error: io::Error| {
            let path = self.path.display();
            format!(
                "cannot read what was used of quotas from `{path}`: let this process read it, or move it away: {error}"
            )
        };
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(LARGEST as u64 + 1).read_to_end(&mut text).map_err(refused)?,
            Err(error) if is_absent(&error) => return Ok(Used::new()),
            Err(error) => return Err(refused(error)),
        };
        Ok(understood(&text).unwrap_or_else(|why| {
            put_aside(&self.path, &why);
            Used::new()
        }))
    }

    /// Writes this in the place of what was there, as it is once nobody else writes. It takes a disk's time.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn write(&self, used: impl FnOnce() -> Used) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::folder(folder)?;
        }
        let quotas: Map<String, Value> = used().into_iter().map(|(name, rows)| (name, told(&rows))).collect();
        let text = json!({ "version": VERSION, "quotas": quotas }).to_string();
        if text.len() > LARGEST {
            return Err(io::Error::other(format!("it would be larger than {LARGEST} bytes, which is not read again")));
        }
        files::replace(&self.path, text.as_bytes())
    }
}

fn made(folder: &Path, lock: &Path) -> io::Result<File> {
    if !folder.as_os_str().is_empty() {
        files::folder(folder)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)
}

fn own(lock: &File) -> Result<(), &'static str> {
    let (tries, pause) = LOCK_TRIES;
    for _ in 0..tries {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(pause),
            // Some file systems know no locks.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    Err("another process counts there")
}

/// Removes what processes have begun to write that were killed.
fn clean(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let begun = format!(".{FILE}.");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&begun) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What is below something that is no folder is not there either; that it cannot be is said when it is to be written.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn told(rows: &[Row]) -> Value {
    let one =
        |row: &Row| (row.name.to_string(), json!({ "until": row.until, "bytes": row.bytes, "requests": row.requests }));
    rows.iter().map(one).collect::<Map<_, _>>().into()
}

fn understood(text: &[u8]) -> Result<Used, String> {
    if text.len() > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    rows(&document).ok_or_else(|| "it is not what this version writes".to_owned())
}

fn rows(document: &Value) -> Option<Used> {
    if document["version"] != VERSION {
        return None;
    }
    let mut quotas = Used::new();
    for (name, subjects) in document["quotas"].as_object()? {
        let mut rows = Vec::new();
        for (who, used) in subjects.as_object()? {
            let number = |key: &str| used[key].as_u64();
            rows.push(Row {
                name: who.as_str().into(),
                until: number("until")?,
                bytes: number("bytes")?,
                requests: number("requests")?,
            });
        }
        quotas.insert(name.clone(), rows);
    }
    Some(quotas)
}

fn put_aside(path: &Path, why: &str) {
    let aside = path.with_extension("json.damaged");
    let kept = match fs::rename(path, &aside) {
        Ok(()) => format!("it is kept as `{}`", aside.display()),
        Err(error) => format!("it could not be put aside: {error}"),
    };
    observe::log::error(format_args!(
        "what was used of quotas cannot be read from `{}`, all begin with nothing used, {kept}: {why}",
        path.display()
    ));
}
