//! The `h2` crate and `fluke-hpack` as somebody else's opinion of what we write and read.
//!
//! - [`theirs`]: a side of the `h2` crate, moved by hand: no socket, no task, no clock
//! - [`ours`]: a side of ours, told in the same words
//! - [`talk`]: both in a conversation, well meant
//! - [`faults`]: both in front of frames that somebody has broken
//! - [`blocks`]: blocks of fields, by two decoders

pub(crate) mod blocks;
pub(crate) mod faults;
mod ours;
pub(crate) mod talk;
mod theirs;

use std::collections::BTreeMap;

/// A message as either side tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// `GET authority /path`, or the status; empty until a head has come.
    start: String,
    fields: Fields,
    content: Vec<u8>,
    trailers: Fields,
    ended: bool,
}

/// Values by name: how fields of several names stand among each other says nothing.
type Fields = BTreeMap<String, Vec<Vec<u8>>>;

impl Message {
    fn has_head(&self) -> bool {
        !self.start.is_empty()
    }
}

fn note(fields: &mut Fields, name: &str, value: &[u8]) {
    fields.entry(name.to_ascii_lowercase()).or_default().push(value.to_vec());
}

/// Crumbs are one field (RFC 9113 section 8.2.3), and `Host` is said by the first line.
fn normal(mut fields: Fields) -> Fields {
    fields.remove("host");
    if let Some(crumbs) = fields.get_mut("cookie") {
        crumbs.retain(|crumb| !crumb.is_empty());
        *crumbs = vec![crumbs.join(&b"; "[..])];
    }
    fields
}

/// Choices, drawn from bytes; zeros once they are used up.
pub(crate) struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Draw<'a> {
        Draw(bytes)
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `most`, which is at most 65,536.
    fn below(&mut self, most: usize) -> usize {
        if most == 0 { 0 } else { (usize::from(self.byte()) << 8 | usize::from(self.byte())) % most }
    }

    fn request(&mut self) -> Message {
        let method = ["GET", "POST", "PUT", "OPTIONS", "QUERY"][self.below(5)];
        let authority = ["a", "example.com", "example.com:8080", "[::1]:80"][self.below(4)];
        let path = ["/", "/index.html", "/a/b?c=d&e", "/%41?"][self.below(4)];
        self.message(format!("{method} {authority} {path}"))
    }

    fn response(&mut self) -> Message {
        let status = ["200", "204", "206", "304", "404", "500", "201", "599"][self.below(8)];
        let mut message = self.message(status.to_owned());
        if status == "204" || status == "304" {
            message.content.clear();
            message.fields.remove("content-length");
        }
        message
    }

    fn message(&mut self, start: String) -> Message {
        let mut message = Message { start, ended: true, ..Message::default() };
        for _ in 0..self.byte() % 6 {
            let name = ["accept", "x-a", "cookie", "authorization", "cache-control", "x-b-c-d", "via"][self.below(7)];
            let value = self.value();
            note(&mut message.fields, name, &value);
        }
        let length = match self.byte() % 4 {
            0 => 0,
            1 => self.below(40),
            2 => self.below(5_000),
            _ => self.below(65_536),
        };
        message.content = (0..length).map(|at| (at % 251) as u8).collect();
        if length > 0 && self.byte().is_multiple_of(3) {
            note(&mut message.fields, "content-length", length.to_string().as_bytes());
        }
        for _ in 0..(self.byte() % 8).saturating_sub(5) {
            let value = self.value();
            note(&mut message.trailers, ["grpc-status", "x-sum"][self.below(2)], &value);
        }
        message
    }

    /// Text that no reader trims; now and then so much of it that a block needs CONTINUATION.
    fn value(&mut self) -> Vec<u8> {
        let length = if self.byte() % 32 == 31 { 9_000 } else { self.below(24) };
        let seed = self.byte();
        let mut value: Vec<u8> = (0..length).map(|at| b'!' + ((at * 7 + usize::from(seed)) % 94) as u8).collect();
        if length > 2 {
            value[1] = [b' ', b'\t', 0x80, 0xff, b'z'][self.below(5)];
        }
        value
    }
}
