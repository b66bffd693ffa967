//! What every source file keeps to.

use super::{files_below, read};

/// Lines of code and comments in one file.
const MOST_LINES: usize = 600;

/// Longer files, each with the reason.
const LONGER: [(&str, &str); 0] = [];

#[test]
fn no_file_is_too_long_to_be_read() {
    for path in files_below("crates", ".rs") {
        if !path.components().any(|part| part.as_os_str() == "src") {
            continue;
        }
        let lines = read(&path).lines().count();
        let excused = LONGER.iter().any(|(file, _)| path.ends_with(file));
        assert!(
            lines <= MOST_LINES || excused,
            "{}: {lines} lines; split it, or say in LONGER why not",
            path.display()
        );
        assert!(lines > MOST_LINES || !excused, "{} is short enough: take it out of LONGER", path.display());
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in files_below("crates", ".rs") {
        let test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        if !test && path.components().any(|part| part.as_os_str() == "src") {
            assert!(read(&path).starts_with("//!"), "{} does not begin with what it is for", path.display());
        }
    }
}
