//! Frames (RFC 9113 section 4 and 6): the nine bytes before each, and what types and flags are called.

/// Bytes before each frame's payload.
pub const HEADER: usize = 9;

/// The payload that every peer must take (RFC 9113 section 4.2), and the most that we take.
pub const PAYLOAD: usize = 16 * 1024;

/// What a client sends before its first frame (section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The nine bytes before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the payload.
    pub length: usize,
    /// The type, known or not.
    pub kind: u8,
    /// Flags; what they mean depends on the type.
    pub flags: u8,
    /// The stream; 0 is the connection itself.
    pub stream: u32,
}

/// Types of frames.
pub mod kind {
    #![expect(missing_docs, reason = "the names are those of RFC 9113 section 6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    /// RFC 9218 section 7.1
    pub const PRIORITY_UPDATE: u8 = 16;
}

/// Flags of frames.
pub mod flag {
    #![expect(missing_docs, reason = "the names are those of RFC 9113 section 6")]
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

impl Header {
    /// Reads what stands before a payload; `None` if it has not all arrived.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let [a, b, c, kind, flags, d, e, f, g] = *bytes.first_chunk::<HEADER>()?;
        Some(Header {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The first bit is reserved and ignored (section 4.1).
            stream: u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff,
        })
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends what stands before a payload.
#[inline]
pub fn begin(length: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

/// Corrects the length of the frame that begins at `at`.
#[inline]
pub fn set_length(out: &mut [u8], at: usize, length: usize) {
    if let Some(field) = out.get_mut(at..at + 3) {
        field.copy_from_slice(&(length as u32).to_be_bytes()[1..]);
    }
}

/// The content of a payload that may be padded (section 6.1): the padding's length stands first, the padding last.
pub fn without_padding(header: Header, payload: &[u8]) -> Option<&[u8]> {
    if !header.has(flag::PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(*padding as usize)?)
}

/// A number of four bytes.
#[inline]
pub fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}
