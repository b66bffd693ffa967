//! A naive reader of HTTP/1 messages, line by line from RFC 9112, that shares no code with the one under test.
//!
//! It may be laxer than ours where a rule is ours alone (limits, target bytes), never stricter: whatever ours accepts,
//! this one must accept with the same framing and the same fields.

/// A head as the naive reader sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) length: usize,
    /// Method and target, or status and nothing.
    pub(crate) start: (String, String),
    pub(crate) minor: u8,
    /// Names in lower case, values trimmed.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

pub(crate) fn request(bytes: &[u8]) -> Result<Message, &'static str> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let (lines, length) = lines(&bytes[skipped..])?;
    let (line, rest) = lines.split_first().ok_or("no start line")?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err("a request line has three words") };
    if !is_token(method) {
        return Err("the method is no token");
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err("the target is not visible ASCII");
    }
    let minor = minor(version)?;
    let fields = fields(rest)?;
    let hosts = all(&fields, "host");
    if hosts.len() > 1 || (minor == 1 && hosts.is_empty()) {
        return Err("not one Host");
    }
    let body = match said(&fields, minor)? {
        None | Some(Body::Length(0)) => Body::None,
        Some(body) => body,
    };
    let target_form = match (method, target) {
        (b"CONNECT", target) => target.contains(&b':') && !target.contains(&b'/'),
        (b"OPTIONS", b"*") => true,
        (_, target) => {
            let lower = target.to_ascii_lowercase();
            target[0] == b'/' || lower.starts_with(b"http://") || lower.starts_with(b"https://")
        }
    };
    if !target_form {
        return Err("no form of a target");
    }
    let start = (text(method), text(target));
    Ok(Message { length: skipped + length, start, minor, fields, body })
}

/// `head` and `connect` say what was asked.
pub(crate) fn response(bytes: &[u8], head: bool, connect: bool) -> Result<Message, &'static str> {
    let (lines, length) = lines(bytes)?;
    let (line, rest) = lines.split_first().ok_or("no start line")?;
    let version = line.get(..8).ok_or("short status line")?;
    let minor = minor(version)?;
    let status = match line[8..] {
        [b' ', a, b, c] | [b' ', a, b, c, b' ', ..] if [a, b, c].iter().all(u8::is_ascii_digit) => text(&[a, b, c]),
        _ => return Err("no status"),
    };
    if !line.iter().skip(12).all(|byte| is_text(*byte)) {
        return Err("no text in the reason");
    }
    let fields = fields(rest)?;
    let said = said(&fields, minor)?;
    let bodiless = status.starts_with('1') || status == "204" || status == "304";
    let body = match said {
        _ if bodiless || head || (connect && status.starts_with('2')) => Body::None,
        Some(Body::Length(0)) => Body::None,
        Some(body) => body,
        None => Body::UntilClose,
    };
    Ok(Message { length, start: (status, String::new()), minor, fields, body })
}

/// Content, trailer fields and length of a whole chunked body.
pub(crate) type Chunked = (Vec<u8>, Vec<(String, Vec<u8>)>, usize);

pub(crate) fn chunked(bytes: &[u8]) -> Result<Chunked, &'static str> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("no size");
        }
        if !line.iter().all(|byte| is_text(*byte)) {
            return Err("no text in the extension");
        }
        let size = u64::from_str_radix(&text(digits), 16).map_err(|_| "a size over 64 bits")?;
        let size = usize::try_from(size).map_err(|_| "a size over the address space")?;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size).ok_or("a size over the address space")?;
        content.extend_from_slice(bytes.get(at..end).ok_or("content is cut")?);
        if bytes.get(end..end + 2) != Some(b"\r\n") {
            return Err("no line end after the content");
        }
        at = end + 2;
    }
    let mut trailers = Vec::new();
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        if line.is_empty() {
            return Ok((content, fields(&trailers)?, at));
        }
        trailers.push(line);
    }
}

fn lines(bytes: &[u8]) -> Result<(Vec<&[u8]>, usize), &'static str> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        if line.is_empty() {
            return Ok((found, at));
        }
        found.push(line);
    }
}

fn line(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").ok_or("a line is cut")?;
    let line = &bytes[..end];
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err("a bare CR or LF");
    }
    Ok(line)
}

fn minor(version: &[u8]) -> Result<u8, &'static str> {
    match version {
        b"HTTP/1.0" => Ok(0),
        b"HTTP/1.1" => Ok(1),
        _ => Err("another version"),
    }
}

fn fields(lines: &[&[u8]]) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a field without a colon")?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err("a field name is no token");
        }
        if !value.iter().all(|byte| is_text(*byte)) {
            return Err("control bytes in a value");
        }
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
        let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        fields.push((text(name).to_ascii_lowercase(), value[start..end].to_vec()));
    }
    Ok(fields)
}

fn said(fields: &[(String, Vec<u8>)], minor: u8) -> Result<Option<Body>, &'static str> {
    let codings = all(fields, "transfer-encoding");
    let lengths = all(fields, "content-length");
    if !codings.is_empty() {
        if !lengths.is_empty() || minor == 0 || codings.len() > 1 || !codings[0].eq_ignore_ascii_case(b"chunked") {
            return Err("a transfer coding that is not plainly chunked");
        }
        return Ok(Some(Body::Chunked));
    }
    match lengths[..] {
        [] => Ok(None),
        [length] if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            text(length).parse().map(|length| Some(Body::Length(length))).map_err(|_| "a length over 64 bits")
        }
        _ => Err("not one plain length"),
    }
}

fn all<'a>(fields: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice()).collect()
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
