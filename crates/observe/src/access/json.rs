//! A record as one line of JSON. The keys are documented in the module above.

use std::os::unix::ffi::OsStrExt;

use wire::Version;

use super::{Address, Record, address, escape};
use crate::stamp::Stamp;

/// Appends the line, with its line end.
pub(super) fn write(record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.rfc3339(record.time, out);
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(&record.id.hex());
    out.push(b'"');
    text(b",\"listener\":\"", record.listener.as_bytes(), out);
    maybe_text(b",\"route\":\"", record.route.map(str::as_bytes), out);
    out.extend_from_slice(b",\"client\":\"");
    address::ip(record.client.0, out);
    out.extend_from_slice(b"\",\"peer\":\"");
    address::socket(record.peer.0, out);
    out.push(b'"');
    maybe_text(b",\"user\":\"", record.user, out);
    request(record, out);
    if record.status != 0 {
        number(b",\"status\":", u64::from(record.status), out);
    }
    maybe_number(b",\"grpc_status\":", record.grpc_status.map(u64::from), out);
    upstream(record, out);
    number(b",\"bytes_in\":", record.bytes_in, out);
    number(b",\"bytes_out\":", record.bytes_out, out);
    maybe_number(b",\"datagrams_in\":", record.datagrams.map(|(come, _)| come), out);
    maybe_number(b",\"datagrams_out\":", record.datagrams.map(|(_, gone)| gone), out);
    maybe_number(b",\"head_us\":", record.phases.head_us, out);
    maybe_number(b",\"queue_us\":", record.phases.queue_us, out);
    maybe_number(b",\"connect_us\":", record.phases.connect_us, out);
    maybe_number(b",\"response_us\":", record.phases.response_us, out);
    number(b",\"total_us\":", record.phases.total_us, out);
    maybe_text(b",\"interception\":\"", some(record.interception.as_bytes()), out);
    maybe_text(b",\"unread\":\"", some(record.unread.as_bytes()), out);
    maybe_text(b",\"limit\":\"", record.limit.map(str::as_bytes), out);
    maybe_text(b",\"list\":\"", record.listed.map(|(list, _)| list.as_bytes()), out);
    maybe_text(b",\"rule\":\"", record.listed.map(|(_, rule)| rule.as_bytes()), out);
    if record.cut {
        out.extend_from_slice(b",\"cut\":true");
    }
    if let Some(fault) = record.fault {
        text(b",\"fault\":\"", fault.code().as_bytes(), out);
        text(b",\"side\":\"", crate::side_name(fault.side).as_bytes(), out);
        maybe_text(b",\"reason\":\"", some(record.reason.as_bytes()), out);
    }
    out.extend_from_slice(b"}\n");
}

fn request(record: &Record<'_>, out: &mut Vec<u8>) {
    maybe_text(b",\"method\":\"", some(record.method), out);
    maybe_text(b",\"host\":\"", some(record.host), out);
    maybe_number(b",\"port\":", record.port.map(u64::from), out);
    maybe_text(b",\"path\":\"", some(record.path), out);
    maybe_text(b",\"query\":\"", record.query, out);
    out.extend_from_slice(match record.version {
        None => b"",
        Some(Version::H10) => b",\"version\":\"1.0\"",
        Some(Version::H11) => b",\"version\":\"1.1\"",
        Some(Version::H2) => b",\"version\":\"2\"",
        Some(Version::H3) => b",\"version\":\"3\"",
    });
    if let Some(tls) = &record.tls {
        text(b",\"tls\":\"", tls.version.as_bytes(), out);
        maybe_text(b",\"sni\":\"", tls.name.map(str::as_bytes), out);
        maybe_text(b",\"alpn\":\"", tls.alpn.map(str::as_bytes), out);
        if tls.resumed {
            out.extend_from_slice(b",\"tls_resumed\":true");
        }
    } else {
        maybe_text(b",\"sni\":\"", record.sni.map(str::as_bytes), out);
    }
}

fn upstream(record: &Record<'_>, out: &mut Vec<u8>) {
    maybe_text(b",\"pool\":\"", record.pool.map(str::as_bytes), out);
    maybe_text(b",\"server\":\"", record.server.map(str::as_bytes), out);
    match record.address {
        None => {}
        Some(Address::Tcp(at)) => {
            out.extend_from_slice(b",\"address\":\"");
            address::socket(at, out);
            out.push(b'"');
        }
        Some(Address::Unix(path)) => text(b",\"address\":\"unix:", path.as_os_str().as_bytes(), out),
    }
    number(b",\"tries\":", u64::from(record.tries), out);
    if record.hedged {
        out.extend_from_slice(b",\"hedged\":true");
    }
    if record.tries > 0 {
        out.extend_from_slice(if record.reused { b",\"reused\":true" } else { b",\"reused\":false" });
    }
}

/// The key comes with its comma, its colon and the value's opening quote. Its length is known when this is compiled, here as below:
/// it is written by a few stores.
#[inline]
fn text<const N: usize>(key: &[u8; N], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    escape::json(value, out);
    out.push(b'"');
}

#[inline]
fn maybe_text<const N: usize>(key: &[u8; N], value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        text(key, value, out);
    }
}

#[inline]
fn number<const N: usize>(key: &[u8; N], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
fn maybe_number<const N: usize>(key: &[u8; N], value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        number(key, value, out);
    }
}

fn some(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text)
}
