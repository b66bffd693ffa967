//! The one message head of every HTTP version: typed control data and an index of fields over one arena.
//!
//! HTTP/1's start line is only an encoding of the control data. Fields are ranges of the arena: a head that is
//! forwarded is written by copying the ranges that survive. Edits append to the arena and change the index.
//! A `Head` is meant to be kept and filled again, so that a request needs no allocation of its own.

mod edits;
mod lines;

use crate::known::Known;

/// A message head.
#[derive(Clone, Debug)]
pub struct Head {
    arena: Vec<u8>,
    fields: Vec<Field>,
    /// Which known names have at least one field: a set of [`Known::bit`]s.
    present: u32,
    version: Version,
    framing: Framing,
    control: Control,
    /// The protocol that a request wants to switch to; empty if none.
    protocol: Span,
}

/// How the length of a message's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly this many bytes follow.
    Length(u64),
    /// The end is marked by the version's own framing: the last chunk, or the stream's end.
    Unknown,
    /// Only the end of the connection marks the end: responses of HTTP/1 alone.
    UntilClose,
}

/// The protocol version a message arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    H10,
    /// HTTP/1.1
    H11,
    /// HTTP/2
    H2,
    /// HTTP/3
    H3,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the methods' names")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    /// Any other token; its text is in the head.
    Other(Span),
}

/// A range of a head's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
    known: Known,
    /// The arena holds `name: value\r\n` in just these bytes, so a run of such fields is one copy.
    canonical: bool,
    /// Its sender wants it never to be in any table of a compressor (RFC 7541 section 6.2.3).
    secret: bool,
}

/// A field whose value is being written at the arena's end. Nothing else may be written there until it is finished.
#[derive(Debug)]
#[must_use = "a field that is begun must be finished"]
pub(crate) struct Draft {
    name: Span,
    known: Known,
    value: usize,
}

#[derive(Clone, Copy, Debug)]
enum Control {
    Request { method: Method, scheme: Scheme, authority: Span, path: Span, query: Option<Span> },
    Response { status: u16, reason: Span },
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// The request did not say: an origin-form or asterisk-form target.
    Unsaid,
}

/// One field of a head, by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// The name as it arrived.
    pub name: &'a [u8],
    /// The value without surrounding white space.
    pub value: &'a [u8],
    /// The name's id.
    pub known: Known,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            arena: Vec::new(),
            fields: Vec::new(),
            present: 0,
            version: Version::H11,
            framing: Framing::None,
            control: Control::Response { status: 0, reason: Span::default() },
            protocol: Span::default(),
        }
    }
}

impl Head {
    /// Empties the head and keeps its memory, unless an unusually large message had made it grow.
    pub fn clear(&mut self) {
        const KEEP: usize = 16 * 1024;
        self.arena.clear();
        if self.arena.capacity() > KEEP {
            self.arena.shrink_to(KEEP);
        }
        self.fields.clear();
        self.present = 0;
        self.framing = Framing::None;
        // Control data that outlived its arena would point at other bytes, or past them.
        self.control = Control::Response { status: 0, reason: Span::default() };
        self.protocol = Span::default();
    }

    /// Starts a request of our own making.
    pub fn start_request(&mut self, method: &[u8], authority: &[u8], path: &[u8], query: Option<&[u8]>) {
        self.clear();
        let method = self.method_of(method);
        let authority = self.push(authority);
        let path = self.push(path);
        let query = query.map(|query| self.push(query));
        self.version = Version::H11;
        self.control = Control::Request { method, scheme: Scheme::Unsaid, authority, path, query };
    }

    /// Replaces a response's status; the reason that came with it goes.
    pub fn set_status(&mut self, status: u16) {
        self.control_response(status, Span::default());
    }

    /// Starts a response of our own making.
    pub fn start_response(&mut self, status: u16) {
        self.clear();
        self.version = Version::H11;
        self.control = Control::Response { status, reason: Span::default() };
    }

    /// The protocol that the request wants to switch to, whatever its version says that with: `Upgrade` in HTTP/1.1, an
    /// extended CONNECT in HTTP/2 and 3 (RFC 8441, RFC 9220), which is held as a `GET` like the other. Empty if there is none.
    pub fn protocol(&self) -> &[u8] {
        self.bytes(self.protocol)
    }

    /// Says that the request wants to switch to this protocol.
    pub fn set_protocol(&mut self, name: &[u8]) {
        self.protocol = self.push(name);
    }

    /// The version that the message arrived in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How the body's length is known.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Changes how the body's length is known. Fields that say otherwise are taken out, and the writer writes the new
    /// one; only `None` lets them stand, because the answer to a `HEAD` speaks of a body that does not follow.
    pub fn set_framing(&mut self, framing: Framing) {
        if framing != self.framing && framing != Framing::None {
            self.remove_known(Known::ContentLength);
            self.remove_known(Known::TransferEncoding);
        }
        self.framing = framing;
    }

    /// The request's method. A response answers `Get`, which no caller asks for.
    pub fn method(&self) -> Method {
        match self.control {
            Control::Request { method, .. } => method,
            Control::Response { .. } => Method::Get,
        }
    }

    /// The request's method as text.
    pub fn method_text(&self) -> &[u8] {
        match self.method() {
            Method::Get => b"GET",
            Method::Head => b"HEAD",
            Method::Post => b"POST",
            Method::Put => b"PUT",
            Method::Delete => b"DELETE",
            Method::Connect => b"CONNECT",
            Method::Options => b"OPTIONS",
            Method::Trace => b"TRACE",
            Method::Patch => b"PATCH",
            Method::Other(span) => self.bytes(span),
        }
    }

    /// The scheme that the request's target named.
    pub fn scheme(&self) -> Scheme {
        match self.control {
            Control::Request { scheme, .. } => scheme,
            Control::Response { .. } => Scheme::Unsaid,
        }
    }

    /// The authority the request is for: that of an absolute target, else `Host`. Empty if there is none.
    pub fn authority(&self) -> &[u8] {
        match self.control {
            Control::Request { authority, .. } => self.bytes(authority),
            Control::Response { .. } => b"",
        }
    }

    /// The request's path, without its query.
    pub fn path(&self) -> &[u8] {
        match self.control {
            Control::Request { path, .. } => self.bytes(path),
            Control::Response { .. } => b"",
        }
    }

    /// The request's query, without the question mark.
    pub fn query(&self) -> Option<&[u8]> {
        match self.control {
            Control::Request { query, .. } => query.map(|query| self.bytes(query)),
            Control::Response { .. } => None,
        }
    }

    /// The response's status; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.control {
            Control::Response { status, .. } => status,
            Control::Request { .. } => 0,
        }
    }

    /// The reason phrase that a response arrived with; empty if it had none.
    pub fn reason(&self) -> &[u8] {
        match self.control {
            Control::Response { reason, .. } => self.bytes(reason),
            Control::Request { .. } => b"",
        }
    }

    /// Replaces the request's authority.
    pub fn set_authority(&mut self, text: &[u8]) {
        let span = self.push(text);
        if let Control::Request { authority, .. } = &mut self.control {
            *authority = span;
        }
    }

    /// Replaces the request's path.
    pub fn set_path(&mut self, text: &[u8]) {
        let span = self.push(text);
        if let Control::Request { path, .. } = &mut self.control {
            *path = span;
        }
    }

    /// Replaces the request's query.
    pub fn set_query(&mut self, text: Option<&[u8]>) {
        let span = text.map(|text| self.push(text));
        if let Control::Request { query, .. } = &mut self.control {
            *query = span;
        }
    }

    /// Whether a field with this known name is there.
    pub fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// Whether any field with one of these known names is there.
    pub fn has_any(&self, names: &[Known]) -> bool {
        names.iter().any(|known| self.has(*known))
    }

    /// All fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = FieldRef<'_>> {
        self.fields.iter().map(|field| FieldRef {
            name: self.bytes(field.name),
            value: self.bytes(field.value),
            known: field.known,
        })
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The values of all fields with a known name.
    pub fn values_of(&self, known: Known) -> impl DoubleEndedIterator<Item = &[u8]> {
        let there = self.has(known);
        self.fields.iter().filter(move |field| there && field.known == known).map(|field| self.bytes(field.value))
    }

    /// The first value of a known name.
    pub fn value_of(&self, known: Known) -> Option<&[u8]> {
        self.values_of(known).next()
    }

    /// The values of all fields with this name, letter case ignored.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |field| self.bytes(field.name).eq_ignore_ascii_case(name))
            .map(|field| self.bytes(field.value))
    }

    /// The first value of a field with this name.
    pub fn value<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Writes the fields as HTTP/1 field lines, without the empty line at the end.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        // A run is a stretch of the arena that holds consecutive canonical fields: one copy for all of them.
        let (mut run_start, mut run_end) = (0, 0);
        for field in &self.fields {
            let start = field.name.start as usize;
            if field.canonical && start == run_end {
                run_end = field.value.end() + 2;
                continue;
            }
            out.extend_from_slice(&self.arena[run_start..run_end]);
            if field.canonical {
                (run_start, run_end) = (start, field.value.end() + 2);
            } else {
                (run_start, run_end) = (0, 0);
                out.extend_from_slice(self.bytes(field.name));
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.bytes(field.value));
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(&self.arena[run_start..run_end]);
    }

    /// Bytes of memory that this head keeps for the next message.
    pub fn capacity(&self) -> usize {
        self.arena.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Makes room for fields of this many bytes altogether.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.arena.reserve(bytes);
    }

    /// Begins a field whose value is then written in pieces, without a copy of its own.
    #[inline]
    pub(crate) fn begin_field(&mut self, known: Known, name: &[u8]) -> Draft {
        let name = self.push(name);
        self.arena.extend_from_slice(b": ");
        Draft { name, known, value: self.arena.len() }
    }

    /// Writes a piece of the value that was begun.
    #[inline]
    pub(crate) fn draft(&mut self, piece: &[u8]) {
        self.arena.extend_from_slice(piece);
    }

    /// Writes the head's authority into the value that was begun.
    pub(crate) fn draft_authority(&mut self) {
        if let Control::Request { authority, .. } = self.control {
            self.arena.extend_from_within(authority.start()..authority.end());
        }
    }

    /// Writes all values of a known name into the value that was begun, each with a comma behind it.
    pub(crate) fn draft_values(&mut self, known: Known) {
        for field in &self.fields {
            if field.known == known && field.value.len > 0 {
                self.arena.extend_from_within(field.value.start()..field.value.end());
                self.arena.extend_from_slice(b", ");
            }
        }
    }

    /// Ends the value that was begun; the field now stands behind all others.
    #[inline]
    pub(crate) fn finish_field(&mut self, draft: Draft) {
        let value = Span::of(draft.value, self.arena.len() - draft.value);
        self.arena.extend_from_slice(b"\r\n");
        self.present |= draft.known.bit();
        self.fields.push(Field { name: draft.name, value, known: draft.known, canonical: true, secret: false });
    }

    pub(crate) fn begin(&mut self, raw: &[u8], version: Version) {
        self.clear();
        self.arena.extend_from_slice(raw);
        self.version = version;
    }

    pub(crate) fn index(&mut self, name: Span, value: Span, next: usize) {
        let known = Known::of(self.bytes(name));
        self.present |= known.bit();
        let canonical = name.end() + 2 == value.start as usize
            && value.end() + 2 == next
            && self.arena.get(name.end() + 1) == Some(&b' ');
        self.fields.push(Field { name, value, known, canonical, secret: false });
    }

    pub(crate) fn control_request(
        &mut self,
        method: Method,
        scheme: Scheme,
        authority: Span,
        path: Span,
        query: Option<Span>,
    ) {
        self.control = Control::Request { method, scheme, authority, path, query };
    }

    pub(crate) fn control_response(&mut self, status: u16, reason: Span) {
        self.control = Control::Response { status, reason };
    }

    /// Sets the framing that the fields themselves have stated.
    pub(crate) fn framed_by_fields(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Puts another range of the arena in the place of the first value of a known name; says whether there was one.
    pub(crate) fn replace_value(&mut self, known: Known, value: Span) -> bool {
        let Some(field) = self.fields.iter_mut().find(|field| field.known == known) else { return false };
        field.value = value;
        field.canonical = false;
        true
    }

    /// The span of the first value of a known name.
    pub(crate) fn span_of(&self, known: Known) -> Option<Span> {
        self.fields.iter().find(|field| field.known == known).map(|field| field.value)
    }

    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) -> Span {
        let start = self.arena.len();
        self.arena.extend_from_slice(text);
        Span::of(start, text.len())
    }

    fn method_of(&mut self, text: &[u8]) -> Method {
        Method::known(text).unwrap_or_else(|| Method::Other(self.push(text)))
    }

    fn bytes(&self, span: Span) -> &[u8] {
        slice(&self.arena, span)
    }
}

impl Method {
    /// The methods that have a variant of their own; method names are case-sensitive (RFC 9110 section 9.1).
    pub fn known(text: &[u8]) -> Option<Method> {
        Some(match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => return None,
        })
    }

    /// Whether doing it twice is as good as doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
    }
}

impl Span {
    pub(crate) const fn of(start: usize, len: usize) -> Span {
        // Heads are bounded far below 4 GiB by the limits that the parser was given.
        Span { start: start as u32, len: len as u32 }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.start as usize + self.len as usize
    }
}

fn slice(arena: &[u8], span: Span) -> &[u8] {
    // Spans are made only for this arena, which never shrinks while they live.
    &arena[span.start as usize..span.end()]
}
