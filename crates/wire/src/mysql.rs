//! How TLS begins between a client and a server of MySQL or MariaDB (MySQL's manual, "Connection Phase"): the server greets, the client asks
//! for TLS, and both go on inside of it.
//!
//! Packets are numbered, and the question for TLS is one of them. Where TLS begins on one side of us alone, what is said until the client
//! has logged in gets other numbers on the other side, and says something else of TLS ([`Login`]).

/// What a server has said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// So many bytes, of a server that has TLS.
    Secure(usize),
    /// So many bytes, of a server that has none.
    Insecure(usize),
    /// It is no greeting.
    Other,
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
/// The length of what comes before a packet.
pub const HEADER: usize = 4;
/// The length of a question for TLS.
pub const SSL_REQUEST: usize = HEADER + 32;

/// CLIENT_SSL.
const SSL: u32 = 0x0800;
/// The same in the second byte of what somebody can do.
const SSL_BYTE: u8 = (SSL >> 8) as u8;
/// CLIENT_PROTOCOL_41, without which the question has another form.
const PROTOCOL_41: u32 = 0x0200;
const OK: u8 = 0;
const ERROR: u8 = 0xff;
const VERSION: u8 = 10;
/// The first byte of a handshake of TLS.
const HANDSHAKE: u8 = 22;

/// Reads what a server says first.
pub fn greeting(bytes: &[u8]) -> Greeting {
    let Some((&[one, two, three, number], rest)) = bytes.split_first_chunk::<4>() else { return Greeting::Partial };
    let length = u32::from_le_bytes([one, two, three, 0]) as usize;
    if number != 0 || length == 0 || length > MOST - 4 {
        return Greeting::Other;
    }
    if rest.len() < length {
        return Greeting::Partial;
    }
    match abilities(&bytes[..4 + length]) {
        _ if rest[0] == ERROR => Greeting::Refusal(4 + length),
        Some(at) if bytes[at] & SSL_BYTE != 0 => Greeting::Secure(4 + length),
        Some(_) => Greeting::Insecure(4 + length),
        None => Greeting::Other,
    }
}

/// What a server says that does not welcome us, its number before it: short enough for a log.
pub fn why_refused(packet: &[u8]) -> String {
    const MOST: usize = 80;
    let Some((&[low, high], text)) = packet.get(HEADER + 1..).and_then(<[u8]>::split_first_chunk) else {
        return "an error without a number".to_owned();
    };
    let text: String = String::from_utf8_lossy(text).trim().chars().take(MOST).collect();
    format!("{} {text}", u16::from_le_bytes([low, high]))
}

/// Where a greeting says whether its server has TLS. Behind its version: a number of the connection, the beginning of a challenge, a zero,
/// and half of what it can do.
fn abilities(greeting: &[u8]) -> Option<usize> {
    let rest = greeting.get(5..).filter(|_| greeting[4] == VERSION)?;
    let at = 5 + memchr::memchr(0, rest)? + 1 + 4 + 8 + 1 + 1;
    Some(at).filter(|at| *at < greeting.len())
}

/// Makes a greeting say that there is TLS, or that there is none.
pub fn offer_tls(greeting: &mut [u8], offers: bool) {
    if let Some(at) = abilities(greeting) {
        greeting[at] = greeting[at] & !SSL_BYTE | if offers { SSL_BYTE } else { 0 };
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

/// The question for TLS that a client would have asked which has answered this instead; nothing if that is no answer of a client of ours.
pub fn question(login: &[u8]) -> Option<[u8; SSL_REQUEST]> {
    let mut question: [u8; SSL_REQUEST] = *login.first_chunk()?;
    let can = u32::from_le_bytes([question[4], question[5], question[6], question[7]]);
    // Longer than a question, or it is one, which nobody has offered to answer.
    if question[3] != 1 || can & SSL != 0 || can & PROTOCOL_41 == 0 || login.len() == SSL_REQUEST {
        return None;
    }
    question[..4].copy_from_slice(&[32, 0, 0, 1]);
    question[5] |= SSL_BYTE;
    Some(question)
}

/// The length of a packet that begins so, and of what comes before it; nothing if more of it has to be seen.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let [one, two, three, _] = bytes.first_chunk::<HEADER>()?;
    Some(HEADER + u32::from_le_bytes([*one, *two, *three, 0]) as usize)
}

/// What is said until a client has logged in, where TLS has begun on one side of us alone: the other side has had one packet less.
#[derive(Clone, Copy, Debug)]
pub struct Login {
    /// Whether it is the client that speaks inside of TLS.
    in_front: bool,
    /// Whether the client has said who it is.
    is_introduced: bool,
}

impl Login {
    /// TLS has just begun.
    pub fn new(in_front: bool) -> Login {
        Login { in_front, is_introduced: false }
    }

    /// Makes a client's packet one for its server. The first one says who it is, and whether it has TLS; answers whether it could be made.
    #[must_use]
    pub fn ask(&mut self, packet: &mut [u8]) -> bool {
        packet[3] = if self.in_front { packet[3].wrapping_sub(1) } else { packet[3].wrapping_add(1) };
        if std::mem::replace(&mut self.is_introduced, true) {
            return true;
        }
        let Some(can) = packet.get_mut(5) else { return false };
        *can = if self.in_front { *can & !SSL_BYTE } else { *can | SSL_BYTE };
        true
    }

    /// Makes a server's packet one for its client; answers whether it is the last one.
    #[must_use]
    pub fn answer(&mut self, packet: &mut [u8]) -> bool {
        packet[3] = if self.in_front { packet[3].wrapping_add(1) } else { packet[3].wrapping_sub(1) };
        matches!(packet.get(4), Some(&(OK | ERROR)) | None)
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
        assert_eq!(greeting(&hello(0xf7ff)), Greeting::Insecure(secure.len()));
        let full = packet(0, b"\xff\x10\x04Too many connections");
        assert_eq!(greeting(&full), Greeting::Refusal(full.len()));
        assert_eq!(why_refused(&full), "1040 Too many connections");
        assert_eq!(why_refused(&full[..5]), "an error without a number");
        for other in
            [&b"HTTP/1.1 400"[..], b"220 mail\r\n", &packet(0, b"\x09a"), &packet(0, b"\x0aa"), &packet(1, b"\x0aa")]
        {
            assert_eq!(greeting(other), Greeting::Other, "{other:?}");
        }
        for (is, says) in [(0xffff, false), (0xf7ff, true), (0xffff, true)] {
            let mut other = hello(is);
            offer_tls(&mut other, says);
            assert_eq!(other, hello(if says { 0xffff } else { 0xf7ff }), "nothing else has changed");
        }
    }

    #[test]
    fn one_side_counts_one_packet_more() {
        let login = |number, can: u32| packet(number, &[&can.to_le_bytes()[..], &[0; 28], b"anna\0\0"].concat());
        let (plain, secure) = (login(1, PROTOCOL_41), login(2, PROTOCOL_41 | SSL));
        let asked = question(&plain).expect("a question");
        assert_eq!(answer(&asked), Answer::Tls);
        for other in
            [&login(2, PROTOCOL_41), &login(1, PROTOCOL_41 | SSL), &login(1, 0), &asked.to_vec(), &packet(1, b"x")]
        {
            assert_eq!(question(other), None, "{other:?}");
        }
        for (in_front, asked, said) in [(true, &secure, &plain), (false, &plain, &secure)] {
            let mut login = Login::new(in_front);
            let mut first = asked.clone();
            assert!(login.ask(&mut first));
            assert_eq!(&first, said);
            let (to_server, to_client) = if in_front { (0xff, 1) } else { (1, 0xff_u8) };
            for (byte, is_last) in [(0xfe, false), (1, false), (0, true), (ERROR, true)] {
                let mut switch = packet(7, &[byte, 0, 0, 0, 9]);
                assert_eq!(login.answer(&mut switch), is_last);
                assert_eq!(switch, packet(7_u8.wrapping_add(to_client), &[byte, 0, 0, 0, 9]));
            }
            let mut more = packet(3, b"\0\0\0\0");
            assert!(login.ask(&mut more));
            assert_eq!(
                more,
                packet(3_u8.wrapping_add(to_server), b"\0\0\0\0"),
                "only the first one says what it can do"
            );
            assert!(!Login::new(in_front).ask(&mut packet(1, b"")));
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
            question(&bytes);
            length(&bytes);
            offer_tls(&mut bytes.clone(), true);
            let mut whole = packet(1, &bytes[..bytes.len().min(200)]);
            offer_tls(&mut whole, true);
            let mut login = Login::new(bytes.first() == Some(&1));
            let _ = (login.answer(&mut whole), login.ask(&mut whole));
        }
    }
}
