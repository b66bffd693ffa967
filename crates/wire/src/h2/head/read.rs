//! Blocks to heads.

use crate::h1::{self, Asked, Reject, chunked};
use crate::h2::Limits;
use crate::h2::field::{Kind, Pseudo};
use crate::h2::hpack::decode::{Decoder, Invalid, Keep, Line};
use crate::h2::stream::Priority;
use crate::head::{Framing, Head, Method, Scheme, Span, Version};
use crate::known::Known;
use crate::uri;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// A request's head.
    Request,
    /// A response's head, interim or final, and what was asked.
    Response(Asked),
    /// What follows the content.
    Trailers,
}

/// What came of a block that is well-formed as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Whether the head is one. If not, its content means nothing.
    pub verdict: Result<(), Reject>,
    /// The content that the head announces.
    pub content: Expected,
    /// What a request says of its urgency.
    pub priority: Priority,
}

/// How much content has to follow a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any.
    Any,
    /// Exactly so many bytes.
    Exactly(u64),
}

/// Reads a whole block into a head. `end` says whether nothing follows it.
///
/// The whole block is decoded whatever is wrong with the message, since the table must learn of it; what is not going to be
/// used is not kept, and nothing is copied above the limits.
///
/// # Errors
/// The block breaks the format.
pub fn read(
    decoder: &mut Decoder,
    mut block: &[u8],
    section: Section,
    end: bool,
    limits: &Limits,
    head: &mut Head,
) -> Result<Read, Invalid> {
    decoder.begin(&mut block)?;
    let mut left = MOST_DECODED * (limits.head + block.len());
    let next = |keep: Keep, arena: &mut Vec<u8>| {
        let line = decoder.next(&mut block, keep, arena)?;
        if let Some(line) = &line {
            left = left
                .checked_sub(line.name + line.value)
                .ok_or(Invalid("a block that says large things in few bytes"))?;
        }
        Ok(line)
    };
    read_lines(next, Version::H2, section, end, limits, head)
}

/// The same for lines that come one by one, whatever they were coded in.
///
/// # Errors
/// Those of the decoder.
#[inline]
pub(crate) fn read_lines(
    mut next: impl FnMut(Keep, &mut Vec<u8>) -> Result<Option<Line>, Invalid>,
    version: Version,
    section: Section,
    end: bool,
    limits: &Limits,
    head: &mut Head,
) -> Result<Read, Invalid> {
    head.begin(&[], version);
    let mut reader = Reader { head, section, limits, wrong: None, found: Found::default() };
    loop {
        let keep = if reader.wrong.is_none() { Keep::Line } else { Keep::Nothing };
        let Some(line) = next(keep, reader.head.arena())? else { break };
        if keep == Keep::Line {
            reader.line(line);
        }
    }
    let verdict = match reader.wrong {
        Some(wrong) => Err(wrong),
        None => reader.finish(end),
    };
    let priority = reader.found.priority;
    let (verdict, content) = match verdict {
        Ok(content) => (Ok(()), content),
        Err(reject) => (Err(reject), Expected::Any),
    };
    Ok(Read { verdict, content, priority })
}

/// Bytes of decoded lines, as a multiple of what may arrive of them: beyond it a block names a large entry of the table again and again,
/// which costs its sender three bytes and us the whole of it.
const MOST_DECODED: usize = 4;

struct Reader<'a> {
    head: &'a mut Head,
    section: Section,
    limits: &'a Limits,
    /// The first thing that was wrong.
    wrong: Option<Reject>,
    found: Found,
}

/// What was found in front of the fields, and among them.
#[derive(Default)]
struct Found {
    method: Option<Span>,
    scheme: Option<Span>,
    authority: Option<Span>,
    path: Option<Span>,
    protocol: Option<Span>,
    status: Option<Span>,
    /// A field has come: no pseudo-header field may follow.
    fields: bool,
    crumbs: u32,
    priority: Priority,
}

impl Reader<'_> {
    #[inline]
    fn line(&mut self, line: Line) {
        if self.head.arena().len() > self.limits.head {
            self.wrong = Some(Reject::HeadTooLarge);
            return;
        }
        let judged = match line.kind {
            Kind::Field(known) => self.field(line, known),
            Kind::Pseudo(pseudo) => self.pseudo(line, pseudo),
            Kind::Refused(wrong) => Err(Reject::Malformed(wrong.reason())),
        };
        if let Err(reject) = judged {
            self.wrong = Some(reject);
        }
    }

    #[inline]
    fn field(&mut self, line: Line, known: Known) -> Result<(), Reject> {
        self.found.fields = true;
        if self.head.len() >= self.limits.fields.min(h1::MOST_FIELDS) {
            return Err(Reject::TooManyFields);
        }
        match known {
            Known::Host if self.section == Section::Request && self.head.has(Known::Host) => {
                return self.another_host(line);
            }
            Known::Cookie => self.found.crumbs += 1,
            Known::Other if line.name == 8 && self.section == Section::Request => {
                let text = &self.head.arena()[line.start..];
                if text.starts_with(b"priority") {
                    self.found.priority = Priority::of(&text[10..10 + line.value]);
                }
            }
            _ => {}
        }
        self.head.index_line(line.start, line.name, line.value, known, line.secret);
        Ok(())
    }

    fn pseudo(&mut self, line: Line, pseudo: Pseudo) -> Result<(), Reject> {
        if self.found.fields {
            return Err(Reject::Malformed("a pseudo-header field behind a field"));
        }
        let fits = match self.section {
            Section::Request => pseudo != Pseudo::Status,
            Section::Response(_) => pseudo == Pseudo::Status,
            Section::Trailers => return Err(Reject::Malformed("a pseudo-header field in trailers")),
        };
        if !fits {
            return Err(Reject::Malformed("a pseudo-header field in the wrong kind of message"));
        }
        let mut value = Span::of(line.start + line.name + 2, line.value);
        if pseudo == Pseudo::Authority {
            value = self.authority_as_host(line);
        }
        let found = &mut self.found;
        let place = match pseudo {
            Pseudo::Method => &mut found.method,
            Pseudo::Scheme => &mut found.scheme,
            Pseudo::Authority => &mut found.authority,
            Pseudo::Path => &mut found.path,
            Pseudo::Protocol => &mut found.protocol,
            Pseudo::Status => &mut found.status,
        };
        if place.replace(value).is_some() {
            return Err(Reject::Malformed("a pseudo-header field twice"));
        }
        Ok(())
    }

    /// Everything behind us knows the authority as `Host` too, so the line becomes that field (RFC 9113 section 8.3.1).
    fn authority_as_host(&mut self, line: Line) -> Span {
        const HOST: &[u8] = b"host";
        let arena = self.head.arena();
        let behind = line.start + line.name;
        arena[line.start..line.start + HOST.len()].copy_from_slice(HOST);
        arena.copy_within(behind.., line.start + HOST.len());
        arena.truncate(line.start + HOST.len() + 2 + line.value + 2);
        self.head.index_line(line.start, HOST.len(), line.value, Known::Host, line.secret);
        Span::of(line.start + HOST.len() + 2, line.value)
    }

    /// A `Host` that says what is known already is dropped, any other could route the request to two places.
    fn another_host(&mut self, line: Line) -> Result<(), Reject> {
        let Some(authority) = self.found.authority else { return Err(Reject::Malformed("more than one Host")) };
        let said = Span::of(line.start + line.name + 2, line.value);
        if !self.head.text(authority).eq_ignore_ascii_case(self.head.text(said)) {
            return Err(Reject::Malformed("Host is not :authority"));
        }
        self.head.arena().truncate(line.start);
        Ok(())
    }

    fn finish(&mut self, end: bool) -> Result<Expected, Reject> {
        if self.found.crumbs > 1 {
            // RFC 9113 section 8.2.3: crumbs are one field to everybody else.
            self.head.join(Known::Cookie, b"cookie", b"; ");
        }
        match self.section {
            Section::Request => self.request(end),
            Section::Response(asked) => self.response(asked, end),
            Section::Trailers if !end => Err(Reject::Malformed("trailers that do not end the stream")),
            Section::Trailers => {
                if self.head.has(Known::Misspelled) {
                    return Err(Reject::Malformed("a framing field's name with `_`"));
                }
                self.head.retain(|field| chunked::may_trail(field.name));
                Ok(Expected::Any)
            }
        }
    }

    /// RFC 9113 section 8.3.1, RFC 8441 section 4.
    fn request(&mut self, end: bool) -> Result<Expected, Reject> {
        let Some(method_at) = self.found.method else { return Err(Reject::Malformed("no :method")) };
        let text = self.head.text(method_at);
        let method = match Method::known(text) {
            Some(method) => method,
            None if !text.is_empty() && text.iter().all(|byte| h1::is_token(*byte)) => Method::Other(method_at),
            None => return Err(Reject::Malformed("invalid :method")),
        };
        let authority = self.authority()?;
        if method == Method::Connect && self.found.protocol.is_none() {
            return self.connect(authority, end);
        }
        let Some(scheme) = self.found.scheme else { return Err(Reject::Malformed("no :scheme")) };
        let scheme = match self.head.text(scheme) {
            b"http" => Scheme::Http,
            b"https" => Scheme::Https,
            _ => return Err(Reject::Malformed("a scheme other than http and https")),
        };
        let (path, query) = self.target(method, method_at)?;
        if let Some(protocol) = self.found.protocol {
            return self.extended_connect(method, scheme, authority, path, query, protocol);
        }
        self.head.control_request(method, scheme, authority, path, query);
        let said = h1::framing_said(self.head)?;
        let (framing, content) = match (said, end) {
            (None | Some(Framing::Length(0)), true) => (Framing::None, Expected::Exactly(0)),
            (Some(_), true) => return Err(Reject::Malformed("a Content-Length and no content")),
            (Some(Framing::Length(0)), false) => (Framing::None, Expected::Exactly(0)),
            (Some(Framing::Length(length)), false) => (Framing::Length(length), Expected::Exactly(length)),
            (_, false) => (Framing::Unknown, Expected::Any),
        };
        if framing != Framing::None && method == Method::Trace {
            return Err(Reject::Malformed("a body with a method that has none"));
        }
        self.head.framed_by_fields(framing);
        Ok(content)
    }

    /// The authority, which `Host` may have said alone.
    fn authority(&mut self) -> Result<Span, Reject> {
        let said = match self.found.authority {
            Some(authority) => Some(authority),
            None => self.head.span_of(Known::Host),
        };
        let Some(authority) = said else { return Err(Reject::Malformed("neither :authority nor Host")) };
        if !uri::is_authority(self.head.text(authority)) {
            return Err(Reject::Malformed("invalid :authority"));
        }
        Ok(authority)
    }

    /// The path, and the query behind its first question mark.
    fn target(&self, method: Method, method_at: Span) -> Result<(Span, Option<Span>), Reject> {
        let Some(at) = self.found.path else { return Err(Reject::Malformed("no :path")) };
        let target = self.head.text(at);
        // ` HTTP/1.1` and two spaces are what the line would have beside them.
        if target.len() + self.head.text(method_at).len() + 10 > self.limits.line {
            return Err(Reject::LineTooLong);
        }
        if target == b"*" {
            if method != Method::Options {
                return Err(Reject::Malformed(":path * with a method other than OPTIONS"));
            }
            return Ok((at, None));
        }
        if !target.starts_with(b"/") {
            return Err(Reject::Malformed(":path without a leading slash"));
        }
        if !target.iter().all(|byte| uri::is_target_byte(*byte)) {
            return Err(Reject::Malformed("invalid byte in :path"));
        }
        Ok(match memchr::memchr(b'?', target) {
            None => (at, None),
            Some(mark) => {
                let query = Span::of(at.start() + mark + 1, target.len() - mark - 1);
                (Span::of(at.start(), mark), Some(query))
            }
        })
    }

    /// RFC 9113 section 8.5: a tunnel to an authority, which has no other words.
    fn connect(&mut self, authority: Span, end: bool) -> Result<Expected, Reject> {
        if self.found.scheme.is_some() || self.found.path.is_some() {
            return Err(Reject::Malformed("CONNECT with :scheme or :path"));
        }
        if uri::port(self.head.text(authority)).is_none_or(|port| port == 0) {
            return Err(Reject::Malformed("CONNECT without host and port"));
        }
        self.head.control_request(Method::Connect, Scheme::Unsaid, authority, Span::default(), None);
        self.tunnel(end)
    }

    /// RFC 8441 section 4. A WebSocket is what it is in HTTP/1: a GET that asks for a protocol.
    fn extended_connect(
        &mut self,
        method: Method,
        scheme: Scheme,
        authority: Span,
        path: Span,
        query: Option<Span>,
        protocol: Span,
    ) -> Result<Expected, Reject> {
        if method != Method::Connect {
            return Err(Reject::Malformed(":protocol with a method other than CONNECT"));
        }
        if !self.limits.extended_connect {
            return Err(Reject::Malformed(":protocol, which was not offered"));
        }
        let name = self.head.text(protocol);
        if name.is_empty() || !name.iter().all(|byte| h1::is_token(*byte)) {
            return Err(Reject::Malformed("invalid :protocol"));
        }
        if name.eq_ignore_ascii_case(b"websocket") {
            self.head.control_request(Method::Get, scheme, authority, path, query);
            // However it was written, it is known by one name above.
            self.head.set_protocol(b"websocket");
        } else {
            self.head.control_request(Method::Connect, scheme, authority, path, query);
            self.head.protocol_at(protocol);
        }
        self.tunnel(false)
    }

    /// What follows is a tunnel's and no content.
    fn tunnel(&mut self, _end: bool) -> Result<Expected, Reject> {
        if h1::framing_said(self.head)?.is_some() {
            return Err(Reject::Malformed("a body with a method that has none"));
        }
        self.head.framed_by_fields(Framing::None);
        Ok(Expected::Any)
    }

    /// RFC 9113 section 8.3.2, RFC 9110 section 6.4.1.
    fn response(&mut self, asked: Asked, end: bool) -> Result<Expected, Reject> {
        let Some(status) = self.found.status else { return Err(Reject::Malformed("no :status")) };
        let status = match *self.head.text(status) {
            [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return Err(Reject::Malformed("invalid :status")),
        };
        if status == 101 {
            // RFC 9113 section 8.6: HTTP/2 has no such switch.
            return Err(Reject::Malformed("status 101"));
        }
        self.head.control_response(status, Span::default());
        let said = h1::framing_said(self.head)?;
        let interim = status < 200;
        if interim && end {
            return Err(Reject::Malformed("an interim response that ends the stream"));
        }
        if interim || status == 204 {
            if !matches!(said, None | Some(Framing::Length(0))) {
                return Err(Reject::Malformed("a body announced where none can be"));
            }
            self.head.remove_known(Known::ContentLength);
            self.head.framed_by_fields(Framing::None);
            return Ok(if interim { Expected::Any } else { Expected::Exactly(0) });
        }
        if asked == Asked::Connect && (200..300).contains(&status) {
            self.head.remove_known(Known::ContentLength);
            self.head.framed_by_fields(Framing::None);
            return Ok(Expected::Any);
        }
        let (framing, content) = match (said, end) {
            _ if asked == Asked::Head || status == 304 => (Framing::None, Expected::Exactly(0)),
            (None | Some(Framing::Length(0)), true) => (Framing::None, Expected::Exactly(0)),
            (Some(_), true) => return Err(Reject::Malformed("a Content-Length and no content")),
            (Some(Framing::Length(0)), false) => (Framing::None, Expected::Exactly(0)),
            (Some(Framing::Length(length)), false) => (Framing::Length(length), Expected::Exactly(length)),
            (_, false) => (Framing::Unknown, Expected::Any),
        };
        self.head.framed_by_fields(framing);
        Ok(content)
    }
}
