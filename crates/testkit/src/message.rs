//! HTTP/1 messages, by a strict reader that shares no code with the program under test.
//!
//! It is stricter than RFC 9112 asks of a recipient: the program must not send what only a forgiving reader understands.

use std::io::{self, Read};

use crate::socket::Socket;

/// Header fields or trailers, in order. Bytes are kept as the characters of the same number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

/// What ends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// The last chunk.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// A request, as a server received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target as sent.
    pub target: String,
    /// `HTTP/1.1`
    pub version: String,
    /// The fields.
    pub fields: Fields,
    /// What ended the body.
    pub framing: Framing,
    /// The content.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Fields,
    /// The number of the connection it came on, from 0.
    pub connection: usize,
}

/// A response, as a client received it.
#[derive(Clone, Debug)]
pub struct Response {
    /// `HTTP/1.1`
    pub version: String,
    /// The status.
    pub status: u16,
    /// The fields.
    pub fields: Fields,
    /// What ended the body.
    pub framing: Framing,
    /// The content.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Fields,
    /// Interim responses that came before.
    pub interim: Vec<Response>,
}

/// Why a message could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection ended before the first byte.
    Ended,
    /// The connection ended inside the message.
    Cut,
    /// The connection was reset.
    Reset,
    /// Nothing came in time.
    Silent,
    /// It is no message: why, and the bytes.
    Malformed(String),
}

/// The beginning of a message: the words of the start line, the fields.
#[derive(Clone, Debug)]
pub struct Head {
    /// The start line.
    pub line: String,
    /// The fields.
    pub fields: Fields,
}

/// Reads messages from a socket.
#[derive(Debug)]
pub struct Reader {
    /// The socket.
    pub socket: Socket,
    buffer: Vec<u8>,
}

impl Fields {
    /// The only value of that name.
    ///
    /// # Panics
    /// There are several.
    pub fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() < 2, "several {name}: {values:?}");
        values.first().copied()
    }

    /// All values of that name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }
}

impl Request {
    /// The body as text.
    pub fn text(&self) -> String {
        latin(&self.body)
    }
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        latin(&self.body)
    }
}

impl Reader {
    /// A reader that has read nothing.
    pub fn new(socket: Socket) -> Reader {
        Reader { socket, buffer: Vec::new() }
    }

    /// Reads more bytes; 0 is the end.
    ///
    /// # Errors
    /// [`Broken::Reset`] or [`Broken::Silent`].
    pub fn fill(&mut self) -> Result<usize, Broken> {
        let mut block = [0; 64 * 1024];
        loop {
            match self.socket.read(&mut block) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&block[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(Broken::Silent);
                }
                Err(_) => return Err(Broken::Reset),
            }
        }
    }

    /// Reads the head of a message.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn head(&mut self) -> Result<Head, Broken> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.fill()? == 0 {
                return Err(if self.buffer.is_empty() { Broken::Ended } else { Broken::Cut });
            }
        };
        let text = latin(&self.take(end + 4)[..end]);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        if line.contains(['\r', '\n']) {
            return Err(malformed("bare CR or LF in the start line", &text));
        }
        Ok(Head { line, fields: fields(lines)? })
    }

    /// Reads a body: its content, and its trailers.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn body(&mut self, framing: Framing) -> Result<(Vec<u8>, Fields), Broken> {
        match framing {
            Framing::None => Ok((Vec::new(), Fields::default())),
            Framing::Length(length) => Ok((self.exactly(length as usize)?, Fields::default())),
            Framing::Chunked => self.chunks(),
            Framing::UntilClose => Ok((self.to_end()?, Fields::default())),
        }
    }

    /// Reads exactly so many bytes.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(Broken::Cut);
            }
        }
        Ok(self.take(count))
    }

    /// Reads so many bytes and keeps none.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn discard(&mut self, mut count: u64) -> Result<(), Broken> {
        loop {
            let here = (self.buffer.len() as u64).min(count);
            self.buffer.drain(..here as usize);
            count -= here;
            if count == 0 {
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err(Broken::Cut);
            }
        }
    }

    /// Reads a chunk and keeps nothing of it; answers its size. The last one, of size 0, takes the trailers with it.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn discard_chunk(&mut self) -> Result<u64, Broken> {
        let size = self.chunk_size()?;
        if size == 0 {
            self.trailers()?;
        } else {
            self.discard(size)?;
            self.chunk_end()?;
        }
        Ok(size)
    }

    /// Reads until the connection ends.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn to_end(&mut self) -> Result<Vec<u8>, Broken> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Bytes that were read and not used.
    pub fn surplus(&self) -> &[u8] {
        &self.buffer
    }

    fn chunks(&mut self) -> Result<(Vec<u8>, Fields), Broken> {
        let mut content = Vec::new();
        loop {
            let size = self.chunk_size()?;
            if size == 0 {
                return Ok((content, self.trailers()?));
            }
            content.extend(self.exactly(size as usize)?);
            self.chunk_end()?;
        }
    }

    /// Reads one chunk, which is empty if it is the last.
    ///
    /// # Errors
    /// There is none.
    pub fn chunk(&mut self) -> Result<Vec<u8>, Broken> {
        let size = self.chunk_size()?;
        let count = usize::try_from(size).map_err(|_| Broken::Malformed("a chunk of this size".to_owned()))?;
        let bytes = self.exactly(count)?;
        if size > 0 {
            self.chunk_end()?;
        }
        Ok(bytes)
    }

    fn chunk_size(&mut self) -> Result<u64, Broken> {
        let line = self.line()?;
        let plain = !line.is_empty() && line.len() < 16 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(&line, 16).ok().filter(|_| plain);
        size.ok_or_else(|| malformed("chunk size", &line))
    }

    fn chunk_end(&mut self) -> Result<(), Broken> {
        let end = self.exactly(2)?;
        if end == b"\r\n" { Ok(()) } else { Err(malformed("no line end behind a chunk", &latin(&end))) }
    }

    fn trailers(&mut self) -> Result<Fields, Broken> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return fields(lines.iter().map(String::as_str));
            }
            lines.push(line);
        }
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                return Ok(latin(&self.take(at + 2)[..at]));
            }
            if self.fill()? == 0 {
                return Err(Broken::Cut);
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn request(&mut self) -> Result<Request, Broken> {
        let mut request = self.request_head()?;
        (request.body, request.trailers) = self.body(request.framing)?;
        Ok(request)
    }

    /// Reads a request's head, and leaves its body.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn request_head(&mut self) -> Result<Request, Broken> {
        let Head { line, fields } = self.head()?;
        let words: Vec<&str> = line.split(' ').collect();
        let [method, target, version] = words[..] else { return Err(malformed("request line", &line)) };
        if method.is_empty() || target.is_empty() || version != "HTTP/1.1" {
            return Err(malformed("request line", &line));
        }
        if fields.values("host").len() != 1 {
            return Err(malformed("not exactly one Host", &format!("{fields:?}")));
        }
        let framing = framing(&fields)?.unwrap_or(Framing::None);
        let (method, target, version) = (method.to_owned(), target.to_owned(), version.to_owned());
        let (body, trailers) = (Vec::new(), Fields::default());
        Ok(Request { method, target, version, fields, framing, body, trailers, connection: 0 })
    }

    /// Reads a final response and the interim ones before it.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn response(&mut self, to_head: bool) -> Result<Response, Broken> {
        let mut interim = Vec::new();
        loop {
            let mut response = self.response_head(to_head)?;
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response);
                continue;
            }
            (response.body, response.trailers) = self.body(response.framing)?;
            response.interim = interim;
            return Ok(response);
        }
    }

    /// Reads the head of one response, interim or final, and leaves its body.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn response_head(&mut self, to_head: bool) -> Result<Response, Broken> {
        let Head { line, fields } = self.head()?;
        let mut words = line.splitn(3, ' ');
        let (version, status, phrase) = (words.next(), words.next(), words.next());
        let (Some(version @ "HTTP/1.1"), Some(code), Some(_)) = (version, status, phrase) else {
            return Err(malformed("status line", &line));
        };
        let status = code.parse().ok().filter(|status| (100..=599).contains(status) && code.len() == 3);
        let Some(status) = status else { return Err(malformed("status", &line)) };
        let said = framing(&fields)?;
        let bodiless = status < 200 || status == 204;
        if bodiless && said.is_some() {
            return Err(malformed("a body announced where none can be", &format!("{line} {fields:?}")));
        }
        let framing = match said {
            _ if bodiless || status == 304 || to_head => Framing::None,
            Some(framing) => framing,
            None => Framing::UntilClose,
        };
        let (version, body, trailers) = (version.to_owned(), Vec::new(), Fields::default());
        Ok(Response { version, status, fields, framing, body, trailers, interim: Vec::new() })
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Fields, Broken> {
    let mut fields = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return Err(malformed("no colon", line)) };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(malformed("field name", line));
        }
        if value.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f') {
            return Err(malformed("control byte in a field value", line));
        }
        fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(Fields(fields))
}

fn framing(fields: &Fields) -> Result<Option<Framing>, Broken> {
    match (&fields.values("transfer-encoding")[..], &fields.values("content-length")[..]) {
        ([], []) => Ok(None),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
        ([], [digits]) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(|length| Some(Framing::Length(length))).map_err(|_| malformed("length", digits))
        }
        _ => Err(malformed("ambiguous framing", &format!("{fields:?}"))),
    }
}

fn malformed(why: &str, text: &str) -> Broken {
    Broken::Malformed(format!("{why}: {text:?}"))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        let (mut far, near) = UnixStream::pair().expect("a pair of sockets");
        far.write_all(bytes).expect("room for a message");
        Reader::new(Socket::Unix(near))
    }

    #[test]
    fn a_response_is_read_with_what_came_before_it_and_nothing_behind_it() {
        let mut reader = reader(
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\nnext",
        );
        let response = reader.response(false).expect("a response");
        assert_eq!((response.status, response.interim.len(), response.text().as_str()), (200, 1, "abc"));
        assert_eq!(response.trailers.value("t"), Some("1"));
        assert_eq!(reader.surplus(), b"next");
    }

    #[test]
    fn what_only_a_forgiving_reader_understands_is_malformed() {
        for bytes in [
            &b"HTTP/1.1 200\r\n\r\n"[..],
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ] {
            let read = reader(bytes).response(false);
            assert!(matches!(read, Err(Broken::Malformed(_))), "{:?}: {read:?}", latin(bytes));
        }
    }

    #[test]
    fn an_early_end_is_told_from_none_at_all() {
        assert_eq!(reader(b"").response(false).err(), Some(Broken::Ended));
        assert_eq!(reader(b"HTTP/1.1 200 O").response(false).err(), Some(Broken::Cut));
        let short = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
        assert_eq!(reader(short).response(false).err(), Some(Broken::Cut));
    }
}
