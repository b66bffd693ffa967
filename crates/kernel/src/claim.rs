//! Who has the pins: one process at a time, since a second one would take over what the first has made while that goes on by it.
//! The lock is that of the folder itself, so it is known wherever the pins are, by whatever path and in whatever container, and it
//! goes with the process, however that ends.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::{Refusal, needs};

/// The pins are this process's for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    pins: PathBuf,
    folder: File,
}

/// A process that ends may have them for a moment yet.
const TRIES: (u32, Duration) = (50, Duration::from_millis(10));

impl Claim {
    /// Takes the folder of the pins, which is made if it is not there, once the machine has what the program needs at these
    /// interfaces: of two things that are missing, another owner is told last.
    ///
    /// # Errors
    /// What is missing, or who has the pins.
    pub fn take(pins: &Path, interfaces: &[Box<str>]) -> Result<Claim, Refusal> {
        needs::judge(pins, interfaces)?;
        fs::create_dir_all(pins).map_err(|error| no_folder(pins, &error))?;
        Claim::of(pins)
    }

    /// Takes a folder that is there.
    pub(crate) fn of(pins: &Path) -> Result<Claim, Refusal> {
        let (tries, pause) = TRIES;
        for _ in 0..tries {
            let claim = Claim { pins: pins.to_owned(), folder: open(pins)? };
            match claim.folder.try_lock() {
                // Otherwise somebody has removed it meanwhile, and another one may have its name.
                Ok(()) if claim.stands() => return Ok(claim),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => sleep(pause),
                Err(TryLockError::Error(error)) => {
                    return Err(Refusal::of(format!("lock the folder `{}`", pins.display()), &error));
                }
            }
        }
        Err(Refusal::Claimed { pins: pins.to_owned(), by: holder(pins) })
    }

    /// Whether it is still this folder that the pins are in: whoever removes it takes them from their owner.
    pub fn stands(&self) -> bool {
        let ours = self.folder.metadata().map(|known| identity(&known)).ok();
        match fs::metadata(&self.pins) {
            Ok(there) => ours == Some(identity(&there)),
            // What cannot be seen is not known to be gone.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Whether a process that lives has these pins.
pub fn is_claimed(pins: &Path) -> bool {
    let tried = open(pins).map(|folder| folder.try_lock());
    matches!(tried, Ok(Err(TryLockError::WouldBlock)))
}

fn open(pins: &Path) -> Result<File, Refusal> {
    File::open(pins).map_err(|error| no_folder(pins, &error))
}

fn no_folder(pins: &Path, error: &io::Error) -> Refusal {
    Refusal::NoFolder { pins: pins.to_owned(), said: error.to_string() }
}

fn identity(known: &Metadata) -> (u64, u64) {
    (known.dev(), known.ino())
}

/// Who has locked a folder, in words, as far as the kernel says it: a process in another container has no number here.
fn holder(pins: &Path) -> String {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let known = fs::metadata(pins).ok();
    match known.and_then(|known| holder_by(&locks, identity(&known))) {
        Some(pid) => {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} (`{}`)", name.trim().escape_debug())
        }
        None => "a process that cannot be seen from here".to_owned(),
    }
}

/// A line is `1: FLOCK ADVISORY WRITE 22288 00:27:37634792 0 EOF`; those who wait have `->` in their second place.
fn holder_by(locks: &str, (device, inode): (u64, u64)) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let place = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&place.as_str());
        words.get(4).filter(|_| is_ours)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use testkit::{Bpffs, netns};

    use super::*;

    #[test]
    fn one_at_a_time_has_them_and_is_named() {
        if !netns::possible() {
            return;
        }
        let bpffs = Bpffs::new();
        let pins = bpffs.path().join("tidegate");
        let take = || Claim::take(&pins, &["lo".into()]);
        let first = take().expect("a claim");
        assert!(first.stands() && is_claimed(&pins));
        let refusal = take().expect_err("it is taken");
        let ours = format!("process {} (", std::process::id());
        assert!(matches!(&refusal, Refusal::Claimed { by, .. } if by.starts_with(&ours)), "{refusal}");
        assert!(matches!(crate::release(&pins), Ok(false)), "nothing is there to be released");
        fs::create_dir(pins.join("v1")).expect("a layout");
        assert!(matches!(crate::release(&pins), Err(Refusal::Claimed { .. })));
        // Whoever removes the folder takes the pins away, and the next one has a folder of its own.
        fs::remove_dir_all(&pins).expect("it is removed");
        assert!(!first.stands() && !is_claimed(&pins));
        let second = take().expect("another claim");
        assert!(second.stands() && !first.stands());
        drop(second);
        assert!(!is_claimed(&pins));
    }

    #[test]
    fn the_holder_is_found_by_the_folder() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 00:27:4711 0 EOF\n2: FLOCK  ADVISORY  WRITE 22288 00:27:4711 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 00:27:4711 0 EOF\n3: FLOCK  ADVISORY  WRITE 10 00:28:4711 0 EOF\n";
        assert_eq!(holder_by(locks, (0x27, 4711)), Some(22288));
        assert_eq!(holder_by(locks, (0x28, 4711)), Some(10));
        assert_eq!(holder_by(locks, (0x29, 4711)), None);
    }
}
