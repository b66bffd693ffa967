//! The archive's file: whole after each write, found again after a restart, rotated when it is large.
//!
//! An entry is one line, so what a crash has torn apart in the middle of a write can be cut off at a line's end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};

/// How every archive of ours begins. What made it follows.
const BEGIN: &str = "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"tidegate\",\"version\":\"";
const ENTRIES: &str = "\"},\"entries\":[";
/// What closes an archive.
const END: &[u8] = b"\n]}}\n";
/// The beginning is never longer.
const LONGEST_BEGIN: usize = 256;
/// How often, and how long apart, it is looked whether whoever writes to a file has left it.
const LOCK_TRIES: (u32, Duration) = (50, Duration::from_millis(10));

/// An open archive.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    /// Where its last entry ends.
    end: u64,
    has_entries: bool,
}

impl Archive {
    /// Opens an archive, or begins one. It is readable for nobody else.
    ///
    /// # Errors
    /// It cannot be opened, somebody else writes to it, or it is something else.
    pub(super) fn open(path: &Path) -> io::Result<Archive> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags.bits() as i32);
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        lock(&file)?;
        let length = file.metadata()?.len();
        let mut archive = Archive { path: path.to_owned(), file, end: 0, has_entries: false };
        if length > 0 {
            archive.resume(length)?;
        } else {
            archive.begin()?;
        }
        archive.file.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(archive)
    }

    /// How long it would be with so many bytes more.
    pub(super) fn length_with(&self, more: usize) -> u64 {
        self.end + (more + END.len() + 2) as u64
    }

    pub(super) fn has_entries(&self) -> bool {
        self.has_entries
    }

    /// Writes entries, each a line, with commas between them. If somebody has moved the archive away, they begin another.
    ///
    /// # Errors
    /// They could not all be written: the archive is as it was.
    pub(super) fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        self.settle()?;
        let between: &[u8] = if self.has_entries { b",\n" } else { b"\n" };
        let written = self.file.write_all_at(&[between, entries, END].concat(), self.end);
        if let Err(error) = written {
            // Room that was taken before is still there.
            let _ = self.file.set_len(self.end + END.len() as u64);
            let _ = self.file.write_all_at(END, self.end);
            return Err(error);
        }
        self.end += (between.len() + entries.len()) as u64;
        self.has_entries = true;
        Ok(())
    }

    /// Gives the archive the first of the numbers and begins another one; of those with numbers so many are kept.
    ///
    /// # Errors
    /// Names could not be changed, or no file begun: it goes on with the old one.
    pub(super) fn rotate(&mut self, keep: u32) -> io::Result<()> {
        // One that is not there has been given its number already, and only no other could be begun.
        if !self.is_there()? {
            return self.settle();
        }
        if keep == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..keep).rev() {
                there(fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)))?;
            }
            there(fs::rename(&self.path, numbered(&self.path, 1)))?;
        }
        self.settle()
    }

    /// Whether the archive has its name.
    fn is_there(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        Ok(fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
    }

    /// Goes on with what has the archive's name now, and with an archive if somebody has emptied it.
    fn settle(&mut self) -> io::Result<()> {
        if !self.is_there()? {
            *self = Archive::open(&self.path)?;
        } else if self.file.metadata()?.len() < self.end {
            self.begin()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let begin = format!("{BEGIN}{}{ENTRIES}", env!("CARGO_PKG_VERSION"));
        self.file.set_len(0)?;
        self.file.write_all_at(&[begin.as_bytes(), END].concat(), 0)?;
        (self.end, self.has_entries) = (begin.len() as u64, false);
        Ok(())
    }

    /// Goes on where it was left, behind the last entry that is whole.
    fn resume(&mut self, length: u64) -> io::Result<()> {
        let other = || io::Error::other("it is no capture of ours: move it away, or name another file");
        let mut start = [0; LONGEST_BEGIN];
        let count = self.file.read_at(&mut start, 0)?;
        let start = &start[..count];
        let Some(begins_at) = memchr::memmem::find(start, ENTRIES.as_bytes()).map(|at| (at + ENTRIES.len()) as u64)
        else {
            // One that was torn apart before it had begun says nothing.
            let is_ours =
                BEGIN.as_bytes().starts_with(&start[..count.min(BEGIN.len())]) && length < LONGEST_BEGIN as u64;
            return if is_ours { self.begin() } else { Err(other()) };
        };
        if !start.starts_with(BEGIN.as_bytes()) {
            return Err(other());
        }
        let mut end = self.line_end_before(length, begins_at)?;
        let mut last = [0];
        // Behind a whole line there is its comma, the end of all, or what was torn.
        if end > begins_at {
            self.file.read_exact_at(&mut last, end - 1)?;
            end -= u64::from(last[0] == b',');
        }
        (self.end, self.has_entries) = (end, end > begins_at);
        self.close()
    }

    /// The last end of a line, but for that of the last line of all.
    fn line_end_before(&self, length: u64, begins_at: u64) -> io::Result<u64> {
        let mut block = vec![0; 64 * 1024];
        // The end of all ends with one.
        let mut to = length.saturating_sub(1).max(begins_at);
        while to > begins_at {
            let from = to.saturating_sub(block.len() as u64).max(begins_at);
            let piece = &mut block[..(to - from) as usize];
            self.file.read_exact_at(piece, from)?;
            if let Some(at) = memchr::memrchr(b'\n', piece) {
                return Ok(from + at as u64);
            }
            to = from;
        }
        Ok(begins_at)
    }

    fn close(&mut self) -> io::Result<()> {
        self.file.write_all_at(END, self.end)?;
        self.file.set_len(self.end + END.len() as u64)
    }
}

/// Another process, or a writer of this one that is about to end, may have it.
fn lock(file: &File) -> io::Result<()> {
    let (tries, pause) = LOCK_TRIES;
    for _ in 0..tries {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => sleep(pause),
            locked => return Ok(locked?),
        }
    }
    Err(io::Error::other("somebody else writes to it"))
}

/// `traffic.har` with a number: `traffic.1.har`.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let name = match (path.file_stem(), path.extension()) {
        (Some(stem), Some(extension)) => {
            format!("{}.{number}.{}", stem.to_string_lossy(), extension.to_string_lossy())
        }
        _ => format!("{}.{number}", path.file_name().unwrap_or_default().to_string_lossy()),
    };
    path.with_file_name(name)
}

/// What is not there need not be moved.
fn there(moved: io::Result<()>) -> io::Result<()> {
    moved.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
