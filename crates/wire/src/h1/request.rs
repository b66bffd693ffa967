//! Request heads.

use std::mem::MaybeUninit;

use super::{Limits, MOST_FIELDS, Progress, Reject, judge};
use crate::head::{Framing, Head, Method, Scheme, Span, Version};
use crate::known::Known;
use crate::uri;

/// Reads a request head from the start of `bytes` (RFC 9112 sections 2 to 6). Bytes after it are not looked at.
///
/// On `Complete` the head is filled: control data, fields, framing; the path is as it arrived, see
/// [`uri::normalize`]. On `Partial` and on an error the head's content means nothing.
///
/// # Errors
/// Anything that breaks the grammar, is over the limits, or could be framed or routed in two ways.
pub fn request(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<Progress, Reject> {
    let skipped = judge::leading_empty_line(bytes);
    let bytes = &bytes[skipped..];
    if bytes.starts_with(b"\r") && bytes.len() == 1 {
        return Ok(Progress::Partial);
    }
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err(Reject::Malformed("empty lines before the request"));
    }
    let mut index = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let index = &mut index[..limits.fields.min(MOST_FIELDS)];
    let mut tokens = httparse::Request::new(&mut []);
    let length = match tokens.parse_with_uninit_headers(bytes, index) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return judge::partial(bytes, limits),
        // To the tokenizer whatever follows a second space is a version; a target with a space in it is none.
        Err(httparse::Error::Version) if !names_version(bytes) => return Err(Reject::Malformed("invalid start line")),
        Err(error) => return Err(oversize(bytes, limits).unwrap_or_else(|| judge::refusal(error))),
    };
    let raw = &bytes[..length];
    if length > limits.head {
        return Err(oversize(bytes, limits).unwrap_or(Reject::HeadTooLarge));
    }
    let (Some(method), Some(target), Some(minor)) = (tokens.method, tokens.path, tokens.version) else {
        return Err(Reject::Malformed("invalid start line"));
    };
    // The line is the method, the target, ` HTTP/1.1` and two single spaces: the tokenizer takes no other form.
    if method.len() + target.len() + 10 > limits.line {
        return Err(Reject::LineTooLong);
    }
    head.begin(raw, if minor == 0 { Version::H10 } else { Version::H11 });
    index_fields(head, raw, tokens.headers)?;
    let target_at = span_in(raw, target.as_bytes());
    let method = Method::known(method.as_bytes()).unwrap_or_else(|| Method::Other(span_in(raw, method.as_bytes())));
    control(head, method, target.as_bytes(), target_at)?;
    let framing = match judge::framing(head)? {
        None | Some(Framing::Length(0)) => Framing::None,
        Some(framing) => framing,
    };
    // RFC 9110 section 9.3: neither has content. To one reader bytes behind a CONNECT are the tunnel's, to another a body.
    if framing != Framing::None && matches!(method, Method::Trace | Method::Connect) {
        return Err(Reject::Malformed("a body with a method that has none"));
    }
    head.framed_by_fields(framing);
    Ok(Progress::Complete(skipped + length))
}

/// Whether the third word of the start line is some version of HTTP.
fn names_version(bytes: &[u8]) -> bool {
    let line = &bytes[..judge::line_length(bytes)];
    line.splitn(3, |byte| *byte == b' ').nth(2).is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// The limit that a head has broken, if it has: a better answer than what the tokenizer stumbled over.
fn oversize(bytes: &[u8], limits: &Limits) -> Option<Reject> {
    if judge::line_length(bytes) > limits.line {
        return Some(Reject::LineTooLong);
    }
    let head = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    (head > limits.head).then_some(Reject::HeadTooLarge)
}

/// Sorts the target into its form (RFC 9112 section 3.2) and settles the authority (section 3.3).
fn control(head: &mut Head, method: Method, target: &[u8], at: Span) -> Result<(), Reject> {
    check_host(head)?;
    let host = head.span_of(Known::Host).unwrap_or_default();
    if method == Method::Connect {
        if !uri::is_authority(target) || uri::port(target).is_none_or(|port| port == 0) {
            return Err(Reject::Malformed("CONNECT without host and port"));
        }
        head.control_request(method, Scheme::Unsaid, at, Span::default(), None);
        agree_host(head, at);
        return Ok(());
    }
    if !target.iter().all(|byte| uri::is_target_byte(*byte)) {
        return Err(Reject::Malformed("invalid byte in the request target"));
    }
    if target == b"*" {
        if method != Method::Options {
            return Err(Reject::Malformed("target * with a method other than OPTIONS"));
        }
        head.control_request(method, Scheme::Unsaid, host, at, None);
        return Ok(());
    }
    if target.starts_with(b"/") {
        let (path, query) = split_query(target, at);
        head.control_request(method, Scheme::Unsaid, host, path, query);
        return Ok(());
    }
    let (scheme, rest) = match absolute(target) {
        Some(found) => found,
        None => return Err(Reject::Malformed("invalid request target")),
    };
    let end = target[rest..].iter().position(|byte| matches!(byte, b'/' | b'?')).map_or(target.len(), |end| rest + end);
    let named = &target[rest..end];
    if !uri::is_authority(named) {
        return Err(Reject::Malformed("invalid authority in the request target"));
    }
    let authority = Span::of(at.start() + rest, named.len());
    let (mut path, query) = split_query(&target[end..], Span::of(at.start() + end, target.len() - end));
    if path == Span::of(path.start(), 0) {
        // RFC 9112 section 3.2.4: this is how a client of a proxy asks for the options of the whole server.
        path = head.push(if method == Method::Options && query.is_none() { b"*" } else { b"/" });
    }
    head.control_request(method, scheme, authority, path, query);
    agree_host(head, authority);
    Ok(())
}

/// RFC 9112 section 3.2.2: the target's authority replaces whatever Host has arrived, so that the next reader cannot
/// take the request for another host than we did.
fn agree_host(head: &mut Head, authority: Span) {
    if !head.replace_value(Known::Host, authority) {
        let draft = head.begin_field(Known::Host, b"Host");
        head.draft_authority();
        head.finish_field(draft);
    }
}

/// RFC 9112 section 3.2: exactly one valid Host in HTTP/1.1, at most one in HTTP/1.0.
fn check_host(head: &Head) -> Result<(), Reject> {
    let mut hosts = head.values_of(Known::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Reject::Malformed("more than one Host"));
    }
    if host.is_none() && head.version() == Version::H11 {
        return Err(Reject::Malformed("no Host"));
    }
    // An empty Host is what RFC 9112 section 3.2 wants sent for a target without authority.
    if host.is_some_and(|host| !host.is_empty() && !uri::is_authority(host)) {
        return Err(Reject::Malformed("invalid Host"));
    }
    Ok(())
}

fn absolute(target: &[u8]) -> Option<(Scheme, usize)> {
    let starts = |scheme: &[u8]| target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme);
    if starts(b"http://") {
        return Some((Scheme::Http, 7));
    }
    starts(b"https://").then_some((Scheme::Https, 8))
}

fn split_query(target: &[u8], at: Span) -> (Span, Option<Span>) {
    match memchr::memchr(b'?', target) {
        None => (at, None),
        Some(mark) => (Span::of(at.start(), mark), Some(Span::of(at.start() + mark + 1, target.len() - mark - 1))),
    }
}

/// Turns the tokenizer's slices into ranges of the head's arena, which holds the same bytes.
///
/// # Errors
/// A line that does not end with CRLF. The tokenizer takes an LF for nothing but a line end, so looking at the two bytes
/// before each name, and at the last four, is looking at all lines; trailers have no line before the first name.
pub(super) fn index_fields(head: &mut Head, raw: &[u8], fields: &[httparse::Header<'_>]) -> Result<(), Reject> {
    if !raw.ends_with(b"\r\n\r\n") {
        return Err(judge::BARE_LF);
    }
    for (number, field) in fields.iter().enumerate() {
        let name = span_in(raw, field.name.as_bytes());
        let value = if field.value.is_empty() {
            // The tokenizer's empty slice may point anywhere; ours stands where a canonical one would.
            Span::of((name.end() + 2).min(raw.len()), 0)
        } else {
            span_in(raw, field.value)
        };
        let next = match fields.get(number + 1) {
            Some(next) => span_in(raw, next.name.as_bytes()).start(),
            None => raw.len().saturating_sub(2),
        };
        if name.start() > 0 && !raw[..name.start()].ends_with(b"\r\n") {
            return Err(judge::BARE_LF);
        }
        head.index(name, value, next);
    }
    Ok(())
}

pub(super) fn span_in(raw: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr() as usize - raw.as_ptr() as usize;
    debug_assert!(start + part.len() <= raw.len());
    Span::of(start, part.len())
}
