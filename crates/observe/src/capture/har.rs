//! An entry as one line of JSON: an `entry` of HAR 1.2.

use std::time::Duration;

use wire::head::Scheme;
use wire::{Head, Known, Version, form};

use super::content::{self, Told};
use super::redact::{REDACTED, Redact};
use super::{Entry, Kept, Sort};
use crate::access::{address, escape};
use crate::stamp::Stamp;

/// Appends the line, without its end.
pub(super) fn write(entry: &Entry, redact: &Redact, stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"startedDateTime\":\"");
    stamp.rfc3339(entry.time, out);
    out.extend_from_slice(b"\",\"time\":");
    millis(entry.moments.total, out);
    request(entry, redact, out);
    response(entry, redact, out);
    out.extend_from_slice(b",\"cache\":{}");
    timings(entry, out);
    if let Some(address) = entry.server.as_ref().and_then(|server| server.address) {
        out.extend_from_slice(b",\"serverIPAddress\":\"");
        address::ip(address.ip(), out);
        out.extend_from_slice(b"\",\"_serverPort\":");
        number(address.port(), out);
    }
    // The connection's other end is unique as long as the connection is.
    out.extend_from_slice(b",\"connection\":\"");
    address::socket(entry.peer.0, out);
    out.push(b'"');
    own(entry, redact, out);
    out.push(b'}');
}

fn request(entry: &Entry, redact: &Redact, out: &mut Vec<u8>) {
    let head = &entry.request;
    text(b",\"request\":{\"method\":", head.method_text(), out);
    out.extend_from_slice(b",\"url\":\"");
    url(entry, redact, out);
    text(b"\",\"httpVersion\":", version(entry.version), out);
    let crumbs = head.values_of(Known::Cookie).flat_map(|value| value.split(|byte| *byte == b';'));
    let hidden = redact.has_field(b"cookie");
    out.extend_from_slice(b",\"cookies\":[");
    list(crumbs.map(<[u8]>::trim_ascii).filter(|crumb| !crumb.is_empty()), out, |crumb, out| {
        // One without a name is all value (RFC 6265bis section 5.4).
        let (name, value) = if crumb.contains(&b'=') { named(crumb) } else { (&b""[..], crumb) };
        pair(name, if hidden { REDACTED } else { value }, out);
        out.push(b'}');
    });
    fields(head, redact, out);
    let query = redact.query(head.query().unwrap_or_default());
    out.extend_from_slice(b",\"queryString\":[");
    parameters(&query, out);
    if entry.bytes_in > 0 {
        post_data(entry, redact, out);
    }
    sizes(head, entry, entry.bytes_in, out);
    out.push(b'}');
}

/// The request's target as an absolute URL. A tunnel has none, but a place where it leads.
fn url(entry: &Entry, redact: &Redact, out: &mut Vec<u8>) {
    let head = &entry.request;
    let scheme: &[u8] = match (entry.sort, entry.secure) {
        (Sort::Tunnel, _) => b"tunnel",
        (Sort::Websocket, false) => b"ws",
        (Sort::Websocket, true) => b"wss",
        (Sort::Http, false) => b"http",
        (Sort::Http, true) => b"https",
    };
    let authority = head.authority();
    // Who somebody is has no place in it (RFC 9110 section 4.2.4).
    let from = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    out.extend_from_slice(scheme);
    out.extend_from_slice(b"://");
    escaped_url(&authority[from..], out);
    if entry.sort != Sort::Tunnel {
        escaped_url(if head.path() == b"*" { b"/*" } else { head.path() }, out);
    }
    if let Some(query) = head.query() {
        out.push(b'?');
        escaped_url(&redact.query(query), out);
    }
}

/// Bytes that a URL may not have are escaped (RFC 3986 section 2.1).
fn escaped_url(part: &[u8], out: &mut Vec<u8>) {
    for byte in part {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0..=b' ' | 0x7f.. => {
                let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble & 15)];
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(*byte)]);
            }
            byte => out.push(*byte),
        }
    }
}

fn post_data(entry: &Entry, redact: &Redact, out: &mut Vec<u8>) {
    let head = &entry.request;
    let media_type = head.value(b"content-type").unwrap_or_default();
    text(b",\"postData\":{\"mimeType\":", media_type, out);
    let Some(mut told) = told(head, entry.request_body.as_ref(), entry.bytes_in) else {
        return out.extend_from_slice(b",\"text\":\"\",\"comment\":\"not captured\"}");
    };
    let is_form = essence(media_type).eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
    let in_parts = essence(media_type).eq_ignore_ascii_case(b"multipart/form-data");
    if (is_form || in_parts) && told.coded {
        // What cannot be read cannot be redacted.
        return out.extend_from_slice(b",\"text\":\"\",\"comment\":\"a form in a coding that is not read\"}");
    }
    if in_parts && let Some(boundary) = boundary(media_type) {
        told.bytes = redact.parts(&told.bytes, boundary).into_owned().into();
    }
    if is_form {
        let form = redact.query(&told.bytes);
        out.extend_from_slice(b",\"params\":[");
        parameters(&form, out);
        text(b",\"text\":", &form, out);
    } else {
        content_text(&told, b",\"_encoding\":\"base64\"", out);
    }
    remark(&told, entry.bytes_in, out);
    out.push(b'}');
}

fn response(entry: &Entry, redact: &Redact, out: &mut Vec<u8>) {
    let nothing = Head::default();
    let head = entry.response.as_ref().unwrap_or(&nothing);
    out.extend_from_slice(b",\"response\":{\"status\":");
    number(head.status(), out);
    let reason = if head.status() == 0 { &b""[..] } else { head.reason() };
    text(b",\"statusText\":", reason, out);
    text(b",\"httpVersion\":", if entry.response.is_some() { version(entry.version) } else { b"" }, out);
    let hidden = redact.has_field(b"set-cookie");
    out.extend_from_slice(b",\"cookies\":[");
    list(head.values(b"set-cookie"), out, |value, out| set_cookie(value, hidden, out));
    fields(head, redact, out);
    content(entry, head, out);
    let location = head.value(b"location").unwrap_or_default();
    text(b",\"redirectURL\":", &redact.field(b"location", location), out);
    sizes(head, entry, entry.bytes_out, out);
    if let Some(fault) = entry.fault {
        // Browsers show it where they show why a request has failed.
        text(b",\"_error\":", fault.code().as_bytes(), out);
    }
    out.push(b'}');
}

fn content(entry: &Entry, head: &Head, out: &mut Vec<u8>) {
    let media_type = head.value(b"content-type").unwrap_or_default();
    let told = told(head, entry.response_body.as_ref(), entry.bytes_out).filter(|_| entry.bytes_out > 0);
    // The size is that of what came out of its coding, where that is known.
    let known = told.as_ref().filter(|told| told.whole && !told.coded).map(|told| told.bytes.len() as u64);
    let size = known.unwrap_or(entry.bytes_out);
    out.extend_from_slice(b",\"content\":{\"size\":");
    number(size, out);
    if size > entry.bytes_out {
        out.extend_from_slice(b",\"compression\":");
        number(size - entry.bytes_out, out);
    }
    text(b",\"mimeType\":", media_type, out);
    match told {
        Some(told) => {
            content_text(&told, b",\"encoding\":\"base64\"", out);
            remark(&told, entry.bytes_out, out);
        }
        None if entry.bytes_out > 0 => out.extend_from_slice(b",\"comment\":\"not captured\""),
        None => {}
    }
    out.push(b'}');
}

/// Content as far as it was kept.
fn told<'a>(head: &Head, kept: Option<&'a Kept>, bytes: u64) -> Option<Told<'a>> {
    let kept = kept?.bytes();
    Some(content::told(head, kept, kept.len() as u64 == bytes)).filter(|_| !kept.is_empty())
}

fn content_text(told: &Told<'_>, encoding: &[u8], out: &mut Vec<u8>) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    match content::text(&told.bytes, told.whole).filter(|_| !told.coded) {
        Some(plain) => text(b",\"text\":", plain.as_bytes(), out),
        None => {
            out.extend_from_slice(b",\"text\":\"");
            out.extend_from_slice(STANDARD.encode(&told.bytes).as_bytes());
            out.push(b'"');
            out.extend_from_slice(encoding);
        }
    }
}

/// What is to be said of content that is not all there is.
fn remark(told: &Told<'_>, bytes: u64, out: &mut Vec<u8>) {
    let remark = match (told.whole, told.coded) {
        (true, false) => return,
        (true, true) => "still in its coding".to_owned(),
        (false, false) => format!("cut: the beginning of {bytes} bytes"),
        (false, true) => format!("cut: the beginning of {bytes} bytes, still in its coding"),
    };
    text(b",\"comment\":", remark.as_bytes(), out);
    if !told.whole {
        out.extend_from_slice(b",\"_truncated\":true");
    }
}

fn fields(head: &Head, redact: &Redact, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"headers\":[");
    list(head.fields(), out, |field, out| {
        pair(field.name, &redact.field(field.name, field.value), out);
        out.push(b'}');
    });
}

fn parameters(query: &[u8], out: &mut Vec<u8>) {
    list(form::pairs(query), out, |(name, value), out| {
        pair(&form::decoded(name), &form::decoded(value), out);
        out.push(b'}');
    });
}

fn set_cookie(value: &[u8], hidden: bool, out: &mut Vec<u8>) {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let first = parts.next().unwrap_or_default();
    let (name, value) = if first.contains(&b'=') { named(first) } else { (&b""[..], first) };
    pair(name, if hidden { REDACTED } else { value }, out);
    let mut said = [false; 4];
    for part in parts {
        let (name, value) = named(part);
        // Each once: an object with a name twice is read in many ways.
        match &*name.to_ascii_lowercase() {
            b"path" if !std::mem::replace(&mut said[0], true) => text(b",\"path\":", value, out),
            b"domain" if !std::mem::replace(&mut said[1], true) => text(b",\"domain\":", value, out),
            b"httponly" if !std::mem::replace(&mut said[2], true) => out.extend_from_slice(b",\"httpOnly\":true"),
            b"secure" if !std::mem::replace(&mut said[3], true) => out.extend_from_slice(b",\"secure\":true"),
            _ => {}
        }
    }
    out.push(b'}');
}

/// `headersSize`, where there is one head as HTTP/1 writes it, and `bodySize`.
fn sizes(head: &Head, entry: &Entry, body: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"headersSize\":");
    match entry.version {
        _ if head.is_empty() => out.extend_from_slice(b"-1"),
        Some(Version::H10 | Version::H11) if entry.sort != Sort::Tunnel => {
            let fields: usize = head.fields().map(|field| field.name.len() + field.value.len() + 4).sum();
            let line = match head.status() {
                0 => {
                    let query = head.query().map_or(0, |query| query.len() + 1);
                    let server = if head.scheme() == Scheme::Unsaid { 0 } else { head.authority().len() + 7 };
                    head.method_text().len() + server + head.path().len() + query + 12
                }
                _ => head.reason().len() + 15,
            };
            number(line + fields + 2, out);
        }
        _ => out.extend_from_slice(b"-1"),
    }
    out.extend_from_slice(b",\"bodySize\":");
    number(body, out);
}

/// Parts that add up to the whole: what belongs to none of them is time in which the request had to wait.
fn timings(entry: &Entry, out: &mut Vec<u8>) {
    let moments = &entry.moments;
    let parts = [moments.dns, moments.connect, moments.send, moments.wait, moments.receive];
    let known: Duration = parts.iter().flatten().sum();
    out.extend_from_slice(b",\"timings\":{\"blocked\":");
    millis(moments.total.saturating_sub(known), out);
    for (name, part) in [(&b"dns"[..], moments.dns), (b"connect", moments.connect), (b"ssl", moments.tls)] {
        key(name, out);
        match part {
            None => out.extend_from_slice(b"-1"),
            Some(part) => millis(part, out),
        }
    }
    for (name, part) in [(&b"send"[..], moments.send), (b"wait", moments.wait), (b"receive", moments.receive)] {
        key(name, out);
        millis(part.unwrap_or_default(), out);
    }
    out.push(b'}');
}

/// What an archive of a proxy has to say besides.
fn own(entry: &Entry, redact: &Redact, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"_id\":\"");
    out.extend_from_slice(&entry.id.hex());
    text(b"\",\"_listener\":", entry.listener.as_bytes(), out);
    if !entry.route.is_empty() {
        text(b",\"_route\":", entry.route.as_bytes(), out);
    }
    out.extend_from_slice(b",\"_client\":\"");
    address::ip(entry.client.0, out);
    out.push(b'"');
    if let Some(user) = &entry.user {
        text(b",\"_user\":", user.as_bytes(), out);
    }
    if let Some(server) = &entry.server {
        text(b",\"_pool\":", server.pool.as_bytes(), out);
        text(b",\"_server\":", server.name.as_bytes(), out);
    }
    if entry.sort == Sort::Websocket {
        // So browsers know what to show it as.
        out.extend_from_slice(b",\"_resourceType\":\"websocket\"");
    }
    if !entry.interim.is_empty() {
        out.extend_from_slice(b",\"_interim\":[");
        list(entry.interim.iter(), out, |head, out| {
            out.extend_from_slice(b"{\"status\":");
            number(head.status(), out);
            fields(head, redact, out);
            out.push(b'}');
        });
    }
    if let Some(fault) = entry.fault {
        text(b",\"_fault\":", fault.code().as_bytes(), out);
        text(b",\"_side\":", crate::side_name(fault.side).as_bytes(), out);
        if !entry.reason.is_empty() {
            text(b",\"_reason\":", entry.reason.as_bytes(), out);
        }
    }
    if entry.cut {
        out.extend_from_slice(b",\"_cut\":true");
    }
}

fn named(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', text) {
        None => (text, b""),
        Some(mark) => (text[..mark].trim_ascii(), text[mark + 1..].trim_ascii()),
    }
}

/// What stands between the parts of a form.
fn boundary(media_type: &[u8]) -> Option<&[u8]> {
    let mut parameters = media_type.split(|byte| *byte == b';').map(named);
    let (_, said) = parameters.find(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(b"boundary"))?;
    Some(said.strip_prefix(b"\"").and_then(|said| said.strip_suffix(b"\"")).unwrap_or(said))
        .filter(|said| !said.is_empty())
}

fn essence(media_type: &[u8]) -> &[u8] {
    media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn version(version: Option<Version>) -> &'static [u8] {
    match version {
        None => b"",
        Some(Version::H10) => b"HTTP/1.0",
        Some(Version::H11) => b"HTTP/1.1",
        Some(Version::H2) => b"HTTP/2",
        Some(Version::H3) => b"HTTP/3",
    }
}

/// The elements with commas between them, and what ends a list.
fn list<T>(elements: impl Iterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    for (number, element) in elements.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

/// A name and a value, in an object that is still open.
fn pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    text(b"{\"name\":", name, out);
    text(b",\"value\":", value, out);
}

fn text(before: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    out.push(b'"');
    escape::json(value, out);
    out.push(b'"');
}

fn key(name: &[u8], out: &mut Vec<u8>) {
    text(b",", name, out);
    out.push(b':');
}

fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    let digit = |value: u64| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
}
