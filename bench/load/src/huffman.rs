//! The Huffman code of HPACK and QPACK (RFC 7541 section 5.2, appendix B): browsers write what they say in it.
//!
//! The code is canonical: codes of one length are consecutive, in the order of their symbols, so that the lengths alone tell all.

/// Appends `text`, coded and padded with ones.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let codes = codes();
    let (mut bits, mut count) = (0_u64, 0);
    for &byte in text {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        bits = bits << length | u64::from(codes[usize::from(byte)]);
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | 0xff >> count);
    }
}

/// Appends what `coded` stands for; none if that is nothing. Bit by bit: nobody is in a hurry who asks for it.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let codes = codes();
    let (mut code, mut length) = (0_u32, 0_u8);
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        (code, length) = (code << 1 | u32::from(bit), length + 1);
        if let Some(symbol) = (0..codes.len()).find(|&symbol| (LENGTHS[symbol], codes[symbol]) == (length, code)) {
            out.push(symbol as u8);
            (code, length) = (0, 0);
        } else if length == LONGEST {
            return None;
        }
    }
    // The rest is padding.
    (length < 8).then_some(())
}

fn codes() -> [u32; 256] {
    let mut codes = [0; 256];
    let mut next = 0;
    for length in 1..=LONGEST {
        for symbol in (0..LENGTHS.len()).filter(|&symbol| LENGTHS[symbol] == length) {
            // The last symbol is the end of the string, which is never written.
            if let Some(code) = codes.get_mut(symbol) {
                *code = next;
            }
            next += 1;
        }
        next <<= 1;
    }
    codes
}

const LONGEST: u8 = 30;

/// Bits of each symbol's code (appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn the_examples_of_appendix_c_are_written_so() {
        let mut coded = Vec::new();
        encode(b"www.example.com", &mut coded);
        assert_eq!(coded, [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]);
        coded.clear();
        encode(b"Mon, 21 Oct 2013 20:13:21 GMT", &mut coded);
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82,
            0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(coded, date);
    }

    #[test]
    fn what_is_written_is_read() {
        let text: Vec<u8> = (0..=255).collect();
        let (mut coded, mut read) = (Vec::new(), Vec::new());
        encode(&text, &mut coded);
        assert_eq!((decode(&coded, &mut read), read), (Some(()), text));
    }
}
