//! What stands before each payload (RFC 9114 section 7).

use super::{Broken, Code, varint};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the standards' names")]
pub enum Kind {
    Data,
    Headers,
    CancelPush,
    Settings,
    PushPromise,
    Goaway,
    MaxPushId,
    /// RFC 9218 section 7.2
    PriorityUpdate,
    /// Of a kind that nobody has defined, or not to us: it is passed over (RFC 9114 section 9).
    Unknown,
}

/// What a front says: the kind of its frame, and the length of its payload.
pub type Whole = (Kind, u64);

/// The front of a frame, as it comes in byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct Front {
    bytes: [u8; 16],
    length: u8,
}

impl Front {
    /// Takes what it needs of `bytes`: answers how many bytes those were, and kind and length of the frame once it is whole.
    ///
    /// # Errors
    /// A kind of HTTP/2 (RFC 9114 section 7.2.8).
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Option<Result<Whole, Broken>>) {
        let mut used = 0;
        loop {
            if let Some((kind, at)) = varint::read(&self.bytes[..usize::from(self.length)])
                && let Some((length, _)) = varint::read(&self.bytes[at..usize::from(self.length)])
            {
                self.length = 0;
                return (used, Some(Kind::of(kind).map(|kind| (kind, length))));
            }
            let Some(byte) = bytes.get(used) else { return (used, None) };
            // Two numbers of eight bytes are the longest front, and are whole then.
            self.bytes[usize::from(self.length)] = *byte;
            self.length += 1;
            used += 1;
        }
    }

    /// Whether some of a front is here.
    pub fn is_begun(&self) -> bool {
        self.length > 0
    }
}

impl Kind {
    fn of(number: u64) -> Result<Kind, Broken> {
        Ok(match number {
            0x0 => Kind::Data,
            0x1 => Kind::Headers,
            0x3 => Kind::CancelPush,
            0x4 => Kind::Settings,
            0x5 => Kind::PushPromise,
            0x7 => Kind::Goaway,
            0xd => Kind::MaxPushId,
            0x2 | 0x6 | 0x8 | 0x9 => {
                return Err(Broken::of(Code::FRAME_UNEXPECTED, "a frame of HTTP/2"));
            }
            0xf_0700 | 0xf_0701 => Kind::PriorityUpdate,
            _ => Kind::Unknown,
        })
    }
}

/// Appends the front of a frame of content.
pub fn data(length: usize, out: &mut Vec<u8>) {
    front(0x0, length, out);
}

/// Appends a frame with a block.
pub fn headers(block: &[u8], out: &mut Vec<u8>) {
    front(0x1, block.len(), out);
    out.extend_from_slice(block);
}

/// Appends a frame that says which requests are not looked at any more: this one and those behind it (section 5.2).
pub fn goaway(first: u64, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(8);
    varint::write(first, &mut payload);
    front(0x7, payload.len(), out);
    out.extend_from_slice(&payload);
}

pub(super) fn front(kind: u64, length: usize, out: &mut Vec<u8>) {
    varint::write(kind, out);
    varint::write(length as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_may_come_byte_by_byte() {
        let mut bytes = Vec::new();
        headers(&[7; 300], &mut bytes);
        let mut front = Front::default();
        for at in 0..2 {
            assert_eq!(front.take(&bytes[at..=at]), (1, None));
            assert!(front.is_begun());
        }
        assert_eq!(front.take(&bytes[2..]), (1, Some(Ok((Kind::Headers, 300)))));
        assert!(!front.is_begun());
        assert_eq!(front.take(&[0, 5, 9, 9]), (2, Some(Ok((Kind::Data, 5)))));
    }

    #[test]
    fn frames_of_http_2_break_the_connection() {
        for kind in [2, 6, 8, 9] {
            let (_, front) = Front::default().take(&[kind, 0]);
            assert_eq!(front.expect("a front").map_err(|broken| broken.code), Err(Code::FRAME_UNEXPECTED));
        }
        let (used, front) = Front::default().take(&[0xff; 16]);
        assert_eq!((used, front), (16, Some(Ok((Kind::Unknown, varint::MOST)))));
    }
}
