//! Datagrams of requests, each in one of QUIC's own (RFC 9297 section 2.1): a number that says of which stream it is, and what it carries.

use super::{Broken, Code, varint};

/// Streams of requests have every fourth number.
const QUARTER: u64 = 4;

/// Reads the stream's number; what is carried stands behind so many bytes.
///
/// # Errors
/// There is none, or no stream can have it: the connection is broken.
pub fn read(datagram: &[u8]) -> Result<(u64, usize), Broken> {
    let read = varint::read(datagram).filter(|(quarter, _)| *quarter <= varint::MOST / QUARTER);
    let (quarter, at) = read.ok_or(Broken::of(Code::DATAGRAM_ERROR, "a datagram of no stream"))?;
    Ok((quarter * QUARTER, at))
}

/// Appends what stands before what is carried.
pub fn write(stream: u64, out: &mut Vec<u8>) {
    varint::write(stream / QUARTER, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_names_no_stream_breaks_the_connection() {
        let code = |bytes: &[u8]| read(bytes).map_err(|broken| broken.code);
        for bad in [&[][..], &[0x40], &[0xff; 7], &[0xd0, 0, 0, 0, 0, 0, 0, 0], &[0xff; 8]] {
            assert_eq!(code(bad), Err(Code::DATAGRAM_ERROR), "{bad:x?}");
        }
        assert_eq!(code(&[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Ok(((1 << 62) - 4, 8)));
        assert_eq!(code(&[3, 9]), Ok((12, 1)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(quarter in 0..1_u64 << 60, content: Vec<u8>) {
            let mut bytes = Vec::new();
            write(quarter * QUARTER, &mut bytes);
            bytes.extend_from_slice(&content);
            let (stream, at) = read(&bytes).expect("a number");
            prop_assert_eq!((stream, &bytes[at..]), (quarter * QUARTER, &content[..]));
        }
    }
}
