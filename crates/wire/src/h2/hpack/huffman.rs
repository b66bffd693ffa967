//! The Huffman code of HPACK (RFC 7541 section 5.2, appendix B).
//!
//! The code is canonical: codes of one length are consecutive, in the order of their symbols. So the lengths alone
//! make all tables, when this is compiled.

/// A string that is not in the code, or not padded as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Appends the text that `coded` stands for.
///
/// # Errors
/// The end-of-string symbol, or a padding that is longer than seven bits or not all ones.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    let start = out.len();
    // Five bits are the shortest code, and a look-up writes two symbols even where there is one.
    out.resize(start + coded.len() * 8 / 5 + 2, 0);
    let decoded = decode_into(coded, &mut out[start..]);
    out.truncate(start + decoded.unwrap_or(0));
    decoded.map(|_| ())
}

/// Writes the text to the front of `room`, which is long enough, and says how long it is.
fn decode_into(coded: &[u8], room: &mut [u8]) -> Result<usize, Invalid> {
    let mut written = 0;
    let mut rest = coded;
    // The bits at hand are the upper `count` bits of `bits`, the others are zero.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        if count <= 32 {
            if let Some((four, after)) = rest.split_first_chunk::<4>() {
                bits |= u64::from(u32::from_be_bytes(*four)) << (32 - count);
                count += 32;
                rest = after;
            } else {
                for byte in rest {
                    bits |= u64::from(*byte) << (56 - count);
                    count += 8;
                }
                rest = &[];
            }
        }
        while count >= SHORTEST {
            let pair = &PAIRS[(bits >> (64 - WINDOW)) as usize];
            let both = u32::from(pair.both);
            if both > 0 && both <= count {
                let Some(place) = room.get_mut(written..written + 2) else { return Err(Invalid) };
                place.copy_from_slice(&pair.symbols);
                written += 1 + usize::from(pair.both > pair.one);
                bits <<= both;
                count -= both;
                continue;
            }
            // Bits that are not there yet, a code that is longer than a look-up, or the last bits of all.
            if count < LONGEST as u32 && !rest.is_empty() {
                break;
            }
            let known = (pair.one > 0).then_some((pair.symbols[0], u32::from(pair.one)));
            let Some((symbol, length)) = known.or_else(|| long(bits)).filter(|(_, length)| *length <= count) else {
                break;
            };
            let Some(place) = room.get_mut(written) else { return Err(Invalid) };
            *place = symbol;
            written += 1;
            bits <<= length;
            count -= length;
        }
        if count >= LONGEST as u32 {
            // Only the end-of-string symbol has no meaning in the midst.
            return Err(Invalid);
        }
        if rest.is_empty() {
            let padding = bits >> 56;
            let ones = 0xff_u64 << (8 - count.min(8)) & 0xff;
            return if count < 8 && padding == ones { Ok(written) } else { Err(Invalid) };
        }
    }
}

/// The symbol of a code that is longer than the look-up's window.
fn long(bits: u64) -> Option<(u8, u32)> {
    let code = (bits >> 32) as u32;
    for (length, row) in ROWS.iter().enumerate().skip(WINDOW as usize + 1) {
        let ahead = code >> (32 - length);
        if ahead >= row.first && ahead - row.first < row.count {
            return SYMBOLS.get((row.at + ahead - row.first) as usize).and_then(|symbol| {
                // Symbol 256 is the end of the string, which no string may hold.
                u8::try_from(*symbol).ok().map(|symbol| (symbol, length as u32))
            });
        }
    }
    None
}

/// Bits of one look-up: two of the shorter codes, which most of a text is made of.
const WINDOW: u32 = 12;
const LONGEST: usize = 30;
const SHORTEST: u32 = 5;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Row {
    first: u32,
    count: u32,
    /// Where their symbols begin.
    at: u32,
}

static ROWS: [Row; LONGEST + 1] = rows();
static SYMBOLS: [u16; 257] = symbols();

/// What the bits of a look-up begin with.
#[derive(Clone, Copy)]
struct Pair {
    symbols: [u8; 2],
    /// Bits of the first symbol's code; zero where it is longer than a look-up.
    one: u8,
    /// Bits of both; those of the first alone where the second does not fit.
    both: u8,
}

static PAIRS: [Pair; 1 << WINDOW] = {
    let short = short();
    let mut pairs = [Pair { symbols: [0; 2], one: 0, both: 0 }; 1 << WINDOW];
    let mut at = 0;
    while at < pairs.len() {
        let (first, one) = short[at];
        let (second, two) = short[(at << one) & ((1 << WINDOW) - 1)];
        let fits = one > 0 && two > 0 && (one + two) as u32 <= WINDOW;
        pairs[at] = Pair { symbols: [first, second], one, both: if fits { one + two } else { one } };
        at += 1;
    }
    pairs
};

/// The symbol and length of each code that is no longer than the window, by the bits ahead; length 0 where it is longer.
const fn short() -> [(u8, u8); 1 << WINDOW] {
    let (rows, symbols) = (rows(), symbols());
    let mut short = [(0, 0); 1 << WINDOW];
    let mut length = 1;
    while length <= WINDOW as usize {
        let row = rows[length];
        let mut number = 0;
        while number < row.count {
            let code = row.first + number;
            let spare = WINDOW - length as u32;
            let mut tail = 0;
            while tail < 1 << spare {
                short[(code << spare | tail) as usize] = (symbols[(row.at + number) as usize] as u8, length as u8);
                tail += 1;
            }
            number += 1;
        }
        length += 1;
    }
    short
}

const fn rows() -> [Row; LONGEST + 1] {
    let mut rows = [Row { first: 0, count: 0, at: 0 }; LONGEST + 1];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        rows[LENGTHS[symbol] as usize].count += 1;
        symbol += 1;
    }
    let mut length = 1;
    while length <= LONGEST {
        let before = rows[length - 1];
        rows[length].first = (before.first + before.count) << 1;
        rows[length].at = before.at + before.count;
        length += 1;
    }
    rows
}

/// All symbols by the length of their code, then by value.
const fn symbols() -> [u16; 257] {
    let rows = rows();
    let mut symbols = [0; 257];
    let mut used = [0; LONGEST + 1];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        let length = LENGTHS[symbol] as usize;
        symbols[(rows[length].at + used[length]) as usize] = symbol as u16;
        used[length] += 1;
        symbol += 1;
    }
    symbols
}

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
    use super::*;

    /// The other direction, for tests alone: we never send it.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut code_of = [(0_u32, 0_usize); 257];
        let (rows, symbols) = (rows(), symbols());
        for (length, row) in rows.iter().enumerate() {
            for number in 0..row.count {
                code_of[symbols[(row.at + number) as usize] as usize] = (row.first + number, length);
            }
        }
        let mut bits = String::new();
        for byte in text {
            let (code, length) = code_of[*byte as usize];
            bits.push_str(&format!("{code:0length$b}"));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let bytes = bits.as_bytes().chunks(8);
        bytes.map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'))).collect()
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn the_code_is_complete() {
        let sum: f64 = LENGTHS.iter().map(|length| 0.5_f64.powi(i32::from(*length))).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_examples_of_appendix_c_decode() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded), Ok(b"www.example.com".to_vec()));
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]), Ok(b"no-cache".to_vec()));
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82,
            0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(decoded(&date), Ok(b"Mon, 21 Oct 2013 20:13:21 GMT".to_vec()));
    }

    #[test]
    fn every_symbol_comes_back() {
        for byte in 0..=255_u8 {
            for count in 0..9 {
                let mut text = vec![byte; count];
                text.extend_from_slice(b"a0 tail");
                assert_eq!(decoded(&encode(&text)), Ok(text));
            }
        }
    }

    #[test]
    fn bad_ends_are_refused() {
        // A whole byte of padding, padding with a zero, the end-of-string symbol.
        assert_eq!(decoded(&[0xff]), Err(Invalid));
        assert_eq!(decoded(&[0x00]), Err(Invalid));
        assert_eq!(decoded(&[0x07, 0xff]), Err(Invalid));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Invalid));
        assert_eq!(decoded(&[0xff; 20]), Err(Invalid));
        assert_eq!(decoded(&[0x07]), Ok(b"0".to_vec()));
        assert_eq!(decoded(&[]), Ok(Vec::new()));
    }
}
