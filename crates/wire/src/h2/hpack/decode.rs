//! Blocks to field lines (RFC 7541 sections 5 and 6).

use super::huffman;
use super::table::{self, Dynamic, Entry, LINE_OVERHEAD};
use crate::h2::field::Kind;
use crate::known::Known;

/// The decoder of one connection.
#[derive(Debug)]
pub struct Decoder {
    table: Dynamic,
    /// The largest table that our SETTINGS allow.
    allowed: usize,
}

/// Where a decoded field stands in the arena: `name: value\r\n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first byte of the name.
    pub start: usize,
    /// Bytes of the name.
    pub name: usize,
    /// Bytes of the value.
    pub value: usize,
    /// What the field is; not judged where it was not kept.
    pub kind: Kind,
    /// The sender wants it never to be in any table (section 6.2.3).
    pub secret: bool,
}

/// A block that breaks the format: the tables of both sides differ from now on, so the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

/// What is done with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is written to the arena.
    Line,
    /// Only the table learns of it, where it must.
    Nothing,
}

impl Decoder {
    /// A decoder whose table may have this size.
    pub fn new(allowed: usize) -> Decoder {
        Decoder { table: Dynamic::new(allowed), allowed }
    }

    /// The table.
    pub fn table(&self) -> &Dynamic {
        &self.table
    }

    /// Begins a block: takes the changes of the table's size that may stand before its first field (section 4.2).
    ///
    /// # Errors
    /// A size over what we allow, or more changes than the two that can have a reason.
    pub fn begin(&mut self, block: &mut &[u8]) -> Result<(), Invalid> {
        let mut changes = 0;
        while let Some(first) = block.first().filter(|first| **first & 0xe0 == 0x20) {
            changes += 1;
            if changes > 2 {
                return Err(Invalid("more than two changes of the table's size"));
            }
            let first = *first;
            *block = &block[1..];
            let size = integer(first, 5, block)?;
            if size > self.allowed {
                return Err(Invalid("a table larger than allowed"));
            }
            self.table.set_limit(size);
        }
        Ok(())
    }

    /// Takes the next field out of the block; `None` at its end.
    ///
    /// # Errors
    /// Anything that is not the format.
    #[inline]
    pub fn next(&mut self, block: &mut &[u8], keep: Keep, arena: &mut Vec<u8>) -> Result<Option<Line>, Invalid> {
        let Some((first, rest)) = block.split_first() else { return Ok(None) };
        *block = rest;
        let start = arena.len();
        if first & 0x80 != 0 {
            let entry = self.entry(integer(*first, 7, block)?)?;
            if keep == Keep::Line {
                arena.extend_from_slice(entry.line);
            }
            let value = entry.line.len() - entry.name - LINE_OVERHEAD;
            return Ok(Some(Line { start, name: entry.name, value, kind: entry.kind, secret: false }));
        }
        if first & 0xe0 == 0x20 {
            return Err(Invalid("a change of the table's size behind a field"));
        }
        let indexed = first & 0x40 != 0;
        let index = integer(*first, if indexed { 6 } else { 4 }, block)?;
        if keep == Keep::Nothing && !indexed {
            return self.pass_over(index, block, arena).map(Some);
        }
        let (name, name_kind) = self.name(index, block, arena)?;
        arena.extend_from_slice(b": ");
        let at = arena.len();
        string(block, arena)?;
        let value = arena.len() - at;
        let kind = name_kind.with_value(&arena[at..]);
        arena.extend_from_slice(b"\r\n");
        if indexed {
            self.table.add(&arena[start..], name, name_kind, kind);
        }
        if keep == Keep::Nothing {
            arena.truncate(start);
        }
        Ok(Some(Line { start, name, value, kind, secret: first & 0x10 != 0 && !indexed }))
    }

    /// Writes a literal's name to the arena.
    fn name(&self, index: usize, block: &mut &[u8], arena: &mut Vec<u8>) -> Result<(usize, Kind), Invalid> {
        if index == 0 {
            let start = arena.len();
            string(block, arena)?;
            return Ok((arena.len() - start, Kind::of(&arena[start..])));
        }
        let entry = self.entry(index)?;
        let name = &entry.line[..entry.name];
        arena.extend_from_slice(name);
        // What was wrong with the entry may have been its value. The name was judged when it came in: a byte or two that borrow
        // it again and again must not make us look at all of it as often.
        Ok((entry.name, entry.name_kind))
    }

    /// Takes a literal that neither the table nor the head wants: only its format is looked at.
    fn pass_over(&self, index: usize, block: &mut &[u8], arena: &mut Vec<u8>) -> Result<Line, Invalid> {
        let start = arena.len();
        let name = if index == 0 {
            string(block, arena)?;
            arena.len() - start
        } else {
            self.entry(index)?.name
        };
        arena.truncate(start);
        string(block, arena)?;
        let value = arena.len() - start;
        arena.truncate(start);
        Ok(Line { start, name, value, kind: Kind::Field(Known::Other), secret: false })
    }

    fn entry(&self, index: usize) -> Result<Entry<'_>, Invalid> {
        let entry =
            if index <= table::FIXED { table::fixed(index) } else { self.table.entry(index - table::FIXED - 1) };
        entry.ok_or(Invalid("an index that no table has"))
    }
}

/// A number whose first bits are the lower `prefix` bits of `first` (section 5.1).
#[inline]
fn integer(first: u8, prefix: u32, block: &mut &[u8]) -> Result<usize, Invalid> {
    let most = (1_usize << prefix) - 1;
    let mut number = first as usize & most;
    if number < most {
        return Ok(number);
    }
    // Four bytes of seven bits are more than any length or index here: a longer one pads, or wants to overflow.
    for shift in [0, 7, 14, 21] {
        let Some((byte, rest)) = block.split_first() else { return Err(Invalid("a number without an end")) };
        *block = rest;
        number += (*byte as usize & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Invalid("a number too large"))
}

/// Appends a string (section 5.2).
#[inline]
fn string(block: &mut &[u8], arena: &mut Vec<u8>) -> Result<(), Invalid> {
    let Some((first, rest)) = block.split_first() else { return Err(Invalid("a field without an end")) };
    *block = rest;
    let length = integer(*first, 7, block)?;
    let Some((text, rest)) = block.split_at_checked(length) else { return Err(Invalid("a string without an end")) };
    *block = rest;
    if first & 0x80 == 0 {
        arena.extend_from_slice(text);
        return Ok(());
    }
    huffman::decode(text, arena).map_err(|huffman::Invalid| Invalid("a string outside the Huffman code"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::field::Wrong;

    /// One byte names what is 4,000 bytes long, and whose judgement needs all of them.
    #[test]
    fn a_name_is_judged_once() {
        let mut decoder = Decoder::new(4096);
        let mut arena = Vec::new();
        let mut block = vec![0x40, 0x7f, 0x80 | 0x21, 0x1e];
        block.extend_from_slice(&[b'n'; 3_999]);
        block.extend_from_slice(&[b' ', 1, b'v']);
        let line = decoder.next(&mut &block[..], Keep::Line, &mut arena).expect("a field").expect("a field");
        assert_eq!((line.name, line.kind), (4_000, Kind::Refused(Wrong::Name)));
        let entry = decoder.table.entry(0).expect("an entry");
        assert_eq!(entry.name_kind, Kind::Refused(Wrong::Name));

        arena = Vec::new();
        let borrowed = [0x0f, 62 - 15, 1, b'w'];
        decoder.next(&mut &borrowed[..], Keep::Nothing, &mut arena).expect("a field").expect("a field");
        assert!(arena.capacity() < 1_000, "the name was copied: {}", arena.capacity());
        let line = decoder.next(&mut &borrowed[..], Keep::Line, &mut arena).expect("a field").expect("a field");
        assert_eq!((line.name, line.kind), (4_000, Kind::Refused(Wrong::Name)));
    }

    /// A bad value does not make its entry's name bad.
    #[test]
    fn a_name_outlives_a_bad_value() {
        let mut decoder = Decoder::new(4096);
        let mut arena = Vec::new();
        let mut judged = |block: &[u8]| {
            let line = decoder.next(&mut &block[..], Keep::Line, &mut arena);
            line.expect("a field").expect("a field").kind
        };
        assert_eq!(judged(&[0x40, 1, b'n', 1, b' ']), Kind::Refused(Wrong::Value));
        assert_eq!(judged(&[0x80 | 62]), Kind::Refused(Wrong::Value));
        assert_eq!(judged(&[0x0f, 62 - 15, 1, b'v']), Kind::Field(Known::Other));
    }
}
