//! Field sections to field lines (RFC 9204 section 4.5).

use super::table;
use crate::h2::field::Kind;
use crate::h2::hpack::decode::{Invalid, Keep, Line};
use crate::h2::hpack::huffman;

/// Reads one field section.
#[derive(Debug)]
pub struct Decoder<'a> {
    block: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Begins a section; its prefix may speak of no table, since we allow none (section 4.5.1).
    ///
    /// # Errors
    /// It does, or there is no prefix.
    pub fn begin(mut block: &'a [u8]) -> Result<Decoder<'a>, Invalid> {
        let first = octet(&mut block)?;
        if integer(first, 8, &mut block)? != 0 {
            return Err(Invalid("a field section that waits for a table"));
        }
        let first = octet(&mut block)?;
        integer(first, 7, &mut block)?;
        Ok(Decoder { block })
    }

    /// Takes the next field; `None` at the section's end.
    ///
    /// # Errors
    /// Anything that is not the format, and everything that points into a dynamic table.
    #[inline]
    pub fn next(&mut self, keep: Keep, arena: &mut Vec<u8>) -> Result<Option<Line>, Invalid> {
        let Some((first, rest)) = self.block.split_first() else { return Ok(None) };
        self.block = rest;
        let start = arena.len();
        if first & 0xc0 == 0xc0 {
            let entry = table::entry(integer(*first, 6, &mut self.block)?).ok_or(NO_ENTRY)?;
            if keep == Keep::Line {
                put(entry.name, entry.value, arena);
            }
            let (name, value) = (entry.name.len(), entry.value.len());
            return Ok(Some(Line { start, name, value, kind: entry.kind, secret: false }));
        }
        let (kind, secret) = if first & 0xd0 == 0x50 {
            let entry = table::entry(integer(*first, 4, &mut self.block)?).ok_or(NO_ENTRY)?;
            arena.extend_from_slice(entry.name);
            (entry.kind, first & 0x20 != 0)
        } else if first & 0xe0 == 0x20 {
            string(*first, 3, &mut self.block, arena)?;
            (Kind::of(&arena[start..]), first & 0x10 != 0)
        } else {
            return Err(Invalid("an index into a table that is not allowed"));
        };
        let name = arena.len() - start;
        arena.extend_from_slice(b": ");
        let at = arena.len();
        let first = octet(&mut self.block)?;
        string(first, 7, &mut self.block, arena)?;
        let value = arena.len() - at;
        let kind = kind.with_value(&arena[at..]);
        arena.extend_from_slice(b"\r\n");
        if keep == Keep::Nothing {
            arena.truncate(start);
        }
        Ok(Some(Line { start, name, value, kind, secret }))
    }
}

const NO_ENTRY: Invalid = Invalid("an index behind the table's end");

fn put(name: &[u8], value: &[u8], arena: &mut Vec<u8>) {
    arena.extend_from_slice(name);
    arena.extend_from_slice(b": ");
    arena.extend_from_slice(value);
    arena.extend_from_slice(b"\r\n");
}

fn octet(block: &mut &[u8]) -> Result<u8, Invalid> {
    let (first, rest) = block.split_first().ok_or(Invalid("a field section without an end"))?;
    *block = rest;
    Ok(*first)
}

/// A number behind the bits of `first` (RFC 7541 section 5.1). None that has a meaning here needs more than four bytes.
#[inline]
fn integer(first: u8, prefix: u32, block: &mut &[u8]) -> Result<usize, Invalid> {
    let most = (1_usize << prefix) - 1;
    let mut number = usize::from(first) & most;
    if number < most {
        return Ok(number);
    }
    for shift in [0, 7, 14, 21] {
        let byte = octet(block)?;
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Invalid("a number that is too large"))
}

/// A text whose length stands behind the bits of `first`, and the bit before them says whether it is in Huffman's code.
#[inline]
fn string(first: u8, prefix: u32, block: &mut &[u8], arena: &mut Vec<u8>) -> Result<(), Invalid> {
    let length = integer(first, prefix, block)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Invalid("a string without an end"))?;
    *block = rest;
    if first & (1 << prefix) == 0 {
        arena.extend_from_slice(text);
        return Ok(());
    }
    huffman::decode(text, arena).map_err(|huffman::Invalid| Invalid("a string outside the Huffman code"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(block: &[u8]) -> Result<Vec<(String, bool)>, Invalid> {
        let (mut decoder, mut arena, mut found) = (Decoder::begin(block)?, Vec::new(), Vec::new());
        while let Some(line) = decoder.next(Keep::Line, &mut arena)? {
            let end = line.start + line.name + line.value + 4;
            found.push((String::from_utf8_lossy(&arena[line.start..end]).trim_end().to_owned(), line.secret));
        }
        Ok(found)
    }

    #[test]
    fn each_form_is_read() {
        // RFC 9204 appendix B.1, and what follows from section 4.5.
        let path = b"\x00\x00\x51\x0b/index.html";
        assert_eq!(fields(path), Ok(vec![(":path: /index.html".to_owned(), false)]));
        assert_eq!(
            fields(b"\x00\x00\xd1\xd7"),
            Ok(vec![(":method: GET".to_owned(), false), (":scheme: https".to_owned(), false),])
        );
        assert_eq!(fields(b"\x00\x00\xff\x23"), Ok(vec![("x-frame-options: sameorigin".to_owned(), false)]));
        assert_eq!(fields(b"\x00\x00\x33x-a\x01b"), Ok(vec![("x-a: b".to_owned(), true)]));
        assert_eq!(fields(b"\x00\x00\x7f\x45\x03abc"), Ok(vec![("authorization: abc".to_owned(), true)]));
        // `no-cache`, coded.
        let coded = b"\x00\x00\x23x-a\x86\xa8\xeb\x10\x64\x9c\xbf";
        assert_eq!(fields(coded), Ok(vec![("x-a: no-cache".to_owned(), false)]));
        assert_eq!(fields(b"\x00\x00"), Ok(vec![]));
    }

    #[test]
    fn nothing_points_into_a_dynamic_table() {
        for block in [&b"\x01\x00"[..], b"\x00\x00\x80", b"\x00\x00\x10", b"\x00\x00\x40\x01a", b"\x00\x00\x00\x01a"] {
            assert!(fields(block).is_err(), "{block:x?}");
        }
    }

    #[test]
    fn what_is_cut_or_out_of_bounds_is_refused() {
        for block in [
            &b""[..],
            b"\x00",
            b"\x00\x00\xff\x24",
            b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x00\x00\x27",
            b"\x00\x00\x23x-",
            b"\x00\x00\x23x-a",
            b"\x00\x00\x23x-a\x7f\xff\xff\xff\xff\x7f",
            b"\x00\x00\x23x-a\x81\x00",
        ] {
            assert!(fields(block).is_err(), "{block:x?}");
        }
    }
}
