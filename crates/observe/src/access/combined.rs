//! A record as one line of Apache's combined log format.

use wire::Version;

use super::{Record, address, escape};
use crate::stamp::Stamp;

/// Appends the line, with its line end.
pub(super) fn write(record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    address::ip(record.client.0, out);
    out.extend_from_slice(b" - ");
    match record.user {
        // A space would make two fields of a name.
        Some(user) if !user.is_empty() => user.split(|byte| *byte == b' ').enumerate().for_each(|(number, part)| {
            out.extend_from_slice(if number > 0 { b"\\x20" } else { b"" });
            escape::combined(part, out);
        }),
        _ => out.push(b'-'),
    }
    out.extend_from_slice(b" [");
    stamp.clf(record.time, out);
    out.extend_from_slice(b"] \"");
    request_line(record, out);
    out.extend_from_slice(b"\" ");
    count(u64::from(record.status), out);
    out.push(b' ');
    count(record.bytes_out, out);
    field(record.referer, out);
    field(record.user_agent, out);
    out.push(b'\n');
}

fn request_line(record: &Record<'_>, out: &mut Vec<u8>) {
    if record.method.is_empty() {
        return out.push(b'-');
    }
    escape::combined(record.method, out);
    out.push(b' ');
    // A request without a path is one for an authority: CONNECT.
    escape::combined(if record.path.is_empty() { record.host } else { record.path }, out);
    if let Some(query) = record.query {
        out.push(b'?');
        escape::combined(query, out);
    }
    out.extend_from_slice(match record.version {
        None => b"",
        Some(Version::H10) => b" HTTP/1.0",
        Some(Version::H11) => b" HTTP/1.1",
        Some(Version::H2) => b" HTTP/2",
        Some(Version::H3) => b" HTTP/3",
    });
}

fn count(value: u64, out: &mut Vec<u8>) {
    match value {
        0 => out.push(b'-'),
        value => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

fn field(value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    match value {
        Some(value) => escape::combined(value, out),
        None => out.push(b'-'),
    }
    out.push(b'"');
}
