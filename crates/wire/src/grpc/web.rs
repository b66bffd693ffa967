//! gRPC-Web: content whose last frame holds the trailers, and base64 around it where a browser can read only text.

use crate::head::Head;

/// Content that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBase64;

/// Base64 to bytes, however it is cut. Padding may stand inside, where a sender has put pieces together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    /// The bits of a group that is not whole yet.
    held: u32,
    /// Characters of that group.
    count: u8,
    /// How many of them were padding.
    padding: u8,
}

/// Bytes to base64, however they are cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encoder {
    held: [u8; 2],
    count: usize,
}

/// Appends the frame that ends the content: the trailers, in lines. A call without a status has no end that a client could
/// understand, and gets one.
pub fn end_frame(trailers: Option<&Head>, out: &mut Vec<u8>) {
    out.push(TRAILERS);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut said = false;
    for field in trailers.into_iter().flat_map(Head::fields) {
        said |= field.name.eq_ignore_ascii_case(b"grpc-status");
        out.extend(field.name.to_ascii_lowercase());
        out.push(b':');
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
    if !said {
        out.extend_from_slice(b"grpc-status:2\r\ngrpc-message:the server has not said how the call has ended\r\n");
    }
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

impl Decoder {
    /// Appends the bytes that these characters stand for.
    ///
    /// # Errors
    /// They are not base64 (RFC 4648 section 4), in this alphabet and padded, without anything between.
    pub fn feed(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), NoBase64> {
        for character in text {
            let bits = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.count >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return Err(NoBase64),
            };
            if self.padding > 0 && *character != b'=' {
                return Err(NoBase64);
            }
            self.held = self.held << 6 | u32::from(bits);
            self.count += 1;
            if self.count == 4 {
                let bytes = self.held.to_be_bytes();
                let kept = 4 - usize::from(self.padding);
                if bytes[kept..].iter().any(|byte| *byte != 0) {
                    return Err(NoBase64);
                }
                out.extend_from_slice(&bytes[1..kept]);
                *self = Decoder::default();
            }
        }
        Ok(())
    }

    /// Whether no group is left open.
    pub fn is_whole(&self) -> bool {
        self.count == 0
    }
}

impl Encoder {
    /// Appends the characters for these bytes, but for the last one or two if they make no whole group.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while self.count > 0 {
            let Some((first, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if self.count == 2 {
                out.extend_from_slice(&group([self.held[0], self.held[1], *first]));
                self.count = 0;
                break;
            }
            self.held[self.count] = *first;
            self.count += 1;
        }
        let (groups, rest) = bytes.as_chunks::<3>();
        out.reserve(4 * groups.len());
        for bytes in groups {
            out.extend_from_slice(&group(*bytes));
        }
        self.held[..rest.len()].copy_from_slice(rest);
        self.count = rest.len();
    }

    /// Appends what is left, padded: a reader has everything then.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        let mut characters = match self.count {
            0 => return,
            1 => group([self.held[0], 0, 0]),
            _ => group([self.held[0], self.held[1], 0]),
        };
        characters[self.count + 1..].fill(b'=');
        out.extend_from_slice(&characters);
        self.count = 0;
    }

    /// Whether bytes wait for others.
    pub fn holds(&self) -> bool {
        self.count > 0
    }
}

fn group([one, two, three]: [u8; 3]) -> [u8; 4] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from_be_bytes([0, one, two, three]);
    [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])
}

const TRAILERS: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        encoder.feed(bytes, &mut out);
        encoder.flush(&mut out);
        String::from_utf8(out).expect("text")
    }

    fn decoded(text: &str) -> Result<Vec<u8>, NoBase64> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        decoder.feed(text.as_bytes(), &mut out)?;
        if decoder.is_whole() { Ok(out) } else { Err(NoBase64) }
    }

    /// RFC 4648 section 10.
    #[test]
    fn the_vectors_of_the_standard() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decoded(text).as_deref(), Ok(bytes.as_bytes()));
        }
    }

    #[test]
    fn pieces_that_are_padded_each_are_one_text() {
        assert_eq!(decoded("Zg==Zm8=Zm9v").as_deref(), Ok(&b"ffofoo"[..]));
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Z===", "====", "Zg=a", "Zg==\n", "Zm9v-", "Zh==", "Zm9="] {
            assert_eq!(decoded(text), Err(NoBase64), "{text}");
        }
    }

    #[test]
    fn the_last_frame_holds_the_trailers() {
        let mut trailers = Head::default();
        trailers.add(b"Grpc-Status", b"0");
        trailers.add(b"x-a", b"b");
        let mut out = Vec::new();
        end_frame(Some(&trailers), &mut out);
        assert_eq!(out, b"\x80\0\0\0\x16grpc-status:0\r\nx-a:b\r\n"[..].to_vec());
    }

    #[test]
    fn a_call_always_has_an_end() {
        let mut out = Vec::new();
        end_frame(None, &mut out);
        let length = u32::from_be_bytes([out[1], out[2], out[3], out[4]]) as usize;
        assert_eq!((out[0], length), (0x80, out.len() - 5));
        assert!(out[5..].starts_with(b"grpc-status:2\r\n"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_is_cut(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), any::<bool>()), 0..8),
            cut in 1..7_usize,
        ) {
            let (mut encoder, mut text) = (Encoder::default(), Vec::new());
            for (piece, flush) in &pieces {
                encoder.feed(piece, &mut text);
                if *flush {
                    encoder.flush(&mut text);
                    prop_assert!(!encoder.holds());
                }
            }
            encoder.flush(&mut text);
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for piece in text.chunks(cut) {
                prop_assert_eq!(decoder.feed(piece, &mut out), Ok(()));
            }
            prop_assert!(decoder.is_whole());
            let whole: Vec<u8> = pieces.into_iter().flat_map(|(piece, _)| piece).collect();
            prop_assert_eq!(out, whole);
        }
    }
}
