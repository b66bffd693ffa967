//! What holds for the first bytes of any connection: headers of the PROXY protocol, messages of SOCKS, first messages of TLS, PostgreSQL and MQTT, requests of
//! HTTP where nobody has said that there are any, headers of QUIC, and what is said before TLS begins inside of a protocol.

use tidegate_wire::client_hello::{self, Seen};
use tidegate_wire::credentials::Credentials;
use tidegate_wire::h1::{self, Limits, opening};
use tidegate_wire::parent::{self, connect, socks5};
use tidegate_wire::proxy_protocol::{self, Form, Said};
use tidegate_wire::quic::{self, Header};
use tidegate_wire::socks::{self, Version};
use tidegate_wire::starttls::{Guest, Host, Protocol, Step, guest, host};
use tidegate_wire::{Head, h3, masque, mqtt, mysql, postgres, uri};

/// Whatever a client of SOCKS says, what is waited for is bounded, and more of it changes nothing of what was read. A host that was read is
/// one that a URL may have.
pub(crate) fn socks(bytes: &[u8]) {
    fn stands<T: PartialEq>(
        bytes: &[u8],
        read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, socks::Invalid>,
    ) -> Option<T> {
        let whole = read(bytes);
        assert!(whole != Ok(None) || bytes.len() < socks::MOST);
        assert!(whole == Ok(None) || read(&[bytes, b"more"].concat()) == whole);
        for cut in 0..bytes.len().min(socks::MOST) {
            let early = read(&bytes[..cut]);
            assert!(early == Ok(None) || early == whole, "{cut} of {bytes:?}");
        }
        let (said, length) = whole.ok()??;
        assert!(length <= socks::MOST.min(bytes.len()));
        Some(said)
    }
    stands(bytes, socks::greeting);
    stands(bytes, socks::credentials);
    for version in [Version::V4, Version::V5] {
        if let Some(request) = stands(bytes, |bytes| socks::request(version, bytes)) {
            let authority = request.host.authority(request.port);
            assert!(uri::is_authority(authority.as_bytes()), "{authority}");
            assert_eq!(uri::port(authority.as_bytes()), Some(request.port));
        }
    }
    if let Ok((host, port, length)) = socks::datagram(bytes) {
        assert!(length <= bytes.len() && uri::is_authority(host.authority(port).as_bytes()));
    }
}

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

/// What was seen stays so whatever follows; and nothing is taken for something else that the reader of requests would take for one.
pub(crate) fn opening(bytes: &[u8]) {
    let seen = opening::read(bytes);
    assert!(seen != opening::Seen::Partial || bytes.len() < opening::MOST);
    for more in [&b"more"[..], b" / HTTP/1.1\r\n\r\n", b"\n", b"\0"] {
        assert!(seen == opening::Seen::Partial || opening::read(&[bytes, more].concat()) == seen, "{bytes:?} {more:?}");
    }
    if seen == opening::Seen::Other {
        let read = h1::request(bytes, &Limits::default(), &mut Head::default());
        assert!(!matches!(read, Ok(h1::Progress::Complete(_))), "{bytes:?} is a request");
    }
    let greeting = opening::of_server(bytes);
    assert!(greeting == opening::Greeting::Partial || opening::of_server(&[bytes, b"more"].concat()) == greeting);
    assert!(greeting != opening::Greeting::Partial || bytes.len() < 9);
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
/// The same for a client of PostgreSQL; and a server's first words lose nothing but ways to log in.
pub(crate) fn startup(bytes: &[u8]) {
    let seen = postgres::read(bytes);
    if seen != postgres::Seen::Partial {
        assert_eq!(postgres::read(&[bytes, b"more"].concat()), seen);
    }
    if let postgres::Seen::Startup(said) = &seen {
        assert!(!said.user.is_empty() && !said.database.is_empty());
        assert!(![&said.user, &said.database].iter().any(|name| name.len() > 63 || name.contains(&0)));
        let shortest = (0..bytes.len()).find(|length| postgres::read(&bytes[..*length]) != postgres::Seen::Partial);
        assert!(shortest.is_none_or(|length| postgres::read(&bytes[..length]) == seen), "seen before it was there");
    }
    if let Some(told) = postgres::without_binding(bytes) {
        assert!(told.len() <= bytes.len());
        assert_eq!(
            postgres::without_binding(&told).as_deref(),
            Some(&told[..]),
            "what is left out is left out at once"
        );
    }
}

/// The same for a client of MQTT.
pub(crate) fn connect(bytes: &[u8]) {
    let seen = mqtt::read(bytes);
    if seen != mqtt::Seen::Partial {
        assert_eq!(mqtt::read(&[bytes, b"\x10\0"].concat()), seen);
    }
    if let mqtt::Seen::Connect(id) = &seen {
        assert!(!id.contains('\0'));
        let shortest = (0..bytes.len()).find(|length| mqtt::read(&bytes[..*length]) != mqtt::Seen::Partial);
        assert!(shortest.is_none_or(|length| mqtt::read(&bytes[..length]) == seen), "seen before it was there");
    }
}

/// What a client says of who it is comes apart in one way: it is read again as it would be written.
pub(crate) fn credentials(bytes: &[u8]) {
    use base64::Engine as _;
    let read = Credentials::read(bytes);
    let again = match &read {
        None => return,
        Some(Credentials::Bearer(token)) => [b"bearer  ", &token[..], b" "].concat(),
        Some(Credentials::Basic { name, password }) => {
            assert!(!name.contains(&b':') && ![&name[..], password].concat().iter().any(u8::is_ascii_control));
            let pair = base64::engine::general_purpose::STANDARD.encode([name, &b":"[..], password].concat());
            format!("BASIC {pair}").into_bytes()
        }
    };
    assert!(Credentials::read(&again) == read, "read in another way");
}

/// A conversation before TLS, of the protocol and the side that the first byte chooses, comes to the same in whatever portions, and never
/// to TLS with anything said behind the question for it.
pub(crate) fn starttls(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let protocol = [Protocol::Postgres, Protocol::Smtp, Protocol::Imap, Protocol::Pop3][usize::from(choice & 3)];
    if choice & 0x40 != 0 {
        return mysql(bytes);
    }
    let lets_plain = choice & 0x20 != 0;
    match choice & 0x80 {
        0 => towards_client(protocol, lets_plain, bytes),
        _ => towards_server(protocol, lets_plain, bytes),
    }
}

/// What was seen stays so whatever follows, and nothing stands in plain behind a question for TLS.
fn mysql(bytes: &[u8]) {
    let greeting = mysql::greeting(bytes);
    if greeting != mysql::Greeting::Partial {
        assert_eq!(mysql::greeting(&[bytes, b"more"].concat()), greeting);
    }
    if let mysql::Greeting::Secure(length) | mysql::Greeting::Refusal(length) = greeting {
        assert!(length <= bytes.len().min(mysql::MOST));
        assert_eq!(mysql::greeting(&bytes[..length - 1]), mysql::Greeting::Partial);
    }
    match mysql::answer(bytes) {
        mysql::Answer::Tls => assert!(bytes.get(mysql::SSL_REQUEST).is_none_or(|next| *next == 22)),
        mysql::Answer::Partial => assert!(bytes.len() < mysql::SSL_REQUEST),
        mysql::Answer::Other => assert_eq!(mysql::answer(&[bytes, b"more"].concat()), mysql::Answer::Other),
    }
}

fn towards_client(protocol: Protocol, lets_plain: bool, bytes: &[u8]) {
    let host = || Host::new(protocol, "a".to_owned()).letting_plain(lets_plain);
    let (mut at_once, mut told) = (host(), Vec::new());
    let (mut piecemeal, mut said) = (host(), Vec::new());
    at_once.greet(&mut told);
    piecemeal.greet(&mut said);
    let mut from = 0;
    loop {
        let step = at_once.hear(&bytes[from..bytes.len().min(from + host::LOOK)], &mut told);
        if let Step::Begin(length) = step {
            assert_eq!(from + length, bytes.len().min(from + host::LOOK), "something stands behind the question");
        }
        let mut portions = (from..bytes.len()).map(|end| piecemeal.hear(&bytes[from..=end], &mut said));
        let slowly = portions.find(|step| *step != Step::More).unwrap_or(Step::More);
        match (&step, &slowly) {
            // Byte by byte it is not seen that more follows: it waits where only a handshake is looked for.
            (Step::Over(Some(_)), Step::Begin(_)) => return,
            _ => assert_eq!((&step, &told), (&slowly, &said)),
        }
        match step {
            Step::Done(length) => from += length,
            Step::Plain(hello) => {
                assert!(lets_plain && (hello.is_empty() || protocol == Protocol::Smtp && hello.ends_with(b"\r\n")));
                return;
            }
            _ => return,
        }
    }
}

fn towards_server(protocol: Protocol, lets_plain: bool, bytes: &[u8]) {
    let (mut guest, mut said) = (Guest::new(protocol).letting_plain(lets_plain), Vec::new());
    guest.open(&mut said);
    let mut heard = Vec::new();
    for byte in bytes {
        heard.push(*byte);
        match guest.hear(&mut heard, &mut said) {
            Ok(false) => assert!(heard.len() <= guest::MOST),
            Ok(true) => {
                assert!(protocol == Protocol::Postgres || heard.is_empty());
                break;
            }
            Err(_) => break,
        }
    }
    assert!(lets_plain || !guest.is_plain());
    assert!(guest.greeting().len() <= bytes.len());
}

/// Datagrams in capsules, however they are cut, or in one of QUIC, and the path to a server.
pub(crate) fn capsules(bytes: &[u8]) {
    let whole = read_capsules(std::iter::once(bytes));
    assert_eq!(read_capsules(bytes.chunks(3)), whole, "however it is cut");
    let mut again = Vec::new();
    whole.1.iter().for_each(|datagram| masque::write(datagram, &mut again));
    assert_eq!(read_capsules(std::iter::once(&again[..])).1, whole.1, "what is written is read");
    if let Some(target) = masque::target(bytes) {
        assert!(uri::port(&target).is_some() && !uri::host(&target).is_empty());
    }
    if let Ok((stream, at)) = h3::datagram::read(bytes) {
        assert!(stream % 4 == 0 && at <= bytes.len());
        assert!(masque::of_udp(&bytes[at..]).is_none_or(|datagram| datagram.len() < bytes.len()));
    }
}

/// Whether it could be read, and what; and whether it has ended inside of a capsule.
fn read_capsules<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> (bool, Vec<Vec<u8>>, bool) {
    let (mut capsules, mut heard) = (masque::Capsules::default(), Vec::new());
    let is_fine = pieces.all(|piece| capsules.read(piece, |datagram| heard.push(datagram.to_vec())).is_ok());
    (is_fine, heard, is_fine && capsules.is_inside())
}

/// What a proxy says that is asked to lead on, by CONNECT or by SOCKS as the first byte chooses, comes to the same in whatever portions; what
/// is left is the end of it, and no more is kept than a head may have.
pub(crate) fn parent(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let credentials = (choice & 2 != 0).then_some(parent::Credentials { username: "me", password: "pass" });
    let asked = socks5::Asked { host: "a.test", port: 80, credentials };
    let (mut socks, mut connecting) = (socks5::Talk::new(asked), connect::Talk::default());
    let (mut heard, mut said) = (bytes.to_vec(), Vec::new());
    let mut hear = |heard: &mut Vec<u8>, said: &mut Vec<u8>| match choice & 1 {
        0 => connecting.hear(heard),
        _ => socks.hear(heard, said),
    };
    let at_once = hear(&mut heard, &mut said);
    assert!(bytes.ends_with(&heard), "what is left is the end of what was heard");
    let (mut socks, mut connecting) = (socks5::Talk::new(asked), connect::Talk::default());
    let (mut slowly, mut told) = (Vec::new(), Vec::new());
    let mut step = parent::Step::More;
    for (at, byte) in bytes.iter().enumerate() {
        slowly.push(*byte);
        step = match choice & 1 {
            0 => connecting.hear(&mut slowly),
            _ => socks.hear(&mut slowly, &mut told),
        };
        if step != parent::Step::More {
            slowly.extend_from_slice(&bytes[at + 1..]);
            break;
        }
        assert!(slowly.len() <= connect::LIMITS.head);
    }
    match (step, at_once) {
        // Which fault of two is seen first may depend on how much is there.
        (parent::Step::Bad(_), parent::Step::Bad(_)) => {}
        _ => assert_eq!((step, slowly, told), (at_once, heard, said)),
    }
}
