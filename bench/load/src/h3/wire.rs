//! The bytes of HTTP/3: frames of requests, and numbers.

use bytes::Bytes;

use crate::huffman;
use crate::request::{self, Fields};

/// Types of frames (RFC 9114 section 7.2).
pub const DATA: u64 = 0;
pub const HEADERS: u64 = 1;

/// What the client's control stream says: its type, and settings that change nothing. So servers use no dynamic table.
pub const CONTROL: &[u8] = &[0, 4, 0];

/// How the field section of every 200 begins that servers write: no dynamic table, then the static table's `:status: 200`.
pub const STATUS_200: [u8; 3] = [0, 0, 0xc0 | 25];

/// The request of route `n`, a whole stream.
pub fn request(route: usize, fields: Fields) -> Bytes {
    let (host, path) = request::place(route);
    get(&host, &path, fields)
}

/// A request for anything.
pub fn get(host: &str, path: &str, fields: Fields) -> Bytes {
    // No insert count and no base, then `:method: GET` and `:scheme: https` of the static table (RFC 9204 sections 4.5.1 and 4.5.2).
    let mut section = vec![0, 0, 0xc0 | 17, 0xc0 | 23];
    field(":authority", host, &mut section);
    field(":path", path, &mut section);
    for (name, value) in fields.lines() {
        field(&name.to_ascii_lowercase(), value, &mut section);
    }
    let mut frame = vec![HEADERS as u8];
    // Two bytes hold any length that is asked for here.
    frame.extend_from_slice(&(0x4000 | section.len() as u16).to_be_bytes());
    frame.extend_from_slice(&section);
    frame.into()
}

/// Reads a number (RFC 9000 section 16); says how long it is. None if it is not all there.
pub fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    Some((rest.iter().fold(u64::from(first & 0x3f), |number, &byte| number << 8 | u64::from(byte)), length))
}

/// A field whose name is in the static table where that has it, and whose value is spelled out (RFC 9204 sections 4.5.4 and 4.5.6).
fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    match STATIC.iter().find(|(_, known)| *known == name) {
        Some(&(index, _)) => integer(0x50, 4, index, out),
        None => string(0x20, 3, name, out),
    }
    string(0, 7, value, out);
}

/// A string in Huffman's code behind `flags`; the bit above its length says that it is.
fn string(flags: u8, prefix: u32, text: &str, out: &mut Vec<u8>) {
    let mut coded = Vec::new();
    huffman::encode(text.as_bytes(), &mut coded);
    integer(flags | 1 << prefix, prefix, coded.len(), out);
    out.extend_from_slice(&coded);
}

/// A number in the lower `prefix` bits behind `flags`, and as many bytes as it needs (RFC 7541 section 5.1).
fn integer(flags: u8, prefix: u32, number: usize, out: &mut Vec<u8>) {
    let most = (1 << prefix) - 1;
    if number < most {
        return out.push(flags | number as u8);
    }
    out.push(flags | most as u8);
    let mut rest = number - most;
    while rest >= 128 {
        out.push(0x80 | (rest % 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// The names that requests have and the static table knows (RFC 9204 appendix A).
const STATIC: &[(usize, &str)] = &[
    (0, ":authority"),
    (1, ":path"),
    (5, "cookie"),
    (13, "referer"),
    (29, "accept"),
    (31, "accept-encoding"),
    (72, "accept-language"),
    (95, "user-agent"),
];

#[cfg(test)]
mod tests {
    use super::{get, integer, number};
    use crate::request::Fields;

    #[test]
    fn numbers_are_read_once_they_are_whole() {
        let eight = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(number(&eight), Some((151_288_809_941_952_652, 8)));
        assert_eq!(number(&[0x7b, 0xbd, 1]), Some((15_293, 2)));
        assert_eq!(number(&[0x25]), Some((37, 1)));
        for cut in 0..8 {
            assert_eq!(number(&eight[..cut]), None);
        }
    }

    #[test]
    fn integers_are_written_as_in_the_examples() {
        let mut out = Vec::new();
        integer(0, 5, 10, &mut out);
        integer(0, 5, 1337, &mut out);
        assert_eq!(out, [10, 31, 154, 10]);
    }

    #[test]
    fn a_request_is_one_frame() {
        let request = get("www.example.com", "/", Fields::HostOnly);
        let name = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        let mut expected = vec![1, 0x40, 21, 0, 0, 0xd1, 0xd7, 0x50, 0x8c];
        expected.extend_from_slice(&name);
        expected.extend_from_slice(&[0x51, 0x81, 0x63]);
        assert_eq!(request, expected);
    }
}
