//! The tables that indices point into (RFC 7541 sections 2.3 and 4, appendix A).
//!
//! Both hold fields as the head's arena does, `name: value\r\n`, so that an indexed field is one copy. What was judged
//! about a field when it came in stays with its entry: a field that is repeated in each request is judged once.

use std::collections::VecDeque;

use crate::h2::field::{Kind, Pseudo, Wrong};
use crate::known::Known;

/// One entry of a table.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// `name: value\r\n`
    pub line: &'a [u8],
    /// Bytes of the name.
    pub name: usize,
    /// What the field is.
    pub kind: Kind,
    /// What the name alone says: a literal may borrow it for another value.
    pub name_kind: Kind,
}

/// The dynamic table of a decoder.
#[derive(Debug, Default)]
pub struct Dynamic {
    /// The lines of all entries, oldest first, with a stretch of dead bytes before them.
    bytes: Vec<u8>,
    /// How many dead bytes there are.
    dead: usize,
    /// How many bytes have left the front since the table began: entries know their place counted from there.
    gone: u64,
    /// Oldest first.
    entries: VecDeque<Place>,
    /// The size by RFC 7541 section 4.1.
    size: usize,
    /// The size that the encoder has chosen.
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    name: u32,
    value: u32,
    kind: Kind,
    name_kind: Kind,
}

impl Place {
    fn line(self) -> usize {
        self.name as usize + self.value as usize + LINE_OVERHEAD
    }

    fn size(self) -> usize {
        self.name as usize + self.value as usize + OVERHEAD
    }
}

/// What RFC 7541 section 4.1 counts for an entry beyond its text.
pub const OVERHEAD: usize = 32;

/// What a line has beyond name and value.
pub const LINE_OVERHEAD: usize = 4;

impl Dynamic {
    /// An empty table that may grow to this size.
    pub fn new(limit: usize) -> Dynamic {
        Dynamic { limit, ..Dynamic::default() }
    }

    /// The size by RFC 7541 section 4.1.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of memory that the table holds.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Place>()
    }

    /// Sets the size that the encoder has chosen (section 4.3); what does not fit goes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.evict(0);
    }

    /// Adds an entry that is given as its whole line, `name: value\r\n`. An entry larger than the table empties it (section 4.4).
    pub fn add(&mut self, line: &[u8], name: usize, name_kind: Kind, kind: Kind) {
        let value = line.len() - name - LINE_OVERHEAD;
        let size = name + value + OVERHEAD;
        self.evict(size);
        if size > self.limit {
            return;
        }
        // Living lines move to the front only when as many dead bytes lie there: each byte moves about once.
        if self.bytes.len() + line.len() > self.bytes.capacity() && self.dead * 2 >= self.bytes.len() {
            self.bytes.drain(..self.dead);
            self.gone += self.dead as u64;
            self.dead = 0;
        }
        let at = self.gone + self.bytes.len() as u64;
        self.bytes.extend_from_slice(line);
        self.entries.push_back(Place { at, name: name as u32, value: value as u32, kind, name_kind });
        self.size += size;
    }

    /// The entry at this place, 0 being the newest.
    pub fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let at = self.entries.len().checked_sub(index + 1)?;
        let place = self.entries[at];
        let start = (place.at - self.gone) as usize;
        let line = &self.bytes[start..start + place.line()];
        Some(Entry { line, name: place.name as usize, kind: place.kind, name_kind: place.name_kind })
    }

    fn evict(&mut self, coming: usize) {
        while self.size + coming > self.limit {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
            self.dead += oldest.line();
        }
        if self.entries.is_empty() {
            self.gone += self.bytes.len() as u64;
            self.bytes.clear();
            self.dead = 0;
        }
    }
}

/// The entry of the static table at this index, which begins with 1.
pub fn fixed(index: usize) -> Option<Entry<'static>> {
    let (name, line, kind) = *STATIC.get(index.checked_sub(1)?)?;
    // No value in it changes what its name says.
    Some(Entry { line, name, kind, name_kind: kind })
}

/// The number of entries in the static table.
pub const FIXED: usize = 61;

/// The index of a name, in lower case, in the static table; that of the first entry with it.
pub fn index_of(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"accept-charset" => 15,
        b"accept-encoding" => 16,
        b"accept-language" => 17,
        b"accept-ranges" => 18,
        b"accept" => 19,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"authorization" => 23,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-length" => 28,
        b"content-location" => 29,
        b"content-range" => 30,
        b"content-type" => 31,
        b"cookie" => 32,
        b"date" => 33,
        b"etag" => 34,
        b"expect" => 35,
        b"expires" => 36,
        b"from" => 37,
        b"host" => 38,
        b"if-match" => 39,
        b"if-modified-since" => 40,
        b"if-none-match" => 41,
        b"if-range" => 42,
        b"if-unmodified-since" => 43,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"max-forwards" => 47,
        b"proxy-authenticate" => 48,
        b"proxy-authorization" => 49,
        b"range" => 50,
        b"referer" => 51,
        b"refresh" => 52,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"transfer-encoding" => 57,
        b"user-agent" => 58,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => return None,
    })
}

const fn pseudo(pseudo: Pseudo, name: usize, line: &'static [u8]) -> (usize, &'static [u8], Kind) {
    (name, line, Kind::Pseudo(pseudo))
}

const fn field(known: Known, line: &'static [u8]) -> (usize, &'static [u8], Kind) {
    // All but one have no value: the name is what stands before `: \r\n`.
    (line.len() - LINE_OVERHEAD, line, Kind::Field(known))
}

const fn other(line: &'static [u8]) -> (usize, &'static [u8], Kind) {
    field(Known::Other, line)
}

/// Appendix A.
static STATIC: [(usize, &[u8], Kind); FIXED] = [
    pseudo(Pseudo::Authority, 10, b":authority: \r\n"),
    pseudo(Pseudo::Method, 7, b":method: GET\r\n"),
    pseudo(Pseudo::Method, 7, b":method: POST\r\n"),
    pseudo(Pseudo::Path, 5, b":path: /\r\n"),
    pseudo(Pseudo::Path, 5, b":path: /index.html\r\n"),
    pseudo(Pseudo::Scheme, 7, b":scheme: http\r\n"),
    pseudo(Pseudo::Scheme, 7, b":scheme: https\r\n"),
    pseudo(Pseudo::Status, 7, b":status: 200\r\n"),
    pseudo(Pseudo::Status, 7, b":status: 204\r\n"),
    pseudo(Pseudo::Status, 7, b":status: 206\r\n"),
    pseudo(Pseudo::Status, 7, b":status: 304\r\n"),
    pseudo(Pseudo::Status, 7, b":status: 400\r\n"),
    pseudo(Pseudo::Status, 7, b":status: 404\r\n"),
    pseudo(Pseudo::Status, 7, b":status: 500\r\n"),
    other(b"accept-charset: \r\n"),
    (15, b"accept-encoding: gzip, deflate\r\n", Kind::Field(Known::Other)),
    other(b"accept-language: \r\n"),
    other(b"accept-ranges: \r\n"),
    other(b"accept: \r\n"),
    other(b"access-control-allow-origin: \r\n"),
    other(b"age: \r\n"),
    other(b"allow: \r\n"),
    other(b"authorization: \r\n"),
    other(b"cache-control: \r\n"),
    other(b"content-disposition: \r\n"),
    other(b"content-encoding: \r\n"),
    other(b"content-language: \r\n"),
    field(Known::ContentLength, b"content-length: \r\n"),
    other(b"content-location: \r\n"),
    other(b"content-range: \r\n"),
    other(b"content-type: \r\n"),
    field(Known::Cookie, b"cookie: \r\n"),
    field(Known::Date, b"date: \r\n"),
    other(b"etag: \r\n"),
    field(Known::Expect, b"expect: \r\n"),
    other(b"expires: \r\n"),
    other(b"from: \r\n"),
    field(Known::Host, b"host: \r\n"),
    other(b"if-match: \r\n"),
    other(b"if-modified-since: \r\n"),
    other(b"if-none-match: \r\n"),
    other(b"if-range: \r\n"),
    other(b"if-unmodified-since: \r\n"),
    other(b"last-modified: \r\n"),
    other(b"link: \r\n"),
    other(b"location: \r\n"),
    other(b"max-forwards: \r\n"),
    field(Known::ProxyAuthenticate, b"proxy-authenticate: \r\n"),
    field(Known::ProxyAuthorization, b"proxy-authorization: \r\n"),
    other(b"range: \r\n"),
    field(Known::Referer, b"referer: \r\n"),
    other(b"refresh: \r\n"),
    other(b"retry-after: \r\n"),
    other(b"server: \r\n"),
    other(b"set-cookie: \r\n"),
    other(b"strict-transport-security: \r\n"),
    (17, b"transfer-encoding: \r\n", Kind::Refused(Wrong::OfConnection)),
    field(Known::UserAgent, b"user-agent: \r\n"),
    other(b"vary: \r\n"),
    field(Known::Via, b"via: \r\n"),
    other(b"www-authenticate: \r\n"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table_is_what_it_says() {
        for (index, (name, line, kind)) in STATIC.iter().enumerate() {
            let text = &line[..*name];
            assert_eq!(&line[*name..*name + 2], b": ", "{}", line.escape_ascii());
            match kind {
                Kind::Field(known) => assert_eq!(*known, Known::of(text)),
                Kind::Pseudo(_) => assert!(text.starts_with(b":")),
                Kind::Refused(_) => assert_eq!(text, b"transfer-encoding"),
            }
            assert_eq!(index_of(text), (index >= 14).then_some(index + 1));
            assert_eq!(Kind::of(text), *kind);
        }
    }

    const OTHER: Kind = Kind::Field(Known::Other);

    fn line(text: &str) -> (Vec<u8>, usize) {
        (format!("{text}\r\n").into_bytes(), text.find(": ").expect("a colon"))
    }

    #[test]
    fn the_oldest_go_and_the_rest_stays_whole() {
        let mut table = Dynamic::new(200);
        for number in 0..1000 {
            let (line, name) = line(&format!("name-{number}: value-{number}"));
            table.add(&line, name, OTHER, OTHER);
            assert!(table.size() <= 200);
            for back in 0..table.len() {
                let entry = table.entry(back).expect("an entry");
                let of = number - back;
                assert_eq!(entry.line, format!("name-{of}: value-{of}\r\n").as_bytes());
            }
            assert!(table.entry(table.len()).is_none());
        }
        assert!(table.capacity() < 2048, "{}", table.capacity());
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Dynamic::new(100);
        let (short, name) = line("a: b");
        table.add(&short, name, OTHER, OTHER);
        assert_eq!((table.len(), table.size()), (1, 34));
        let (long, name) = line(&format!("a: {}", "b".repeat(100)));
        table.add(&long, name, OTHER, OTHER);
        assert_eq!((table.len(), table.size()), (0, 0));
    }
}
