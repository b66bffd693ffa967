//! The first message of a client of TLS (RFC 8446 section 4.1.2), read without taking part: the name it asks for, and the protocols
//! it offers. It may be spread over many records, and records over many segments.
//!
//! Nothing of it is checked that only an end of the connection has to check. What is no ClientHello is said to be none, which is
//! an answer like any other: whoever routes by it has a route for those. What begins as one and cannot be read is told apart: a server may
//! read it all the same, so that whoever lets nobody past by a name must not let it pass.

/// What a client has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host that it asks for (RFC 6066 section 3), in lower case; absent if it asks for none, or for no name that a host may have.
    pub name: Option<Box<str>>,
    /// The protocols that it offers (RFC 7301), in its order.
    pub alpn: Vec<Box<[u8]>>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole ClientHello.
    Hello(ClientHello),
    /// The beginning of one.
    Partial,
    /// It begins as a handshake does, and is no ClientHello as servers of today are sent: empty records, ones without end, too long a
    /// message, or two names.
    Unreadable,
    /// Something else.
    Other,
}

/// Bytes after which a ClientHello has no end any more, headers of records included: those of today take up to two thousand.
pub const MOST: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// The largest record in the clear (RFC 8446 section 5.1).
const RECORD: usize = 1 << 14;

/// Reads the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Seen {
    match gather(bytes) {
        Gathered::Whole(message) => parse(&message).map_or(Seen::Unreadable, Seen::Hello),
        Gathered::Partial if bytes.len() < MOST => Seen::Partial,
        Gathered::Partial => Seen::Unreadable,
        Gathered::Other if bytes.starts_with(&[HANDSHAKE, 3]) => Seen::Unreadable,
        Gathered::Other => Seen::Other,
    }
}

enum Gathered {
    Whole(Vec<u8>),
    Partial,
    Other,
}

/// Joins what the records hold, until the message is whole.
fn gather(mut bytes: &[u8]) -> Gathered {
    let mut message = Vec::new();
    loop {
        // What has come of a header is enough to see that it is none.
        let looks_right =
            bytes.first().is_none_or(|kind| *kind == HANDSHAKE) && bytes.get(1).is_none_or(|major| *major == 3);
        if !looks_right {
            return Gathered::Other;
        }
        let Some((head, rest)) = bytes.split_first_chunk::<5>() else { return Gathered::Partial };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if length == 0 || length > RECORD {
            return Gathered::Other;
        }
        let (content, rest) = rest.split_at(length.min(rest.len()));
        message.extend_from_slice(content);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Gathered::Other;
        }
        if let [_, high, middle, low, ..] = message[..] {
            let whole = 4 + u32::from_be_bytes([0, high, middle, low]) as usize;
            if whole > MOST {
                return Gathered::Other;
            }
            if message.len() >= whole {
                message.truncate(whole);
                message.drain(..4);
                return Gathered::Whole(message);
            }
        }
        if content.len() < length {
            return Gathered::Partial;
        }
        bytes = rest;
    }
}

/// Reads the message without its header.
fn parse(message: &[u8]) -> Option<ClientHello> {
    let mut rest = message.get(2 + 32..)?;
    let _session = vector::<1>(&mut rest)?;
    let _suites = vector::<2>(&mut rest)?;
    let _compressions = vector::<1>(&mut rest)?;
    let mut hello = ClientHello::default();
    if rest.is_empty() {
        // Clients of old have no extensions.
        return Some(hello);
    }
    let mut extensions = vector::<2>(&mut rest)?;
    let mut named = false;
    while !extensions.is_empty() {
        let (kind, after) = extensions.split_first_chunk::<2>()?;
        extensions = after;
        let mut content = vector::<2>(&mut extensions)?;
        match u16::from_be_bytes(*kind) {
            SERVER_NAME => {
                let mut names = vector::<2>(&mut content)?;
                let (kind, after) = names.split_first()?;
                names = after;
                // Another kind, another name, another extension: no two readers would agree on whose it is (RFC 6066 section 3).
                let name = vector::<2>(&mut names)?;
                if *kind != 0 || !names.is_empty() || !content.is_empty() || std::mem::replace(&mut named, true) {
                    return None;
                }
                hello.name = host(name);
            }
            ALPN => {
                let mut names = vector::<2>(&mut content)?;
                while !names.is_empty() {
                    hello.alpn.push(vector::<1>(&mut names)?.into());
                }
            }
            _ => {}
        }
    }
    rest.is_empty().then_some(hello)
}

/// A name as a host's, without a trailing dot; nothing that only looks like one.
fn host(name: &[u8]) -> Option<Box<str>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 253 || !name.iter().all(fits) {
        return None;
    }
    String::from_utf8(name.to_ascii_lowercase()).ok().map(String::into_boxed_str)
}

/// A vector whose length stands before it in so many bytes.
fn vector<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<N>()?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sized(width: usize, content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32).to_be_bytes()[4 - width..], content].concat()
    }

    fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, content)| [&kind.to_be_bytes(), &sized(2, content)[..]].concat())
            .collect();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &sized(1, &[9; 32]),
            &sized(2, &[0x13, 1, 0x13, 2]),
            &sized(1, &[0]),
            &sized(2, &extensions),
        ];
        [&[CLIENT_HELLO][..], &sized(3, &body.concat())].concat()
    }

    fn sni(name: &str) -> (u16, Vec<u8>) {
        (SERVER_NAME, sized(2, &[&[0][..], &sized(2, name.as_bytes())].concat()))
    }

    fn alpn(names: &[&str]) -> (u16, Vec<u8>) {
        (ALPN, sized(2, &names.iter().flat_map(|name| sized(1, name.as_bytes())).collect::<Vec<_>>()))
    }

    /// In records of so many bytes.
    fn records(message: &[u8], of: usize) -> Vec<u8> {
        message.chunks(of).flat_map(|content| [&[HANDSHAKE, 3, 1][..], &sized(2, content)].concat()).collect()
    }

    fn hello(name: Option<&str>, alpn: &[&str]) -> Seen {
        let alpn = alpn.iter().map(|name| name.as_bytes().into()).collect();
        Seen::Hello(ClientHello { name: name.map(Into::into), alpn })
    }

    #[test]
    fn names_and_protocols_are_found_in_whatever_pieces() {
        let message =
            message(&[(51, vec![1; 1200]), sni("Shop.Example.com."), alpn(&["h2", "http/1.1"]), (21, vec![0; 100])]);
        let wanted = hello(Some("shop.example.com"), &["h2", "http/1.1"]);
        for of in [1, 2, 3, 5, 100, 1000, 4096] {
            let bytes = records(&message, of);
            assert_eq!(read(&bytes), wanted, "records of {of}");
            assert_eq!(read(&[&bytes[..], b"more"].concat()), wanted);
        }
        let bytes = records(&message, 700);
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), Seen::Partial, "{length}");
        }
    }

    #[test]
    fn clients_that_ask_for_nothing() {
        assert_eq!(read(&records(&message(&[]), 4096)), hello(None, &[]));
        let mut old = message(&[]);
        old.truncate(old.len() - 2);
        old[3] -= 2;
        assert_eq!(read(&records(&old, 4096)), hello(None, &[]));
        for name in ["", ".", "a b", "caf\u{e9}", "a/b", &"a".repeat(254)] {
            assert_eq!(read(&records(&message(&[sni(name)]), 4096)), hello(None, &[]), "{name:?}");
        }
    }

    #[test]
    fn what_is_none_is_seen_at_once() {
        for bytes in [&b"G"[..], b"\x16\x02", b"\x17\x03", b"SSH-2.0-"] {
            assert_eq!(read(bytes), Seen::Other, "{bytes:?}");
        }
    }

    #[test]
    fn what_a_server_might_read_is_not_said_to_be_something_else() {
        for bytes in [&b"\x16\x03\x01\0\0"[..], b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\0\x01\x02"] {
            assert_eq!(read(bytes), Seen::Unreadable, "{bytes:?}");
        }
        let whole = message(&[sni("example.com")]);
        assert_eq!(read(&[b"\x16\x03\x01\0\0", &records(&whole, 4096)[..]].concat()), Seen::Unreadable);
        // A message that would be too long, and one whose records never bring it to its end.
        assert_eq!(read(b"\x16\x03\x01\0\x04\x01\x01\0\0"), Seen::Unreadable);
        let trickle =
            [HANDSHAKE, 3, 1, 0, 1, CLIENT_HELLO].into_iter().chain([HANDSHAKE, 3, 1, 0, 1, 0].repeat(MOST / 6));
        assert_eq!(read(&trickle.collect::<Vec<u8>>()), Seen::Unreadable);
        // A message that ends inside of what it holds.
        let mut cut = message(&[sni("example.com")]);
        cut.truncate(cut.len() - 3);
        cut[3] -= 3;
        assert_eq!(read(&records(&cut, 4096)), Seen::Unreadable);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            read(&bytes);
            let mut real = records(&message(&[sni("example.com"), alpn(&["h2"])]), 50);
            let at = at.index(real.len());
            real[at] = byte;
            read(&real);
        }
    }
}
