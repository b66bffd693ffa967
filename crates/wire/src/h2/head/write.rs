//! Heads to blocks. No state: blocks may be made in any order.

use crate::h1;
use crate::h2::hpack::encode;
use crate::head::{Framing, Head, Method};
use crate::known::Known;
use crate::websocket;

/// Appends a request's block (RFC 9113 section 8.3.1). `Host` becomes `:authority`; a head with a protocol becomes an
/// extended CONNECT (RFC 8441). Fields of an HTTP/1 connection are left out.
pub fn request(head: &Head, secure: bool, out: &mut Vec<u8>) {
    out.reserve(head.size_hint());
    let connect = !head.protocol().is_empty() || head.method() == Method::Connect;
    match head.method() {
        _ if connect => encode::with_index(METHOD, b"CONNECT", false, out),
        Method::Get => encode::indexed(2, out),
        Method::Post => encode::indexed(3, out),
        _ => encode::with_index(METHOD, head.method_text(), false, out),
    }
    if !connect || !head.protocol().is_empty() {
        encode::indexed(if secure { 7 } else { 6 }, out);
        path(head, out);
    }
    let authority = head.value_of(Known::Host).unwrap_or(head.authority());
    encode::with_index(AUTHORITY, authority, false, out);
    if !head.protocol().is_empty() {
        encode::field(b":protocol", head.protocol(), false, out);
    }
    fields(head, true, out);
}

/// Appends a response's block (RFC 9113 section 8.3.2).
pub fn response(head: &Head, out: &mut Vec<u8>) {
    out.reserve(head.size_hint());
    let status = head.status();
    let fixed = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => 0,
    };
    if fixed > 0 {
        encode::indexed(fixed, out);
    } else {
        let digits = [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
        encode::with_index(STATUS, &digits, false, out);
    }
    fields(head, false, out);
}

/// Appends the block of trailers.
pub fn trailers(head: &Head, out: &mut Vec<u8>) {
    out.reserve(head.size_hint());
    for (field, secret) in head.fields_and_secrets() {
        if h1::chunked::may_trail(field.name) {
            encode::field(field.name, field.value, secret, out);
        }
    }
}

/// Entries of the static table with these names.
const AUTHORITY: usize = 1;
const METHOD: usize = 2;
const PATH: usize = 4;
const STATUS: usize = 8;

fn path(head: &Head, out: &mut Vec<u8>) {
    match head.query() {
        None if head.path() == b"/" => encode::indexed(PATH as u8, out),
        None => encode::with_index(PATH, head.path(), false, out),
        Some(query) => encode::with_index_and_parts(PATH, &[head.path(), b"?", query], out),
    }
}

fn fields(head: &Head, request: bool, out: &mut Vec<u8>) {
    each_field(head, request, |name, value, secret| encode::field(name, value, secret, out));
}

/// Every field that a message holds beyond its pseudo-header fields, and whether it must be kept out of all tables.
#[inline]
pub(crate) fn each_field(head: &Head, request: bool, mut each: impl FnMut(&[u8], &[u8], bool)) {
    let tunnel = request && !head.protocol().is_empty();
    for (field, secret) in head.fields_and_secrets() {
        match field.known {
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => continue,
            Known::Host if request => continue,
            // RFC 8441 section 5: that the server understands is shown by its status, and not by what it makes of a key.
            Known::Other if tunnel && field.name.eq_ignore_ascii_case(websocket::KEY) => continue,
            // Trailers are the one thing that TE may speak of (section 8.2.2).
            Known::Te if !field.value.eq_ignore_ascii_case(b"trailers") => continue,
            Known::ContentLength if matches!(head.framing(), Framing::Unknown | Framing::UntilClose) => continue,
            _ => {}
        }
        // RFC 7541 section 7.1.3: what authenticates is not to be guessed from the length of other messages.
        let secret = secret
            || field.known == Known::ProxyAuthorization
            || (field.name.len() == 13 && field.name.eq_ignore_ascii_case(b"authorization"));
        each(field.name, field.value, secret);
    }
    if let Framing::Length(length) = head.framing()
        && !head.has(Known::ContentLength)
    {
        let mut digits = Vec::with_capacity(20);
        h1::decimal(length, &mut digits);
        each(b"content-length", &digits, false);
    }
}
