//! The content of files that others write: regular files alone, and no more of them than is wanted.
//!
//! A pipe would make its reader wait for a writer, and a device may have no end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// No file that is read whole is larger.
pub(crate) const LARGEST: usize = 8 << 20;

/// The content of a regular file.
///
/// # Errors
/// What the kernel says; or it is no regular file, or larger than 8 MiB.
pub fn content(path: &Path) -> io::Result<Vec<u8>> {
    // The kind is asked before it is opened: opening a pipe waits for whoever writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LARGEST {
        return Err(io::Error::other(format!("it is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        for path in ["/dev/zero", "/dev/null", "/"] {
            let error = content(Path::new(path)).expect_err("not a regular file");
            assert_eq!(error.to_string(), "it is not a regular file", "{path}");
        }
    }
}
