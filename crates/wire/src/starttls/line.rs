//! Lines of protocols of text.

/// The longest line, its end included. Those of before TLS are short: RFC 5321 section 4.5.3.1 has 512 for commands.
pub(super) const LONGEST: usize = 1024;

/// The first line, without its end, and its length with it; nothing while it is incomplete.
///
/// # Errors
/// It is too long, or its end is none: what one reader takes for an end and another does not hides a line.
pub(super) fn first(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, &'static str> {
    let looked_at = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = memchr::memchr(b'\n', looked_at) else {
        return if bytes.len() < LONGEST { Ok(None) } else { Err("a line without an end") };
    };
    let line = looked_at[..end].strip_suffix(b"\r").ok_or("a line that ends without CR")?;
    if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
        Err("a line with NUL or CR in it")
    } else {
        Ok(Some((line, end + 1)))
    }
}

/// The first word in upper case, and what follows the space behind it.
pub(super) fn word(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    (line[..end].to_ascii_uppercase(), line.get(end + 1..).unwrap_or_default())
}

/// What somebody has said, short enough for a log.
pub(super) fn quoted(line: &[u8]) -> String {
    const MOST: usize = 80;
    String::from_utf8_lossy(line).trim().chars().take(MOST).collect()
}
