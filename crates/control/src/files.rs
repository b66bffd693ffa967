//! Files that we write into the state folder: whole or not at all, and for nobody else to read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Makes a folder, and those around it.
///
/// # Errors
/// What the kernel says.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file in the place of what was there.
///
/// # Errors
/// What the kernel says.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = beside(path, content)?;
    fs::rename(&beside, path).inspect_err(|_| discard(&beside))
}

/// Writes a file that is not there yet.
///
/// # Errors
/// `AlreadyExists`, or what the kernel says.
pub fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = beside(path, content)?;
    let linked = fs::hard_link(&beside, path);
    discard(&beside);
    linked
}

fn beside(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}.{}.{:08x}", std::process::id(), fastrand::u32(..)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map(|()| beside.clone()).inspect_err(|_| discard(&beside))
}

/// What was only the way to something is of no use any more; if it cannot be removed, it does no harm either.
fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}
