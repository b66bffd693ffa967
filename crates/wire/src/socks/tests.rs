use super::*;

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

fn v4(command: u8, port: u16, ip: [u8; 4], rest: &[u8]) -> Vec<u8> {
    [&[4, command][..], &port.to_be_bytes(), &ip, rest].concat()
}

fn v5(command: u8, kind: u8, host: &[u8], port: u16) -> Vec<u8> {
    [&[5, command, 0, kind][..], host, &port.to_be_bytes()].concat()
}

fn counted(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8][..], text].concat()
}

fn connect(host: Host, port: u16) -> Request {
    Request { command: Command::Connect, host, port }
}

fn ip(text: &str) -> Host {
    Host::Ip(text.parse().expect("an address"))
}

/// It is read once it is there, and not before; what follows it is not of it.
fn is_read(version: Version, bytes: &[u8], wanted: &Request) {
    for length in 0..bytes.len() {
        assert_eq!(request(version, &bytes[..length]), Ok(None), "{length} of {bytes:?}");
    }
    let more = [bytes, b"\x16\x03\x01"].concat();
    assert_eq!(request(version, &more), Ok(Some((wanted.clone(), bytes.len()))), "{bytes:?}");
}

#[test]
fn requests_are_read_in_each_version() {
    is_read(Version::V4, &v4(1, 80, [192, 0, 2, 1], b"me\0"), &connect(ip("192.0.2.1"), 80));
    is_read(Version::V4, &v4(1, 443, [0, 0, 0, 9], b"\0Example.COM.\0"), &connect(name("example.com"), 443));
    is_read(Version::V4, &v4(1, 443, [0, 0, 0, 0], b"\0"), &connect(ip("0.0.0.0"), 443));
    is_read(Version::V5, &v5(1, 1, &[192, 0, 2, 1], 80), &connect(ip("192.0.2.1"), 80));
    is_read(Version::V5, &v5(1, 3, &counted(b"example.com"), 80), &connect(name("example.com"), 80));
    let six = "2001:db8::1".parse::<Ipv6Addr>().expect("an address");
    is_read(Version::V5, &v5(1, 4, &six.octets(), 65_535), &connect(ip("2001:db8::1"), 65_535));
    let associate = Request { command: Command::Associate, host: ip("0.0.0.0"), port: 0 };
    is_read(Version::V5, &v5(3, 1, &[0; 4], 0), &associate);
    let bind = Request { command: Command::Bind, host: ip("192.0.2.1"), port: 21 };
    is_read(Version::V5, &v5(2, 1, &[192, 0, 2, 1], 21), &bind);
    is_read(Version::V4, &v4(2, 21, [192, 0, 2, 1], b"\0"), &bind);
}

#[test]
fn a_host_has_one_form() {
    for (text, wanted) in [
        ("192.0.2.1", ip("192.0.2.1")),
        ("192.0.2.1.", ip("192.0.2.1")),
        ("::ffff:192.0.2.1", ip("192.0.2.1")),
        ("2001:db8::1", ip("2001:db8::1")),
        ("A.Example", name("a.example")),
        ("2130706433", name("2130706433")),
    ] {
        let read = request(Version::V5, &v5(1, 3, &counted(text.as_bytes()), 80));
        assert_eq!(read.map(|read| read.map(|(request, _)| request.host)), Ok(Some(wanted)), "{text}");
    }
    let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().expect("an address").octets();
    is_read(Version::V5, &v5(1, 4, &mapped, 80), &connect(ip("10.0.0.1"), 80));
}

#[test]
fn what_no_host_can_be_is_refused() {
    for text in ["", ".", "..", "a..b", "a b", "a/b", "a@b", "a:80", "[::1]", "[::1]:80", "a\0b", "a\r\nb", "é.example"]
    {
        let read = request(Version::V5, &v5(1, 3, &counted(text.as_bytes()), 80));
        assert_eq!(read, Err(Invalid { reason: NO_HOST, reply: Some(Reply::Failed) }), "{text:?}");
    }
    let of_v4 = |host: &[u8]| request(Version::V4, &v4(1, 80, [0, 0, 0, 1], &[b"\0", host, b"\0"].concat()));
    assert!(of_v4(b"a b").is_err() && of_v4(b"").is_err() && of_v4(b"a").is_ok());
}

#[test]
fn what_cannot_be_followed_is_said_by_its_number() {
    let reply = |version, bytes: &[u8]| request(version, bytes).map_err(|invalid| invalid.reply);
    assert_eq!(reply(Version::V5, &v5(9, 1, &[1; 4], 80)), Err(Some(Reply::Command)));
    assert_eq!(reply(Version::V5, &[5, 1, 0, 2]), Err(Some(Reply::AddressType)));
    assert_eq!(reply(Version::V4, &v4(3, 80, [1; 4], b"\0")), Err(Some(Reply::Command)));
    assert_eq!(reply(Version::V5, &[4]), Err(None));
    assert_eq!(reply(Version::V4, &v4(1, 80, [1; 4], &[b'x'; 256])), Err(Some(Reply::Failed)));
    assert_eq!(
        reply(Version::V4, &v4(1, 80, [0, 0, 0, 1], &[&b"\0"[..], &[b'x'; 256]].concat())),
        Err(Some(Reply::Failed))
    );
    assert_eq!(reply(Version::V4, &v4(1, 80, [1; 4], &[b'x'; 255])), Ok(None), "it may still end");
}

#[test]
fn greetings_and_passwords_are_read() {
    assert_eq!(greeting(&[5, 2, 0, 2, 9]), Ok(Some((Methods { none: true, password: true }, 4))));
    assert_eq!(greeting(&[5, 1, 1]), Ok(Some((Methods::default(), 3))));
    assert_eq!(greeting(&[5, 2, 0]), Ok(None));
    assert!(greeting(&[5, 0]).is_err() && greeting(&[4, 1, 0]).is_err());
    let said = [&[1][..], &counted(b"me"), &counted(b"secret"), b"\x05"].concat();
    let (read, length) = credentials(&said).expect("credentials").expect("all of them");
    let basic = |name: &[u8], password: &[u8]| Credentials::Basic { name: name.to_vec(), password: password.to_vec() };
    assert!(read == basic(b"me", b"secret") && length == 11);
    assert!(credentials(&said[..10]) == Ok(None));
    assert!(credentials(&[5, 1]).is_err());
    assert!(credentials(&[1, 0, 0]) == Ok(Some((basic(b"", b""), 3))));
}

#[test]
fn replies_are_written() {
    let written = |reply: Reply, version, bound: &str| {
        let mut out = Vec::new();
        reply.write(version, bound.parse().ok(), &mut out);
        out
    };
    assert_eq!(written(Reply::Granted, Version::V4, "192.0.2.1:80"), [0, 90, 0, 80, 192, 0, 2, 1]);
    assert_eq!(written(Reply::Granted, Version::V4, "[2001:db8::1]:80"), [0, 90, 0, 80, 0, 0, 0, 0]);
    assert_eq!(written(Reply::NotAllowed, Version::V4, "")[..2], [0, 91]);
    assert_eq!(written(Reply::Unproven, Version::V4, "0.0.0.0:0")[..2], [0, 93]);
    assert_eq!(written(Reply::NotAllowed, Version::V5, ""), [5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(written(Reply::Refused, Version::V5, "192.0.2.1:80"), [5, 5, 0, 1, 192, 0, 2, 1, 0, 80]);
    assert_eq!(written(Reply::Granted, Version::V5, "[::ffff:192.0.2.1]:80"), [5, 0, 0, 1, 192, 0, 2, 1, 0, 80]);
    assert_eq!(written(Reply::Granted, Version::V5, "[2001:db8::1]:80").len(), 22);
}

#[test]
fn datagrams_say_where_they_go() {
    let head = |piece: u8| [&[0, 0, piece, 3][..], &counted(b"A.test"), &53_u16.to_be_bytes(), b"question"].concat();
    assert_eq!(datagram(&head(0)), Ok((name("a.test"), 53, 13)));
    assert!(datagram(&head(1)).is_err(), "a piece");
    for length in 0..13 {
        assert!(datagram(&head(0)[..length]).is_err(), "{length}");
    }
    for from in ["192.0.2.1:53", "[2001:db8::1]:53"] {
        let (mut out, from) = (Vec::new(), from.parse::<SocketAddr>().expect("an address"));
        write_datagram_head(from, &mut out);
        assert_eq!(datagram(&out), Ok((Host::Ip(from.ip()), 53, out.len())));
    }
}
