//! The PROXY protocol, versions 1 and 2: what a proxy says of a connection before it passes on what is said on it.
//!
//! The specification is HAProxy's `proxy-protocol.txt`. A header is read as strictly as it is written: whoever is believed to be a
//! proxy and says something else is no proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The two ways to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A line of text.
    V1,
    /// Binary, with room for more than addresses.
    V2,
}

/// What was said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is the proxy's own, such as a health check.
    Local,
    /// It is passed on for somebody of whom no address is told.
    Unknown,
    /// It is passed on between these.
    Between {
        /// Who has opened it.
        source: SocketAddr,
        /// Where it was opened to.
        destination: SocketAddr,
    },
}

/// What is told of TLS between the client and us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Secured<'a> {
    /// The protocol that was agreed on (RFC 7301).
    pub alpn: Option<&'a [u8]>,
    /// The name that the client has asked for.
    pub authority: Option<&'a [u8]>,
    /// The version of TLS, such as `TLSv1.3`; absent if it does not end here.
    pub version: Option<&'a [u8]>,
    /// Whether the client has shown a certificate that was believed.
    pub certified: bool,
}

/// Bytes that are no header, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

/// The longest header that is read. The specification's own limit for those who do not want to wait is 536.
pub const MOST: usize = 4096;

/// The longest line of version 1, its end included (section 2.1).
const LINE: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Types of what stands behind the addresses of version 2 (section 2.2).
mod kind {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const CRC32C: u8 = 0x03;
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_VERSION: u8 = 0x21;
}

/// Reads a header from the start of what has come; answers nothing while it is incomplete, else what it says and its length.
///
/// # Errors
/// It is none, or breaks its rules.
pub fn read(bytes: &[u8]) -> Result<Option<(Said, usize)>, Invalid> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] == SIGNATURE[..known] {
        return if known < SIGNATURE.len() { Ok(None) } else { binary(bytes) };
    }
    let known = bytes.len().min(6);
    if bytes[..known] == b"PROXY "[..known] {
        return line(bytes);
    }
    Err(Invalid("no PROXY header"))
}

/// Version 1 (section 2.1).
fn line(bytes: &[u8]) -> Result<Option<(Said, usize)>, Invalid> {
    const WRONG: Invalid = Invalid("an invalid PROXY line");
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE)]) else {
        return if bytes.len() < LINE { Ok(None) } else { Err(Invalid("a PROXY line that is too long")) };
    };
    let text = bytes[..end].strip_suffix(b"\r").ok_or(WRONG)?;
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().ok_or(WRONG)?;
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return Ok(Some((Said::Unknown, end + 1)));
    }
    let (Some(source), Some(destination), Some(from), Some(to), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(WRONG);
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| WRONG),
        "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| WRONG),
        _ => Err(WRONG),
    };
    let port = |text: &str| match text.as_bytes() {
        [b'0', _, ..] | [] => Err(WRONG),
        digits if digits.iter().all(u8::is_ascii_digit) => text.parse::<u16>().map_err(|_| WRONG),
        _ => Err(WRONG),
    };
    let source = SocketAddr::new(address(source)?, port(from)?);
    let destination = SocketAddr::new(address(destination)?, port(to)?);
    Ok(Some((Said::Between { source, destination }, end + 1)))
}

/// Version 2 (section 2.2).
fn binary(bytes: &[u8]) -> Result<Option<(Said, usize)>, Invalid> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > MOST - head.len() {
        return Err(Invalid("a PROXY header that is too long"));
    }
    let is_local = match head[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Invalid("a PROXY header of an unknown version or command")),
    };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let (said, more) = match head[13] {
        TCP4 => {
            let (at, more) = body.split_first_chunk::<12>().ok_or(SHORT)?;
            let ip = |at: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(at).unwrap_or_default());
            (between(ip(&at[..4]).into(), ip(&at[4..8]).into(), &at[8..]), more)
        }
        TCP6 => {
            let (at, more) = body.split_first_chunk::<36>().ok_or(SHORT)?;
            let ip = |at: &[u8]| Ipv6Addr::from(<[u8; 16]>::try_from(at).unwrap_or_default());
            (between(ip(&at[..16]).into(), ip(&at[16..32]).into(), &at[32..]), more)
        }
        // Datagrams, Unix sockets and whatever comes: who has opened it cannot be told by us, and what follows not be read.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => (Said::Unknown, &body[body.len()..]),
        _ => return Err(Invalid("a PROXY header of an unknown family")),
    };
    more_is_right(&bytes[..head.len() + length], more)?;
    Ok(Some((if is_local { Said::Local } else { said }, head.len() + length)))
}

const SHORT: Invalid = Invalid("a PROXY header that is too short");

fn between(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Said {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Said::Between { source: SocketAddr::new(source, port(0)), destination: SocketAddr::new(destination, port(2)) }
}

/// Whether what stands behind the addresses is well formed, and its checksum right if it has one.
fn more_is_right(whole: &[u8], mut more: &[u8]) -> Result<(), Invalid> {
    while let Some((head, rest)) = more.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        if head[0] == kind::CRC32C {
            let said = u32::from_be_bytes(value.try_into().map_err(|_| Invalid("a PROXY checksum of a wrong length"))?);
            let at = whole.len() - rest.len() - value.len();
            // It is that of the header with zeros in its own place.
            let sum = crc32c([&whole[..at], &[0; 4], &whole[at + 4..]]);
            if sum != said {
                return Err(Invalid("a wrong PROXY checksum"));
            }
        }
        more = rest;
    }
    if more.is_empty() { Ok(()) } else { Err(SHORT) }
}

/// Castagnoli's checksum (RFC 9260 appendix A).
fn crc32c(parts: [&[u8]; 3]) -> u32 {
    let mut sum = u32::MAX;
    for byte in parts.into_iter().flatten() {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

/// Appends a header. Version 1 has no room for what is known of TLS.
pub fn write(form: Form, said: Said, secured: Option<&Secured<'_>>, out: &mut Vec<u8>) {
    match form {
        Form::V1 => write_line(said, out),
        Form::V2 => write_binary(said, secured, out),
    }
}

fn write_line(said: Said, out: &mut Vec<u8>) {
    let text = match said {
        Said::Local | Said::Unknown => "PROXY UNKNOWN\r\n".to_owned(),
        Said::Between { source, destination } => {
            let (from, to) = alike(source.ip(), destination.ip());
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
    out.extend_from_slice(text.as_bytes());
}

fn write_binary(said: Said, secured: Option<&Secured<'_>>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    out.push(if said == Said::Local { 0x20 } else { 0x21 });
    let Said::Between { source, destination } = said else {
        return out.extend_from_slice(&[0, 0, 0]);
    };
    match alike(source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[TCP4, 0, 0]);
            out.extend_from_slice(&[from.octets(), to.octets()].concat());
        }
        (from, to) => {
            out.extend_from_slice(&[TCP6, 0, 0]);
            out.extend_from_slice(&[wide(from).octets(), wide(to).octets()].concat());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    if let Some(secured) = secured {
        if let Some(alpn) = secured.alpn {
            piece(kind::ALPN, &[alpn], out);
        }
        if let Some(authority) = secured.authority {
            piece(kind::AUTHORITY, &[authority], out);
        }
        if let Some(version) = secured.version {
            // It came by TLS; with a certificate on this connection, in this session; and whether that was found good.
            let client = if secured.certified { [0x07, 0, 0, 0, 0] } else { [0x01, 0, 0, 0, 1] };
            let mut inner = Vec::new();
            piece(kind::SSL_VERSION, &[version], &mut inner);
            piece(kind::SSL, &[&client, &inner], out);
        }
    }
    let length = u16::try_from(out.len() - start - 16).unwrap_or(u16::MAX).to_be_bytes();
    out[start + 14..start + 16].copy_from_slice(&length);
}

fn piece(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(kind);
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Both addresses in one family: where they differ, that of IPv4 is written as one of IPv6.
fn alike(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.into(), other.into()),
        (one, other) => (wide(one).into(), wide(other).into()),
    }
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn between(source: &str, destination: &str) -> Said {
        let address = |text: &str| text.parse().expect("an address");
        Said::Between { source: address(source), destination: address(destination) }
    }

    fn written(form: Form, said: Said, secured: Option<&Secured<'_>>) -> Vec<u8> {
        let mut out = Vec::new();
        write(form, said, secured, &mut out);
        out
    }

    #[test]
    fn lines() {
        let text = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET /";
        assert_eq!(read(text), Ok(Some((between("192.168.0.1:56324", "192.168.0.11:443"), 47))));
        let text = b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n";
        assert_eq!(read(text), Ok(Some((between("[2001:db8::1]:1", "[::1]:65535"), text.len()))));
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Ok(Some((Said::Unknown, 15))));
        assert_eq!(read(b"PROXY UNKNOWN ff:: what ever\r\n"), Ok(Some((Said::Unknown, 30))));
        for length in 0..text.len() {
            assert_eq!(read(&text[..length]), Ok(None), "{length}");
        }
        for wrong in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY \r\n",
            &[b'P'; 200],
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(),
        ] {
            assert!(read(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn binary_headers() {
        let told = between("10.0.0.1:4660", "10.0.0.2:80");
        let mut bytes = written(Form::V2, told, None);
        assert_eq!(&bytes[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c");
        bytes.extend_from_slice(b"what follows");
        assert_eq!(read(&bytes), Ok(Some((told, 28))));
        for length in 0..28 {
            assert_eq!(read(&bytes[..length]), Ok(None), "{length}");
        }
        assert_eq!(read(&written(Form::V2, Said::Local, None)), Ok(Some((Said::Local, 16))));
        assert_eq!(read(&written(Form::V2, Said::Unknown, None)), Ok(Some((Said::Unknown, 16))));
        for (at, byte) in [(11, 0), (12, 0x22), (12, 0x11), (13, 0x13), (13, 0x41), (15, 11), (14, 0x20)] {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            assert!(read(&wrong).is_err(), "{byte:#x} at {at}");
        }
    }

    #[test]
    fn families_that_differ_become_one() {
        let mixed = between("1.2.3.4:5", "[2001:db8::1]:6");
        let said = between("[::ffff:1.2.3.4]:5", "[2001:db8::1]:6");
        for form in [Form::V1, Form::V2] {
            let bytes = written(form, mixed, None);
            assert_eq!(read(&bytes), Ok(Some((said, bytes.len()))));
            let mapped = written(form, between("[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.5]:6"), None);
            assert_eq!(read(&mapped), Ok(Some((between("1.2.3.4:5", "1.2.3.5:6"), mapped.len()))));
        }
    }

    #[test]
    fn what_is_known_of_tls_is_told() {
        let secured =
            Secured { alpn: Some(b"h2"), authority: Some(b"example.com"), version: Some(b"TLSv1.3"), certified: true };
        let bytes = written(Form::V2, between("10.0.0.1:1", "10.0.0.2:2"), Some(&secured));
        let more = b"\x01\x00\x02h2\x02\x00\x0bexample.com\x20\x00\x0f\x07\0\0\0\0\x21\x00\x07TLSv1.3";
        assert_eq!(&bytes[28..], more);
        assert!(read(&bytes).is_ok_and(|read| read.is_some_and(|(_, length)| length == bytes.len())));
        for length in 29..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            cut[15] = (length - 16) as u8;
            // Nothing can be cut off but a piece as a whole.
            assert_eq!(read(&cut).is_ok(), [33, 47].contains(&length), "{length}");
        }
    }

    #[test]
    fn checksums_are_looked_at() {
        assert_eq!(crc32c([b"1234", b"56789", b""]), 0xe306_9283);
        let mut bytes = written(Form::V2, between("10.0.0.1:1", "10.0.0.2:2"), None);
        bytes.extend_from_slice(&[kind::CRC32C, 0, 4, 0, 0, 0, 0]);
        bytes[15] += 7;
        let sum = crc32c([&bytes, b"", b""]).to_be_bytes();
        bytes[31..].copy_from_slice(&sum);
        assert!(read(&bytes).is_ok());
        // At 28 the checksum becomes something that nobody knows.
        for at in (16..28).chain(29..bytes.len()) {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(read(&wrong).is_err(), "{at}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(source: SocketAddr, destination: SocketAddr, binary: bool) {
            let clean = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
            let form = if binary { Form::V2 } else { Form::V1 };
            let bytes = written(form, Said::Between { source, destination }, None);
            let Ok(Some((Said::Between { source: from, destination: to }, length))) = read(&bytes) else {
                panic!("not read: {bytes:?}")
            };
            prop_assert_eq!(length, bytes.len());
            prop_assert_eq!((clean(from), clean(to)), (clean(source), clean(destination)));
        }

        #[test]
        fn nothing_panics(start in 0..3_usize, rest: Vec<u8>) {
            let bytes = [[&b""[..], b"PROXY ", &SIGNATURE[..]][start], &rest[..]].concat();
            if let Ok(Some((_, length))) = read(&bytes) {
                prop_assert!(length <= bytes.len().min(MOST));
            }
        }
    }
}
