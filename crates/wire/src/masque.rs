//! Datagrams of UDP inside of HTTP (RFC 9298), each in a capsule of its own (RFC 9297 section 3), or, over HTTP/3, in one of QUIC's.

use std::net::IpAddr;

use crate::h3::varint;

/// The protocol that a client asks for.
pub const PROTOCOL: &[u8] = b"connect-udp";
/// The field by which both sides say that capsules follow, and what it says.
pub const CAPSULE_PROTOCOL: (&[u8], &[u8]) = (b"Capsule-Protocol", b"?1");
/// The longest datagram that UDP carries (RFC 9298 section 5).
pub const MOST: usize = 65_527;

/// Where a client names the server: the template that clients know without being told (RFC 9298 section 2).
const BEGINS: &[u8] = b"/.well-known/masque/udp/";
/// The kind of capsule that is a datagram, and the context in which it is UDP's.
const DATAGRAM: u64 = 0;
const UDP: u64 = 0;

/// The server that a path names, as an authority; nothing if it names none.
pub fn target(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(BEGINS)?.strip_suffix(b"/")?;
    let cut = rest.iter().position(|byte| *byte == b'/')?;
    let host = String::from_utf8(decoded(&rest[..cut])?).ok()?;
    let port =
        std::str::from_utf8(&rest[cut + 1..]).ok().filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    Some(match host.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}").into_bytes(),
        _ if !host.is_empty() && host.bytes().all(is_name) => format!("{host}:{port}").into_bytes(),
        _ => return None,
    })
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        out.push(if *byte == b'%' { (digit()? * 16 + digit()?) as u8 } else { *byte });
    }
    Some(out)
}

/// Reads datagrams out of capsules, that may come in any pieces.
#[derive(Debug, Default)]
pub struct Capsules {
    /// The beginning of a capsule.
    begun: Vec<u8>,
    /// How much is left of one that is not for us.
    skip: u64,
}

/// A datagram that is longer than any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Capsules {
    /// Reads what has come. What is no datagram of UDP is passed over.
    ///
    /// # Errors
    /// A datagram is too long; nothing behind it can be read.
    pub fn read(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        if self.begun.is_empty() {
            let done = self.read_whole(bytes, &mut each)?;
            self.begun.extend_from_slice(&bytes[done..]);
            return Ok(());
        }
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(bytes);
        let done = self.read_whole(&begun, &mut each)?;
        begun.drain(..done);
        self.begun = begun;
        Ok(())
    }

    /// Whether it is in the middle of a capsule.
    pub fn is_inside(&self) -> bool {
        self.skip > 0 || !self.begun.is_empty()
    }

    /// Reads whole capsules; says how many bytes it is done with.
    fn read_whole(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Result<usize, TooLong> {
        let mut done = 0;
        loop {
            let passed = self.skip.min((bytes.len() - done) as u64);
            self.skip -= passed;
            done += passed as usize;
            let rest = &bytes[done..];
            let Some((kind, at)) = varint::read(rest) else { return Ok(done) };
            let Some((length, more)) = varint::read(&rest[at..]) else { return Ok(done) };
            let at = at + more;
            if kind != DATAGRAM {
                (self.skip, done) = (length, done + at);
                continue;
            }
            // The context's number stands before the datagram.
            let length = usize::try_from(length).ok().filter(|length| *length <= MOST + 8).ok_or(TooLong)?;
            let Some(value) = rest.get(at..at + length) else { return Ok(done) };
            if let Some(datagram) = of_udp(value) {
                if datagram.len() > MOST {
                    return Err(TooLong);
                }
                each(datagram);
            }
            done += at + length;
        }
    }
}

/// What a datagram of HTTP carries, if that is one of UDP.
pub fn of_udp(value: &[u8]) -> Option<&[u8]> {
    let (context, at) = varint::read(value)?;
    (context == UDP).then(|| &value[at..])
}

/// What stands before a datagram of UDP in one of HTTP.
pub const FRONT: &[u8] = &[UDP as u8];

/// Writes a datagram in its capsule.
pub fn write(datagram: &[u8], out: &mut Vec<u8>) {
    varint::write(DATAGRAM, out);
    varint::write((FRONT.len() + datagram.len()) as u64, out);
    out.extend_from_slice(FRONT);
    out.extend_from_slice(datagram);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_name_servers() {
        let named = |path: &str| target(path.as_bytes()).map(|target| String::from_utf8(target).expect("text"));
        let at = |rest: &str| named(&format!("/.well-known/masque/udp/{rest}"));
        assert_eq!(at("192.0.2.6/443/").as_deref(), Some("192.0.2.6:443"));
        assert_eq!(at("example.com/53/").as_deref(), Some("example.com:53"));
        assert_eq!(at("2001%3Adb8%3a%3A42/443/").as_deref(), Some("[2001:db8::42]:443"));
        for bad in [
            "example.com/53",
            "example.com/0/",
            "example.com/65536/",
            "example.com/+53/",
            "/53/",
            "a%2Fb/53/",
            "a%/53/",
            "a%4/53/",
            "a%zz/53/",
            "a:b/53/",
            "example.com/53/x/",
            "fe80%3A%3A1%25eth0/53/",
            "",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
        assert_eq!(named("/masque/udp/a/53/"), None);
    }

    fn read(capsules: &mut Capsules, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut read = Vec::new();
        capsules.read(bytes, |datagram| read.push(datagram.to_vec()))?;
        Ok(read)
    }

    #[test]
    fn what_is_no_datagram_of_udp_is_passed_over() {
        let mut bytes = vec![0x40, 0x41, 3, 1, 2, 3];
        write(b"one", &mut bytes);
        // Another context, none, and an empty datagram.
        bytes.extend_from_slice(&[0, 2, 2, 9, 0, 0, 0, 1, 0]);
        write(b"two", &mut bytes);
        let mut capsules = Capsules::default();
        assert_eq!(read(&mut capsules, &bytes), Ok(vec![b"one".to_vec(), Vec::new(), b"two".to_vec()]));
        assert!(!capsules.is_inside());
        let half = &bytes[..4];
        assert_eq!(read(&mut capsules, half), Ok(Vec::new()));
        assert!(capsules.is_inside());
    }

    #[test]
    fn a_datagram_that_is_too_long_is_refused_before_it_is_here() {
        let capsule = |length: usize| {
            let mut out = Vec::new();
            varint::write(DATAGRAM, &mut out);
            varint::write(length as u64, &mut out);
            out
        };
        assert_eq!(read(&mut Capsules::default(), &capsule(MOST + 9)), Err(TooLong));
        assert_eq!(read(&mut Capsules::default(), &capsule(usize::MAX >> 2)), Err(TooLong));
        let mut largest = Vec::new();
        write(&[7; MOST], &mut largest);
        assert_eq!(read(&mut Capsules::default(), &largest).map(|read| read[0].len()), Ok(MOST));
        write(&[7; MOST + 1], &mut largest);
        assert_eq!(read(&mut Capsules::default(), &largest), Err(TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_in_any_pieces(datagrams: Vec<Vec<u8>>, piece in 1..40_usize) {
            let mut bytes = Vec::new();
            for (number, datagram) in datagrams.iter().enumerate() {
                if number % 3 == 1 {
                    varint::write(0x1234, &mut bytes);
                    varint::write(50, &mut bytes);
                    bytes.extend_from_slice(&[0; 50]);
                }
                write(datagram, &mut bytes);
            }
            let mut capsules = Capsules::default();
            let heard: Vec<_> = bytes.chunks(piece).flat_map(|piece| read(&mut capsules, piece).expect("short")).collect();
            prop_assert_eq!(heard, datagrams);
            prop_assert!(!capsules.is_inside());
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, path: Vec<u8>) {
            let _ = read(&mut Capsules::default(), &bytes);
            target(&path);
            target(&[BEGINS, &path].concat());
        }
    }
}
