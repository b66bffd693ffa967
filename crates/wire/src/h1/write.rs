//! Heads as HTTP/1.1 text.
//!
//! The writer is the only one who writes `Content-Length` and `Transfer-Encoding`: the reader's fields of those names
//! are taken out by [`hop::strip`](crate::hop::strip) or stay only where they describe a body that does not follow.

use crate::head::{Framing, Head, Method};
use crate::known::Known;

/// Appends a request head, HTTP/1.1, with the framing that the head holds. The target is in origin form, or `*`; that of
/// a CONNECT is the authority.
///
/// The fields must be those for the next hop, hop-by-hop fields removed. A head without `Host` (HTTP/1.0 needs none) gets
/// one with the authority it holds, were it empty (RFC 9112 section 3.2). A protocol that it wants to switch to is asked for by
/// `Upgrade`.
pub fn request_head(head: &Head, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method_text());
    out.push(b' ');
    out.extend_from_slice(if head.method() == Method::Connect { head.authority() } else { head.path() });
    rest(head, None, out);
}

/// The same for a proxy, which is asked in absolute form (RFC 9112 section 3.2.2) by whoever has these credentials: the value of
/// `Proxy-Authorization`, if there are any. That field is no part of the head, which others get to see.
pub fn request_head_for_proxy(head: &Head, credentials: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method_text());
    out.push(b' ');
    if head.method() != Method::Connect {
        out.extend_from_slice(b"http://");
    }
    out.extend_from_slice(head.authority());
    // RFC 9112 section 3.2.4: an OPTIONS about the server as a whole has no path there.
    if head.method() != Method::Connect && head.path() != b"*" {
        out.extend_from_slice(head.path());
    }
    rest(head, credentials, out);
}

/// Everything behind the path.
fn rest(head: &Head, credentials: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(query) = head.query() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(credentials) = credentials {
        out.extend_from_slice(b"Proxy-Authorization: ");
        out.extend_from_slice(credentials);
        out.extend_from_slice(b"\r\n");
    }
    if !head.has(Known::Host) {
        out.extend_from_slice(b"Host: ");
        out.extend_from_slice(head.authority());
        out.extend_from_slice(b"\r\n");
    }
    head.write_fields(out);
    if !head.protocol().is_empty() {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
        out.extend_from_slice(head.protocol());
        out.extend_from_slice(b"\r\n");
    }
    framing_field(head, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a response head, HTTP/1.1, with the framing that the head holds.
pub fn response_head(head: &Head, out: &mut Vec<u8>) {
    status_line(head.status(), out);
    head.write_fields(out);
    framing_field(head, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a status line. The phrase is the standard's, never the server's: it says nothing and may hold anything.
pub fn status_line(status: u16, out: &mut Vec<u8>) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    let digits = [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&digits);
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn framing_field(head: &Head, out: &mut Vec<u8>) {
    match head.framing() {
        // What arrived and still holds is written with the other fields; [`Head::set_framing`] takes out what does not.
        Framing::Length(_) if head.has(Known::ContentLength) => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Unknown if head.has(Known::TransferEncoding) => {}
        Framing::Unknown => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// Appends a number in decimal digits.
pub(crate) fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The reason phrases of the IANA registry.
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
