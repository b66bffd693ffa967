//! gRPC: one call of `grpc.health.v1.Health/Check` ("GRPC Health Checking Protocol") over HTTP/2 with prior knowledge (RFC 9113
//! section 3.3), as far as one call needs it. Header fields of the answer are not read: the message alone says how the service is.

use super::{Step, failed};

/// One call.
#[derive(Debug)]
pub(in crate::health) struct Talk<'a> {
    call: &'a [u8],
    /// Whether the server's SETTINGS have come, which must be first.
    settled: bool,
    /// What has come of the answer's message.
    message: Vec<u8>,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const STREAM: u32 = 1;
/// SETTINGS_MAX_FRAME_SIZE as it is while we have set no other.
const LONGEST_FRAME: usize = 16_384;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// All that is said in a call: preface, settings, head and message.
pub(super) fn call(host: &str, service: &str, secure: bool) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    // No pushes.
    frame(&mut out, SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0]);
    // `:method: POST` and `:scheme: http` or `https` from the static table (RFC 7541 appendix A), the rest as literals that nobody indexes.
    let mut head = vec![0x83, if secure { 0x87 } else { 0x86 }];
    let mut literal = |name: &[u8], value: &str| {
        head.extend_from_slice(name);
        length(&mut head, value.len());
        head.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], "/grpc.health.v1.Health/Check");
    literal(&[0x01], host);
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    literal(&[0x0f, 0x2b], "tidegate-health");
    frame(&mut out, HEADERS, END_HEADERS, STREAM, &head);
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut data = vec![0];
    data.extend_from_slice(&(message.len() as u32).to_be_bytes());
    data.extend_from_slice(&message);
    frame(&mut out, DATA, END_STREAM, STREAM, &data);
    out
}

impl<'a> Talk<'a> {
    pub(super) fn new(call: &'a [u8]) -> Talk<'a> {
        Talk { call, settled: false, message: Vec::new() }
    }

    pub(super) fn open(&self, said: &mut Vec<u8>) {
        said.extend_from_slice(self.call);
    }

    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Step {
        while let Some(&[one, two, three, kind, flags, s1, s2, s3, s4]) = heard.first_chunk::<9>() {
            let size = u32::from_be_bytes([0, one, two, three]) as usize;
            let stream = u32::from_be_bytes([s1, s2, s3, s4]) & 0x7fff_ffff;
            if size > LONGEST_FRAME || (!self.settled && (kind, flags & ACK) != (SETTINGS, 0)) {
                return failed("no answer of HTTP/2");
            }
            let Some(payload) = heard.get(9..9 + size) else { return Step::More };
            let payload = payload.to_vec();
            heard.drain(..9 + size);
            if let done @ Step::Done(_) = self.frame(kind, flags, stream, &payload, said) {
                return done;
            }
        }
        Step::More
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], said: &mut Vec<u8>) -> Step {
        match (kind, stream) {
            (SETTINGS, 0) if flags & ACK == 0 => {
                self.settled = true;
                frame(said, SETTINGS, ACK, 0, &[]);
            }
            (PING, 0) if flags & ACK == 0 => frame(said, PING, ACK, 0, payload),
            (GOAWAY, 0) => return failed(format!("HTTP/2 GOAWAY, code {}", code(payload.get(4..)))),
            (RST_STREAM, STREAM) => return failed(format!("HTTP/2 RST_STREAM, code {}", code(Some(payload)))),
            (DATA, STREAM) => {
                let Some(content) = unpadded(flags, payload) else { return failed("no answer of HTTP/2") };
                self.message.extend_from_slice(content);
                if let Some(outcome) = verdict(&self.message) {
                    return Step::Done(outcome);
                }
                if flags & END_STREAM != 0 {
                    return failed("the call ended without an answer");
                }
            }
            // An answer that begins with its end is an error: no such method, or no such service.
            (HEADERS, STREAM) if flags & END_STREAM != 0 => return failed("the call was refused"),
            _ => {}
        }
        Step::More
    }
}

/// What the answer's message says, once it is whole.
fn verdict(message: &[u8]) -> Option<Result<(), String>> {
    let (prefix, rest) = message.split_first_chunk::<PREFIX>()?;
    let [compressed, size @ ..] = *prefix;
    let size = u32::from_be_bytes(size) as usize;
    if compressed != 0 || size > LONGEST_FRAME {
        return Some(Err("an answer that cannot be read".to_owned()));
    }
    Some(match rest.get(..size)? {
        // Field 1, a number: HealthCheckResponse.ServingStatus.
        [0x08, 1] => Ok(()),
        [0x08, 2] => Err("NOT_SERVING".to_owned()),
        [0x08, 3] => Err("SERVICE_UNKNOWN".to_owned()),
        [] | [0x08, 0] => Err("UNKNOWN".to_owned()),
        _ => Err("an answer that cannot be read".to_owned()),
    })
}

fn unpadded(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if flags & PADDED == 0 {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

fn code(bytes: Option<&[u8]>) -> u32 {
    bytes.and_then(|bytes| bytes.first_chunk::<4>()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The length of a string without Huffman coding: an integer with a prefix of seven bits (RFC 7541 section 5.1).
fn length(out: &mut Vec<u8>, length: usize) {
    if length < 0x7f {
        return out.push(length as u8);
    }
    out.push(0x7f);
    varint(out, length - 0x7f);
}

/// Seven bits a byte, the lowest first: HPACK and Protocol Buffers agree on that.
fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::super::Talk as Any;
    use super::super::fixture::converse;
    use super::*;

    fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, kind, flags, stream, payload);
        out
    }

    fn talk(frames: &[Vec<u8>]) -> (Result<(), String>, Vec<u8>) {
        converse(|| Any::Grpc(Talk::new(b"")), &frames.concat())
    }

    #[test]
    fn a_call_is_made_of_frames() {
        let call = call("app.example:50051", "shop.Cart", false);
        let mut rest = call.strip_prefix(PREFACE).expect("a preface");
        let mut kinds = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            kinds.push((head[3], head[4], head[8]));
            rest = &after[size..];
        }
        assert_eq!(kinds, [(SETTINGS, 0, 0), (HEADERS, END_HEADERS, 1), (DATA, END_STREAM, 1)]);
        assert!(call.ends_with(b"\0\0\0\0\x0b\x0a\x09shop.Cart"));
        let mut long = Vec::new();
        length(&mut long, 1337);
        // RFC 7541 section C.1.2 has 1337 with a prefix of five bits; with seven it is 1210 behind 127.
        assert_eq!(long, [0x7f, 0xba, 0x09]);
    }

    #[test]
    fn answers() {
        let settings = framed(SETTINGS, 0, 0, &[]);
        let headers = framed(HEADERS, END_HEADERS, 1, &[0x88]);
        let data = |payload: &[u8]| framed(DATA, 0, 1, payload);
        let answer = |payload: &[u8]| talk(&[settings.clone(), headers.clone(), data(payload)]).0;
        assert_eq!(answer(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert_eq!(answer(&[0, 0, 0, 0, 2, 8, 2]), Err("NOT_SERVING".to_owned()));
        assert_eq!(answer(&[0, 0, 0, 0, 0]), Err("UNKNOWN".to_owned()));
        assert_eq!(answer(&[1, 0, 0, 0, 2, 8, 1]), Err("an answer that cannot be read".to_owned()));
        let ping = framed(PING, 0, 0, b"12345678");
        let padded = framed(DATA, PADDED, 1, &[3, 0, 0, 0, 0, 2, 8, 1, 0, 0, 0]);
        let (outcome, said) = talk(&[settings.clone(), ping, headers, padded]);
        assert_eq!(outcome, Ok(()));
        assert_eq!(said, [framed(SETTINGS, ACK, 0, &[]), framed(PING, ACK, 0, b"12345678")].concat());
        let refused = framed(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        assert_eq!(talk(&[settings.clone(), refused]).0, Err("the call was refused".to_owned()));
        let reset = framed(RST_STREAM, 0, 1, &[0, 0, 0, 7]);
        assert_eq!(talk(&[settings.clone(), reset]).0, Err("HTTP/2 RST_STREAM, code 7".to_owned()));
        let goaway = framed(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]);
        assert_eq!(talk(&[settings, goaway]).0, Err("HTTP/2 GOAWAY, code 11".to_owned()));
        assert_eq!(talk(&[b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]).0, Err("no answer of HTTP/2".to_owned()));
    }
}
