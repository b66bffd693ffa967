//! Field lines to field sections (RFC 9204 section 4.5).

use super::table;
use crate::h2::hpack::encode::{integer, string};
use crate::head::Scheme;

/// Begins a section that needs no table.
#[inline]
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends a status.
#[inline]
pub fn status(status: u16, out: &mut Vec<u8>) {
    if let Some(index) = table::status(status) {
        return integer(0xc0, 6, index, out);
    }
    integer(0x50, 4, table::STATUS, out);
    let digits = [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
    string(&digits, out);
}

/// Appends a method.
pub fn method(method: &[u8], out: &mut Vec<u8>) {
    match table::method(method) {
        Some(index) => integer(0xc0, 6, index, out),
        None => {
            integer(0x50, 4, table::METHOD, out);
            string(method, out);
        }
    }
}

/// Appends a scheme.
pub fn scheme(scheme: Scheme, out: &mut Vec<u8>) {
    integer(0xc0, 6, if scheme == Scheme::Http { table::HTTP } else { table::HTTPS }, out);
}

/// Appends a path, and what stands behind its question mark.
pub fn path(path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
    match query {
        None if path == b"/" => integer(0xc0, 6, table::PATH, out),
        None => {
            integer(0x50, 4, table::PATH, out);
            string(path, out);
        }
        Some(query) => {
            integer(0x50, 4, table::PATH, out);
            string(&[path, b"?", query].concat(), out);
        }
    }
}

/// Appends an authority.
pub fn authority(authority: &[u8], out: &mut Vec<u8>) {
    integer(0x50, 4, table::AUTHORITY, out);
    string(authority, out);
}

/// Appends a field, its name in lower case. One that is secret says so to all who pass it on.
#[inline]
pub fn field(name: &[u8], value: &[u8], secret: bool, out: &mut Vec<u8>) {
    let mut lower = [0; table::LONGEST];
    if let Some(lower) = lower.get_mut(..name.len()) {
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        if let Some(index) = table::index_of(lower) {
            integer(if secret { 0x70 } else { 0x50 }, 4, index, out);
            return string(value, out);
        }
    }
    integer(if secret { 0x30 } else { 0x20 }, 3, name.len(), out);
    let at = out.len();
    out.extend_from_slice(name);
    out[at..].make_ascii_lowercase();
    string(value, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::hpack::decode::Keep;

    #[test]
    fn what_is_written_is_read() {
        let long = vec![b'v'; 5000];
        let mut block = Vec::new();
        begin(&mut block);
        status(200, &mut block);
        status(418, &mut block);
        field(b"Content-Type", b"text/plain", false, &mut block);
        field(b"X-Long-Name-That-Is-In-No-Table-At-All", &long, true, &mut block);
        let mut decoder = super::super::Decoder::begin(&block).expect("a prefix");
        let (mut arena, mut lines) = (Vec::new(), Vec::new());
        while let Some(line) = decoder.next(Keep::Line, &mut arena).expect("the format") {
            lines.push((arena[line.start..line.start + line.name].to_vec(), line.value, line.secret));
        }
        let expected: [(&[u8], usize, bool); 4] = [
            (b":status", 3, false),
            (b":status", 3, false),
            (b"content-type", 10, false),
            (b"x-long-name-that-is-in-no-table-at-all", 5000, true),
        ];
        assert_eq!(lines.len(), 4);
        for (line, wanted) in lines.iter().zip(expected) {
            assert_eq!((&line.0[..], line.1, line.2), wanted);
        }
    }
}
