//! What a process has left in the kernel, found by its pins alone and taken away without being opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::claim::Claim;
use crate::{Refusal, hooks, needs};

/// Whether a process has left something below these pins.
///
/// # Errors
/// This process may not look.
pub fn is_left(pins: &Path) -> Result<bool, Refusal> {
    Ok(!folders(pins)?.is_empty())
}

/// Detaches what a process has left below these pins, of whatever layout, and removes it: nothing is rewritten any more, and
/// connections are forgotten. Answers whether there was anything. It needs no more than to own the pins, but for kernels
/// before 6.6, where interfaces hold the program by themselves and `CAP_NET_ADMIN` is needed to take it from them.
///
/// # Errors
/// What could not be removed, that this process may not look, or that another one that lives has the pins.
pub fn release(pins: &Path) -> Result<bool, Refusal> {
    if !is_left(pins)? {
        return Ok(false);
    }
    let _alone = Claim::of(pins)?;
    let folders = folders(pins)?;
    for folder in &folders {
        remove(folder, needs::holds_filters())?;
    }
    Ok(!folders.is_empty())
}

/// Takes a layout away, by the folder of its pins: links go with their pins, and filters, which have none, from all interfaces
/// where these hold them.
pub(crate) fn remove(folder: &Path, holds_filters: bool) -> Result<(), Refusal> {
    if holds_filters {
        hooks::take_filters(folder, &needs::interfaces());
    }
    fs::remove_dir_all(folder).map_err(|error| Refusal::of(format!("remove the pins `{}`", folder.display()), &error))
}

/// One folder for each layout. A file system of BPF is often root's alone: what cannot be seen there may be there all the same.
fn folders(pins: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let entries = fs::read_dir(pins).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    match entries {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found.map_err(|error| Refusal::Unseen { pins: pins.to_owned(), said: error.to_string() }),
    }
}
