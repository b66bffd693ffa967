//! Fields that come as whole lines, `name: value\r\n`: our own, and those that decoders of field blocks write to the arena.

use super::{Field, FieldRef, Head, Span};
use crate::known::Known;

impl Head {
    /// Adds a field that is given as its whole line, `name: value\r\n`, with a name of this length.
    #[inline]
    pub(crate) fn add_line(&mut self, known: Known, name: usize, line: &'static [u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(line);
        self.present |= known.bit();
        let value = Span::of(start + name + 2, line.len() - name - 4);
        self.fields.push(Field { name: Span::of(start, name), value, known, canonical: true, secret: false });
    }

    /// The arena, for a decoder that writes lines, `name: value\r\n`, behind what is there.
    #[inline]
    pub(crate) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// Adds the field of a line that a decoder has written to the arena.
    #[inline]
    pub(crate) fn index_line(&mut self, start: usize, name: usize, value: usize, known: Known, secret: bool) {
        self.present |= known.bit();
        let (name, value) = (Span::of(start, name), Span::of(start + name + 2, value));
        self.fields.push(Field { name, value, known, canonical: true, secret });
    }

    /// Puts one field in the place of all with a known name, with their values behind each other.
    pub(crate) fn join(&mut self, known: Known, name: &[u8], separator: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(name);
        self.arena.extend_from_slice(b": ");
        let (mut first, mut secret) = (true, false);
        // Empty values say nothing, and at the end would leave the separator's white space, which no value may have.
        for field in self.fields.iter().filter(|field| field.known == known && field.value.start() < field.value.end())
        {
            if !std::mem::take(&mut first) {
                self.arena.extend_from_slice(separator);
            }
            self.arena.extend_from_within(field.value.start()..field.value.end());
            secret |= field.secret;
        }
        let value = self.arena.len() - start - name.len() - 2;
        self.arena.extend_from_slice(b"\r\n");
        self.remove_known(known);
        self.index_line(start, name.len(), value, known, secret);
    }

    /// All fields, and whether each must be kept out of the tables of compressors.
    pub(crate) fn fields_and_secrets(&self) -> impl Iterator<Item = (FieldRef<'_>, bool)> {
        self.fields.iter().map(|field| {
            (
                FieldRef { name: self.bytes(field.name), value: self.bytes(field.value), known: field.known },
                field.secret,
            )
        })
    }

    /// Bytes that a message of ours has to hold for its fields, about.
    pub(crate) fn size_hint(&self) -> usize {
        self.arena.len() + 64
    }

    /// Makes a range of the arena the protocol that the request wants to switch to.
    pub(crate) fn protocol_at(&mut self, protocol: Span) {
        self.protocol = protocol;
    }

    /// The bytes of a range.
    pub(crate) fn text(&self, span: Span) -> &[u8] {
        self.bytes(span)
    }
}
