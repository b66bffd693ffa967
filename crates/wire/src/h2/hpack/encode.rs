//! Field lines to blocks, by the static table and literals alone (RFC 7541 section 6): nothing is remembered.

use super::table;

/// The change of the table's size to nothing (section 6.3): what our first block begins with, since we use none. The peer
/// may then make its table as small as it likes, and never waits for a word of ours about it (section 4.2).
pub const NO_TABLE: u8 = 0x20;

/// Appends an entry of the static table.
#[inline]
pub fn indexed(index: u8, out: &mut Vec<u8>) {
    debug_assert!(index as usize <= table::FIXED);
    out.push(0x80 | index);
}

/// Appends a literal whose name stands in the static table. One that is secret says so to all who pass it on.
#[inline]
pub fn with_index(index: usize, value: &[u8], secret: bool, out: &mut Vec<u8>) {
    integer(if secret { 0x10 } else { 0 }, 4, index, out);
    string(value, out);
}

/// Appends a literal whose name stands in the static table, and whose value is the concatenation of these parts.
#[inline]
pub fn with_index_and_parts(index: usize, parts: &[&[u8]], out: &mut Vec<u8>) {
    integer(0, 4, index, out);
    integer(0, 7, parts.iter().map(|part| part.len()).sum(), out);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a field, its name in lower case.
#[inline]
pub fn field(name: &[u8], value: &[u8], secret: bool, out: &mut Vec<u8>) {
    let mut lower = [0; LONGEST_FIXED];
    if let Some(lower) = lower.get_mut(..name.len()) {
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        if let Some(index) = table::index_of(lower) {
            with_index(index, value, secret, out);
            return;
        }
    }
    out.push(if secret { 0x10 } else { 0 });
    integer(0, 7, name.len(), out);
    let at = out.len();
    out.extend_from_slice(name);
    out[at..].make_ascii_lowercase();
    string(value, out);
}

/// Bytes of the longest name in the static table, `access-control-allow-origin`.
const LONGEST_FIXED: usize = 27;

/// Appends a string as it is (section 5.2).
#[inline]
pub(crate) fn string(text: &[u8], out: &mut Vec<u8>) {
    integer(0, 7, text.len(), out);
    out.extend_from_slice(text);
}

/// Appends a number behind the bits of `first` (section 5.1).
#[inline]
pub(crate) fn integer(first: u8, prefix: u32, number: usize, out: &mut Vec<u8>) {
    let most = (1_usize << prefix) - 1;
    if number < most {
        out.push(first | number as u8);
        return;
    }
    out.push(first | most as u8);
    let mut rest = number - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
