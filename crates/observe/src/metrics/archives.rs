//! The families of captures.

use super::page::{Page, labels};

/// One archive.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Its file.
    pub file: String,
    /// Entries that were written.
    pub written: u64,
    /// Entries that were lost.
    pub lost: u64,
}

pub(super) fn write(archives: &[Archive], page: &mut Page) {
    page.counter(
        "tidegate_capture_entries_total",
        "Exchanges that were written into an archive.",
        archives.iter().map(|one| (labels(&[("file", &one.file)]), one.written as f64)),
    );
    page.counter(
        "tidegate_capture_lost_total",
        "Exchanges that should have been, and were lost.",
        archives.iter().map(|one| (labels(&[("file", &one.file)]), one.lost as f64)),
    );
}
