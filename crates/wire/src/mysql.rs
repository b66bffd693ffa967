//! How TLS begins between a client and a server of MySQL or MariaDB (MySQL's manual, "Connection Phase"): the server greets, the client asks
//! for TLS, and both go on inside of it.
//!
//! Packets are numbered, and how a password is sent depends on whether there is TLS. So it begins on both sides of us by the client's own
//! question, or on neither.

/// What a server has said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// So many bytes, of a server that has TLS.
    Secure(usize),
    /// It is no greeting, or that of a server that has no TLS.
    Insecure,
    /// So many bytes: why it does not welcome us.
    Refusal(usize),
    /// The beginning of one of these.
    Partial,
}

/// What a client has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// TLS begins behind it.
    Tls,
    /// Something else, or something else than a handshake behind it.
    Other,
    /// It has not finished.
    Partial,
}

/// The longest greeting.
pub const MOST: usize = 4096;
/// The length of a question for TLS.
pub const SSL_REQUEST: usize = 4 + 32;

/// CLIENT_SSL.
const SSL: u32 = 0x0800;
/// CLIENT_PROTOCOL_41, without which the question has another form.
const PROTOCOL_41: u32 = 0x0200;
const ERROR: u8 = 0xff;
const VERSION: u8 = 10;
/// The first byte of a handshake of TLS.
const HANDSHAKE: u8 = 22;

/// Reads what a server says first.
pub fn greeting(bytes: &[u8]) -> Greeting {
    let Some((&[one, two, three, number], rest)) = bytes.split_first_chunk::<4>() else { return Greeting::Partial };
    let length = u32::from_le_bytes([one, two, three, 0]) as usize;
    if number != 0 || length == 0 || length > MOST - 4 {
        return Greeting::Insecure;
    }
    let Some(payload) = rest.get(..length) else { return Greeting::Partial };
    match payload {
        [ERROR, ..] => Greeting::Refusal(4 + length),
        [VERSION, rest @ ..] if has_tls(rest) => Greeting::Secure(4 + length),
        _ => Greeting::Insecure,
    }
}

/// Behind the server's version: a number of the connection, the beginning of a challenge, a zero, and half of what it can do.
fn has_tls(rest: &[u8]) -> bool {
    let Some(end) = memchr::memchr(0, rest) else { return false };
    match rest.get(end + 1 + 4 + 8 + 1..) {
        Some([low, high, ..]) => u32::from_le_bytes([*low, *high, 0, 0]) & SSL != 0,
        _ => false,
    }
}

/// Reads what a client answers to the greeting.
pub fn answer(bytes: &[u8]) -> Answer {
    let Some((head, _)) = bytes.split_first_chunk::<8>() else {
        // What has come of a header is enough to see that it is another.
        let is_other = [32, 0, 0, 1].iter().zip(bytes).any(|(wanted, byte)| wanted != byte);
        return if is_other { Answer::Other } else { Answer::Partial };
    };
    let can = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let asks = head[..4] == [32, 0, 0, 1] && can & SSL != 0 && can & PROTOCOL_41 != 0;
    match bytes.len() {
        _ if !asks => Answer::Other,
        ..SSL_REQUEST => Answer::Partial,
        // Clients do not wait for an answer: their handshake may be here already, and is the only thing that may.
        _ if bytes.get(SSL_REQUEST).is_none_or(|next| *next == HANDSHAKE) => Answer::Tls,
        _ => Answer::Other,
    }
}

/// What a client is told that does not begin TLS: ER_SECURE_TRANSPORT_REQUIRED.
pub fn refusal(out: &mut Vec<u8>) {
    const TEXT: &[u8] = b"\xff\x57\x0c#HY000connections need TLS here";
    out.extend_from_slice(&[TEXT.len() as u8, 0, 0, 2]);
    out.extend_from_slice(TEXT);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
        [&[payload.len() as u8, 0, 0, number][..], payload].concat()
    }

    fn hello(can: u16) -> Vec<u8> {
        let can = can.to_le_bytes();
        packet(0, &[b"\x0a8.0.36\0\x01\0\0\0abcdefgh\0", &can[..], b"\x21\x02\0more"].concat())
    }

    #[test]
    fn servers_have_tls_or_not() {
        let secure = hello(0xffff);
        for length in 0..secure.len() {
            assert_eq!(greeting(&secure[..length]), Greeting::Partial, "{length}");
        }
        assert_eq!(greeting(&secure), Greeting::Secure(secure.len()));
        assert_eq!(greeting(&[&secure[..], b"more"].concat()), Greeting::Secure(secure.len()));
        assert_eq!(greeting(&hello(0xf7ff)), Greeting::Insecure);
        let full = packet(0, b"\xff\x10\x04Too many connections");
        assert_eq!(greeting(&full), Greeting::Refusal(full.len()));
        for other in
            [&b"HTTP/1.1 400"[..], b"220 mail\r\n", &packet(0, b"\x09a"), &packet(0, b"\x0aa"), &packet(1, b"\x0aa")]
        {
            assert_eq!(greeting(other), Greeting::Insecure, "{other:?}");
        }
    }

    #[test]
    fn clients_ask_for_tls_or_not() {
        let asks = packet(1, &[&(SSL | PROTOCOL_41 | 0x8000).to_le_bytes()[..], &[0; 28]].concat());
        assert_eq!(answer(&asks), Answer::Tls);
        for length in 0..asks.len() {
            assert_eq!(answer(&asks[..length]), Answer::Partial, "{length}");
        }
        assert_eq!(answer(&[&asks[..], b"\x16\x03"].concat()), Answer::Tls);
        assert_eq!(answer(&[&asks[..], b"\x07"].concat()), Answer::Other, "nothing else may follow");
        let plain = packet(1, &[&PROTOCOL_41.to_le_bytes()[..], &[0; 28], b"anna\0\0"].concat());
        let numbered = packet(2, &asks[4..]);
        for other in [&plain[..], &packet(1, &[0; 32]), &numbered, b"GET / HTTP/1.1", b"\x20\0\0\x02"] {
            assert_eq!(answer(other), Answer::Other, "{other:?}");
        }
    }

    #[test]
    fn refusals_are_whole_packets() {
        let mut out = Vec::new();
        refusal(&mut out);
        assert_eq!((usize::from(out[0]) + 4, out[3], u16::from_le_bytes([out[5], out[6]])), (out.len(), 2, 3159));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            greeting(&bytes);
            greeting(&packet(0, &bytes[..bytes.len().min(200)]));
            answer(&bytes);
        }
    }
}
