//! Edits of a head's fields. What is written goes to the arena's end; the index alone says where a field stands.

use super::{Field, FieldRef, Head, Span, slice};
use crate::known::Known;

impl Head {
    /// Adds a field at the end. The caller has made sure that name and value are valid.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.add_parts(name, &[value]);
    }

    /// Adds a field whose value is the concatenation of these parts.
    pub fn add_parts(&mut self, name: &[u8], parts: &[&[u8]]) {
        let name = self.push(name);
        self.arena.extend_from_slice(b": ");
        let start = self.arena.len();
        for part in parts {
            self.arena.extend_from_slice(part);
        }
        let value = Span::of(start, self.arena.len() - start);
        self.arena.extend_from_slice(b"\r\n");
        let known = Known::of(self.bytes(name));
        self.present |= known.bit();
        self.fields.push(Field { name, value, known, canonical: true, secret: false });
    }

    /// Replaces all fields of this name by one, which stands where the first of them stood, or else at the end.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let known = one_name(name);
        let is_it = |arena: &[u8], field: &Field| match known {
            Some(known) => field.known == known,
            None => slice(arena, field.name).eq_ignore_ascii_case(name),
        };
        let Some(at) = self.fields.iter().position(|field| is_it(&self.arena, field)) else {
            return self.add(name, value);
        };
        let arrived = self.fields[at];
        let is_spelled = self.bytes(arrived.name).eq_ignore_ascii_case(name);
        let name = if is_spelled { arrived.name } else { self.push(name) };
        self.fields[at] = Field { name, value: self.push(value), canonical: false, ..arrived };
        let (arena, mut seen) = (&self.arena, false);
        self.fields.retain(|field| !is_it(arena, field) || !std::mem::replace(&mut seen, true));
    }

    /// Calls the first field of a known name by another, where it stands; says whether there was one.
    pub fn rename(&mut self, known: Known, name: &[u8]) -> bool {
        let Some(at) = self.fields.iter().position(|field| field.known == known) else { return false };
        let name = self.push(name);
        let renamed = Known::of(self.bytes(name));
        let field = &mut self.fields[at];
        (field.name, field.known, field.canonical) = (name, renamed, false);
        self.present |= renamed.bit();
        if !self.fields.iter().any(|field| field.known == known) {
            self.present &= !known.bit();
        }
        true
    }

    /// Removes all fields of this name, letter case ignored; says whether there were any.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        if let Some(known) = one_name(name) {
            return self.remove_known(known);
        }
        let before = self.fields.len();
        let arena = &self.arena;
        self.fields.retain(|field| !slice(arena, field.name).eq_ignore_ascii_case(name));
        before != self.fields.len()
    }

    /// Removes all fields with a known name; says whether there were any.
    pub fn remove_known(&mut self, known: Known) -> bool {
        if !self.has(known) {
            return false;
        }
        self.fields.retain(|field| field.known != known);
        self.present &= !known.bit();
        true
    }

    /// Keeps only the fields that the predicate likes.
    pub fn retain(&mut self, mut keep: impl FnMut(FieldRef<'_>) -> bool) {
        let arena = &self.arena;
        let mut present = 0;
        self.fields.retain(|field| {
            let stays =
                keep(FieldRef { name: slice(arena, field.name), value: slice(arena, field.value), known: field.known });
            if stays {
                present |= field.known.bit();
            }
            stays
        });
        self.present = present;
    }
}

/// The id of a name, if it is no other name's.
fn one_name(name: &[u8]) -> Option<Known> {
    Some(Known::of(name)).filter(|known| !matches!(known, Known::Other | Known::XForwardedOther | Known::Misspelled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        fields.iter().for_each(|(name, value)| head.add(name.as_bytes(), value.as_bytes()));
        head
    }

    fn text(head: &Head) -> String {
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_field_that_is_set_stays_where_it_stood() {
        let mut it = head(&[("A", "1"), ("USER-agent", "x"), ("B", "2"), ("User-Agent", "y"), ("C", "3")]);
        it.set(b"user-agent", b"new");
        assert_eq!(text(&it), "A: 1\r\nUSER-agent: new\r\nB: 2\r\nC: 3\r\n");
        it.set(b"b", b"");
        it.set(b"d", b"4");
        assert_eq!(text(&it), "A: 1\r\nUSER-agent: new\r\nB: \r\nC: 3\r\nd: 4\r\n");
        // No spelling that somebody behind us takes for it is left over.
        let mut it = head(&[("X_Real_IP", "6.6.6.6"), ("A", "1"), ("X-Real-IP", "7.7.7.7")]);
        it.set(b"x-real-ip", b"1.1.1.1");
        assert_eq!(text(&it), "x-real-ip: 1.1.1.1\r\nA: 1\r\n");
        let mut it = head(&[("X-Forwarded-Host", "a"), ("X-Forwarded-Proto", "b")]);
        it.set(b"x-forwarded-proto", b"c");
        assert_eq!(text(&it), "X-Forwarded-Host: a\r\nX-Forwarded-Proto: c\r\n");
    }

    #[test]
    fn a_field_that_is_renamed_stays_where_it_stood() {
        let mut it = head(&[("A", "1"), ("Proxy-Connection", "keep-alive"), ("B", "2")]);
        assert!(it.rename(Known::ProxyConnection, b"Connection"));
        assert_eq!(text(&it), "A: 1\r\nConnection: keep-alive\r\nB: 2\r\n");
        assert!(it.has(Known::Connection) && !it.has(Known::ProxyConnection));
        assert!(!it.rename(Known::ProxyConnection, b"Connection"));
    }
}
