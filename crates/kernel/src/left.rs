//! What a process has left in the kernel, found by its pins alone and taken away without being opened.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Refusal, hooks, needs};

/// Whether a process has left something below these pins.
pub fn is_left(pins: &Path) -> bool {
    !folders(pins).is_empty()
}

/// Detaches what a process has left below these pins, of whatever layout, and removes it: nothing is rewritten any more, and
/// connections are forgotten. Answers whether there was anything. It needs no more than to own the pins, but for kernels
/// before 6.6, where interfaces hold the program by themselves and `CAP_NET_ADMIN` is needed to take it from them.
///
/// # Errors
/// What could not be removed.
pub fn release(pins: &Path) -> Result<bool, Refusal> {
    let folders = folders(pins);
    for folder in &folders {
        if needs::holds_filters() {
            hooks::take_filters(&needs::interfaces());
        }
        hooks::take_pins(folder)?;
        let removed = fs::remove_dir_all(folder);
        removed.map_err(|error| Refusal::of(format!("remove the pins `{}`", folder.display()), &error))?;
    }
    Ok(!folders.is_empty())
}

/// One folder for each layout.
fn folders(pins: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(pins) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
