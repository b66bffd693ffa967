//! What holds for the first bytes of any connection: headers of the PROXY protocol, first messages of TLS and headers of QUIC.

use tidegate_wire::client_hello::{self, Seen};
use tidegate_wire::proxy_protocol::{self, Form, Said};
use tidegate_wire::quic::{self, Header};

/// What is read does not depend on what follows it, was not said before its last byte, and is read again as it is written.
pub(crate) fn header(bytes: &[u8]) {
    let read = proxy_protocol::read(bytes);
    let Ok(Some((said, length))) = read else {
        if read.is_err() {
            assert!(proxy_protocol::read(&[bytes, b"more"].concat()).is_err(), "what is wrong stays wrong");
        }
        return;
    };
    assert!(length <= bytes.len().min(proxy_protocol::MOST));
    assert_eq!(proxy_protocol::read(&bytes[..length]), read);
    for short in [0, length / 2, length - 1] {
        assert_eq!(proxy_protocol::read(&bytes[..short]), Ok(None), "{short} of {length}");
    }
    for form in [Form::V1, Form::V2] {
        let mut out = Vec::new();
        proxy_protocol::write(form, said, None, &mut out);
        let Ok(Some((again, whole))) = proxy_protocol::read(&out) else { panic!("what is written is read") };
        assert_eq!(whole, out.len());
        match (said, again) {
            (Said::Between { source, destination }, Said::Between { source: from, destination: to }) => {
                assert_eq!((source.port(), destination.port()), (from.port(), to.port()));
                assert_eq!(source.ip().to_canonical(), from.ip().to_canonical());
                assert_eq!(destination.ip().to_canonical(), to.ip().to_canonical());
            }
            (Said::Between { .. }, _) | (_, Said::Between { .. }) => panic!("{said:?} became {again:?}"),
            _ => {}
        }
    }
}

/// What was seen stays so whatever follows, and nothing is seen of less than all of it.
pub(crate) fn hello(bytes: &[u8]) {
    let seen = client_hello::read(bytes);
    if seen != Seen::Partial {
        assert_eq!(client_hello::read(&[bytes, &[0x16, 3, 3, 0, 1, 0]].concat()), seen);
    }
    if let Seen::Hello(hello) = &seen {
        let name = hello.name.as_deref().unwrap_or("a");
        assert!(
            !name.is_empty()
                && name.len() <= 253
                && name.is_ascii()
                && !name.bytes().any(|byte| byte.is_ascii_uppercase())
        );
        let shortest = (0..bytes.len()).find(|length| client_hello::read(&bytes[..*length]) != Seen::Partial);
        assert!(shortest.is_none_or(|length| client_hello::read(&bytes[..length]) == seen), "seen before it was there");
    }
}

/// What is read of a datagram lies in it, where the sizes before it say, and does not depend on what follows.
pub(crate) fn quic_header(bytes: &[u8]) {
    let Some(header) = quic::read(bytes) else {
        assert!(bytes.first().is_none_or(|first| first & 0x80 != 0), "a short header needs one byte");
        return;
    };
    let longer = [bytes, b"more"].concat();
    match (header, quic::read(&longer)) {
        (Header::Short { rest }, Some(Header::Short { rest: more })) => {
            assert!(bytes[0] & 0x80 == 0 && rest == &bytes[1..] && more == &longer[1..]);
            assert_eq!(header.chosen(), None);
        }
        (Header::Long { version, destination, source }, again) => {
            assert_eq!(again, Some(header));
            let written =
                [&version.to_be_bytes()[..], &[destination.len() as u8], destination, &[source.len() as u8], source];
            assert!(bytes[0] & 0x80 != 0 && bytes[1..].starts_with(&written.concat()));
            assert_eq!(header.chosen().is_some(), version != 0 && !source.is_empty());
            assert_eq!(header.part(0, destination.len()), Some(destination));
            assert_eq!(header.part(1, destination.len()), None);
        }
        (_, other) => panic!("{header:?} became {other:?}"),
    }
}
