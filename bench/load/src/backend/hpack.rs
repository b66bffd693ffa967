//! Heads of HTTP/2 requests as text (RFC 7541), for whoever wants to see one.

use std::collections::VecDeque;

use crate::huffman;

/// The decoder of one connection: it must see every head up to the last one that is wanted.
pub struct Decoder {
    /// Newest first.
    entries: VecDeque<(String, String)>,
    limit: usize,
}

/// What a peer may use of a table that nobody has limited.
const LIMIT: usize = 4096;
/// What an entry counts beyond its text (section 4.1).
const OVERHEAD: usize = 32;

impl Decoder {
    pub fn new() -> Self {
        Self { entries: VecDeque::new(), limit: LIMIT }
    }

    /// All fields of a block, pseudo-fields included, or none if it is not what it should be.
    pub fn decode(&mut self, mut block: &[u8]) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut block, 7)?;
                fields.push(self.entry(index)?);
            } else if first & 0xe0 == 0x20 {
                self.limit = integer(&mut block, 5)?.min(LIMIT);
                self.evict();
            } else {
                let keeps = first & 0x40 != 0;
                let name = match integer(&mut block, if keeps { 6 } else { 4 })? {
                    0 => string(&mut block)?,
                    index => self.entry(index)?.0,
                };
                let field = (name, string(&mut block)?);
                if keeps {
                    self.entries.push_front(field.clone());
                    self.evict();
                }
                fields.push(field);
            }
        }
        Some(fields)
    }

    fn entry(&self, index: usize) -> Option<(String, String)> {
        match STATIC.get(index.checked_sub(1)?) {
            Some(&(name, value)) => Some((name.to_owned(), value.to_owned())),
            None => self.entries.get(index - 1 - STATIC.len()).cloned(),
        }
    }

    fn evict(&mut self) {
        let size = |(name, value): &(String, String)| name.len() + value.len() + OVERHEAD;
        while self.entries.iter().map(size).sum::<usize>() > self.limit {
            self.entries.pop_back();
        }
    }
}

fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let most = (1 << prefix) - 1;
    let (&first, rest) = block.split_first()?;
    *block = rest;
    let mut number = usize::from(first) & most;
    if number < most {
        return Some(number);
    }
    for shift in (0..28).step_by(7) {
        let (&byte, rest) = block.split_first()?;
        *block = rest;
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn string(block: &mut &[u8]) -> Option<String> {
    let coded = block.first()? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    let mut text = Vec::new();
    if coded {
        huffman::decode(bytes, &mut text)?;
    } else {
        text.extend_from_slice(bytes);
    }
    String::from_utf8(text).ok()
}

/// Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::Decoder;

    /// The requests of appendix C.4, on one connection.
    #[test]
    fn the_examples_are_read() {
        let mut decoder = Decoder::new();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let last = |fields: Option<Vec<(String, String)>>| fields.and_then(|mut fields| fields.pop());
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(last(decoder.decode(first)), pair(":authority", "www.example.com"));
        assert_eq!(last(decoder.decode(second)), pair("cache-control", "no-cache"));
        let fields = decoder.decode(third).expect("a block");
        assert_eq!(fields.get(3).cloned(), pair(":authority", "www.example.com"));
        assert_eq!(last(Some(fields)), pair("custom-key", "custom-value"));
    }
}
