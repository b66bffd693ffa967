//! The first packet of a client of MQTT: CONNECT (MQTT 3.1.1 section 3.1, MQTT 5 section 3.1), read without taking part, as far as
//! the identifier that the client gives itself.
//!
//! Only what stands before it is checked, and only as far as two readers could find another identifier. What is no CONNECT is said
//! to be none, which is an answer like any other.

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A CONNECT, at least up to its client's identifier, which may be empty: then the server gives it one.
    Connect(Box<str>),
    /// The beginning of one.
    Partial,
    /// Something else.
    Other,
}

/// Bytes within which the identifier has to stand. Properties come before it, which hardly anybody fills.
pub const MOST: usize = 16 * 1024;

const CONNECT: u8 = 0x10;
/// A bridge between servers says so by a bit of its level, which is in no standard.
const BRIDGE: u8 = 0x80;

/// Reads the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Seen {
    match connect(bytes) {
        Ok(id) => Seen::Connect(id.into()),
        Err(Stop::More) if bytes.len() < MOST => Seen::Partial,
        Err(_) => Seen::Other,
    }
}

enum Stop {
    More,
    Wrong,
}

/// What has come of a packet, and how much of it there is.
struct Packet<'a> {
    bytes: &'a [u8],
    left: usize,
}

fn connect(bytes: &[u8]) -> Result<&str, Stop> {
    // As if everything belonged to it, until it is known how much does.
    let mut packet = Packet { bytes, left: usize::MAX };
    if packet.byte()? != CONNECT {
        return Err(Stop::Wrong);
    }
    packet.left = packet.number()?;
    let name = packet.field()?;
    let level = packet.byte()? & !BRIDGE;
    match (name, level) {
        (b"MQTT", 4 | 5) | (b"MQIsdp", 3) => {}
        _ => return Err(Stop::Wrong),
    }
    let flags = packet.byte()?;
    if flags & 1 != 0 {
        // Reserved (section 3.1.2.3).
        return Err(Stop::Wrong);
    }
    let _keep_alive = packet.take(2)?;
    if level == 5 {
        let length = packet.number()?;
        let _properties = packet.take(length)?;
    }
    let id = std::str::from_utf8(packet.field()?).map_err(|_| Stop::Wrong)?;
    if id.contains('\0') { Err(Stop::Wrong) } else { Ok(id) }
}

impl<'a> Packet<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        self.left = self.left.checked_sub(count).ok_or(Stop::Wrong)?;
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Stop::More)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    /// A Variable Byte Integer (section 2.2.3, MQTT 5 section 1.5.5), in as few bytes as it needs.
    fn number(&mut self) -> Result<usize, Stop> {
        let mut number = 0;
        for place in 0..4 {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return if byte == 0 && place > 0 { Err(Stop::Wrong) } else { Ok(number) };
            }
        }
        Err(Stop::Wrong)
    }

    /// Text or data whose length stands before it.
    fn field(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.take(2)?;
        self.take(usize::from(u16::from_be_bytes([length[0], length[1]])))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(mut value: usize) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let more = value > 0x7f;
            out.push((value & 0x7f) as u8 | u8::from(more) << 7);
            value >>= 7;
            if !more {
                return out;
            }
        }
    }

    fn field(text: &[u8]) -> Vec<u8> {
        [&(text.len() as u16).to_be_bytes()[..], text].concat()
    }

    fn packet(name: &str, level: u8, flags: u8, properties: Option<usize>, id: &[u8], rest: &[u8]) -> Vec<u8> {
        let properties = properties.map(|length| [number(length), vec![0x26; length]].concat()).unwrap_or_default();
        let body = [&field(name.as_bytes())[..], &[level, flags, 0, 60], &properties, &field(id), rest].concat();
        [&[CONNECT][..], &number(body.len()), &body].concat()
    }

    fn id(id: &str) -> Seen {
        Seen::Connect(id.into())
    }

    #[test]
    fn identifiers_are_found_in_every_version_and_not_before_they_are_there() {
        for (bytes, will) in [
            (packet("MQTT", 4, 2, None, b"sensor-1", b""), 0),
            (packet("MQTT", 5, 2, Some(0), b"sensor-1", b""), 0),
            (packet("MQTT", 5, 6, Some(300), b"sensor-1", &field(b"will")), 6),
            (packet("MQTT", 0x84, 2, None, b"sensor-1", b""), 0),
            (packet("MQIsdp", 3, 2, None, b"sensor-1", b""), 0),
        ] {
            assert_eq!(read(&bytes), id("sensor-1"));
            assert_eq!(read(&[&bytes[..], b"\x82more"].concat()), id("sensor-1"));
            for length in 0..bytes.len() - will {
                assert_eq!(read(&bytes[..length]), Seen::Partial, "{length} of {bytes:?}");
            }
        }
        assert_eq!(read(&packet("MQTT", 4, 2, None, b"", b"")), id(""));
    }

    #[test]
    fn what_is_none_is_said_to_be_none() {
        let real = packet("MQTT", 4, 2, None, b"a", b"");
        let mut short = real.clone();
        short[1] -= 1;
        let mut padded = real.clone();
        padded.splice(1..2, [real[1] | 0x80, 0]);
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"\x16\x03\x01",
            b"\x30",
            b"\x11",
            b"\x10\xff\xff\xff\xff\x01",
            b"\x10\x01\0",
            &packet("MQTT", 3, 2, None, b"a", b""),
            &packet("MQTT", 6, 2, None, b"a", b""),
            &packet("mqtt", 4, 2, None, b"a", b""),
            &packet("MQTT", 4, 3, None, b"a", b""),
            &packet("MQTT", 4, 2, None, b"\xff", b""),
            &packet("MQTT", 4, 2, None, b"a\0b", b""),
            &short,
            &padded,
        ] {
            assert_eq!(read(bytes), Seen::Other, "{bytes:?}");
        }
        // Properties that go on and on: no more than so much is waited for.
        let long = packet("MQTT", 5, 2, Some(MOST), b"a", b"");
        assert_eq!(read(&long[..MOST - 1]), Seen::Partial);
        assert_eq!(read(&long[..MOST]), Seen::Other);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            read(&bytes);
            let mut real = packet("MQTT", 5, 2, Some(20), b"sensor-1", b"");
            let at = at.index(real.len());
            real[at] = byte;
            read(&real);
        }

        #[test]
        fn what_is_written_is_read(name in "[^\0]{0,80}", properties in 0..200_usize) {
            prop_assert_eq!(read(&packet("MQTT", 5, 2, Some(properties), name.as_bytes(), b"")), id(&name));
        }
    }
}
