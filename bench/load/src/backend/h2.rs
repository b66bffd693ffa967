//! A connection of HTTP/2 (RFC 9113), by prior knowledge: every request is answered as soon as it has ended. The first few are read,
//! for one may ask for its own head; of all others only the frames are looked at.

use std::collections::VecDeque;

use super::Closed;
use super::hpack::Decoder;

pub struct Session {
    /// The beginning of what has not arrived whole.
    partial: Vec<u8>,
    /// What is to be sent.
    out: Vec<u8>,
    /// How much content the client takes on the connection.
    window: i64,
    /// Requests whose answers wait for that.
    waiting: VecDeque<(u32, Option<Vec<u8>>)>,
    /// Reads heads, while any are.
    decoder: Option<Decoder>,
    requests: u64,
    /// Requests that asked for their own head and have not ended.
    echoes: Vec<(u32, Vec<u8>)>,
}

/// An answer that is always the same.
pub struct Prepared {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// The line that the preface of a connection looks like to HTTP/1.1, and what follows it (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0";
const REST_OF_PREFACE: &[u8] = b"SM\r\n\r\n";

/// Requests of a connection that may ask for their own head.
const READ: u64 = 16;
/// Content of one frame, unless a client takes more; none of ours asks.
const FRAME: usize = 16 * 1024;
const FRONT: usize = 9;
/// What a client takes before it says so.
const WINDOW: i64 = 65_535;

// Types and flags of frames (section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

impl Prepared {
    /// None if the body needs more than one frame.
    pub fn new(body: &[u8]) -> Option<Self> {
        (body.len() <= FRAME).then(|| Self { head: head(body.len()), body: body.to_vec() })
    }
}

impl Session {
    pub fn new() -> Self {
        let mut out = Vec::new();
        // As many requests at a time as anybody wants.
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0xff, 0xff], &mut out);
        Self {
            partial: Vec::new(),
            out,
            window: WINDOW,
            waiting: VecDeque::new(),
            decoder: Some(Decoder::new()),
            requests: 0,
            echoes: Vec::new(),
        }
    }

    /// What is to be sent; the caller empties it.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Takes what came behind the preface's first line; says how many requests that were.
    pub fn read(&mut self, bytes: &[u8], prepared: &Prepared) -> Result<u64, Closed> {
        let before = self.requests;
        if self.partial.is_empty() {
            let used = self.frames(bytes, prepared)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(bytes);
            let used = self.frames(&joined, prepared)?;
            joined.drain(..used);
            self.partial = joined;
        }
        self.answer(prepared);
        Ok(self.requests - before)
    }

    fn frames(&mut self, bytes: &[u8], prepared: &Prepared) -> Result<usize, Closed> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= FRONT) {
            if rest.starts_with(REST_OF_PREFACE) {
                at += REST_OF_PREFACE.len();
                continue;
            }
            let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
            let Some(payload) = rest.get(FRONT..FRONT + length) else { break };
            let stream = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]) & 0x7fff_ffff;
            self.frame(rest[3], rest[4], stream, payload, prepared)?;
            at += FRONT + length;
        }
        Ok(at)
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], prepared: &Prepared) -> Result<(), Closed> {
        match kind {
            HEADERS => {
                // A head is far smaller than a frame.
                if flags & END_HEADERS == 0 {
                    return Err(Closed);
                }
                if self.decoder.is_some() {
                    self.head(flags, stream, payload)?;
                }
            }
            // A request with a body would want its window back.
            DATA if !payload.is_empty() => return Err(Closed),
            DATA => {}
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    // One that does not take a whole answer at once would have to be served in pieces.
                    if setting[1] == 4 && (value as usize) < prepared.body.len() {
                        return Err(Closed);
                    }
                }
                frame(SETTINGS, ACK, 0, &[], &mut self.out);
            }
            PING if flags & ACK == 0 => frame(PING, ACK, 0, payload, &mut self.out),
            WINDOW_UPDATE if stream == 0 => {
                let more = payload.first_chunk().ok_or(Closed)?;
                self.window += i64::from(u32::from_be_bytes(*more));
            }
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            self.requests += 1;
            let echo = self.echoes.iter().position(|(asking, _)| *asking == stream);
            self.waiting.push_back((stream, echo.map(|at| self.echoes.swap_remove(at).1)));
        }
        Ok(())
    }

    /// Reads a head, and keeps it as text if it asks for that.
    fn head(&mut self, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Closed> {
        let padding = if flags & PADDED != 0 { usize::from(*payload.first().ok_or(Closed)?) } else { 0 };
        let start = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
        let block = payload.get(start..payload.len().saturating_sub(padding)).ok_or(Closed)?;
        let decoder = self.decoder.as_mut().ok_or(Closed)?;
        let fields = decoder.decode(block).ok_or(Closed)?;
        if fields.iter().any(|(name, value)| name == ":path" && value.ends_with("/echo")) {
            let text: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            self.echoes.push((stream, text.into_bytes()));
        }
        if self.requests >= READ {
            self.decoder = None;
        }
        Ok(())
    }

    /// Answers as many as the client's window lets us.
    fn answer(&mut self, prepared: &Prepared) {
        while let Some((stream, own)) = self.waiting.front() {
            let body = own.as_ref().unwrap_or(&prepared.body);
            if self.window < body.len() as i64 {
                return;
            }
            self.window -= body.len() as i64;
            match own {
                None => frame(HEADERS, END_HEADERS, *stream, &prepared.head, &mut self.out),
                Some(own) => frame(HEADERS, END_HEADERS, *stream, &head(own.len()), &mut self.out),
            }
            frame(DATA, END_STREAM, *stream, body, &mut self.out);
            self.waiting.pop_front();
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The fields that the server has in HTTP/1.1, too: names of the static table, values spelled out, nothing for a dynamic table.
fn head(length: usize) -> Vec<u8> {
    let mut block = vec![0x88];
    for (index, value) in [
        (54, "backend"),
        (33, "Mon, 01 Jan 2024 00:00:00 GMT"),
        (31, "text/html; charset=utf-8"),
        (28, &length.to_string()),
        (44, "Mon, 01 Jan 2024 00:00:00 GMT"),
        (34, "\"65920080-400\""),
        (24, "max-age=60"),
    ] {
        // Literals without indexing (RFC 7541 section 6.2.2): an index above 14 takes a second byte.
        block.extend_from_slice(&[0x0f, index - 15, value.len() as u8]);
        block.extend_from_slice(value.as_bytes());
    }
    block
}
