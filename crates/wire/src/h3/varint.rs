//! QUIC's numbers, whose first two bits say how long they are (RFC 9000 section 16).

/// The largest.
pub const MOST: u64 = (1 << 62) - 1;

/// The number at the front, and its length; absent while it is not there whole.
#[inline]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let number = rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte));
    Some((number, length))
}

/// Appends a number, as short as it goes.
#[inline]
pub fn write(number: u64, out: &mut Vec<u8>) {
    debug_assert!(number <= MOST);
    match number {
        0..0x40 => out.push(number as u8),
        0x40..0x4000 => out.extend_from_slice(&(number as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(number as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(number & MOST | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 9000 appendix A.1.
        let eight = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(read(&eight), Some((151_288_809_941_952_652, 8)));
        assert_eq!(read(&[0x9d, 0x7f, 0x3e, 0x7d]), Some((494_878_333, 4)));
        assert_eq!(read(&[0x7b, 0xbd, 9]), Some((15_293, 2)));
        assert_eq!(read(&[0x25]), Some((37, 1)));
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)), "longer than it need be is no mistake");
        for length in 0..8 {
            assert_eq!(read(&eight[..length]), None);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for number in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MOST] {
            let mut out = Vec::new();
            write(number, &mut out);
            assert_eq!(read(&out), Some((number, out.len())));
        }
    }
}
