//! Bytes as hexadecimal digits.

/// The digits, in lower case.
pub const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The two digits of a byte.
pub const fn pair(byte: u8) -> [u8; 2] {
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_two_digits() {
        for byte in 0..=255 {
            assert_eq!(pair(byte).as_slice(), format!("{byte:02x}").as_bytes());
        }
    }
}
