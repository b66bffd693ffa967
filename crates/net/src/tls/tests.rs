//! Two engines with nothing between them but what is written down: the order of things that no socket shows.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{
    AlertDescription, ClientConfig, ContentType, Error, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use super::engine::{Engine, Side, Sink};
use super::provider;
use super::records::Records;

/// An end of a connection, and what it has not sent yet.
struct End {
    engine: Engine,
    received: Vec<u8>,
    out: Vec<u8>,
    ended: bool,
}

/// A client and a server that have shaken hands.
fn pair(version: &'static SupportedProtocolVersion) -> (End, End) {
    let issued = rcgen::generate_simple_self_signed(["example.com".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).expect("a key");
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .expect("a certificate with its key");
    server.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("an authority");
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    let name = ServerName::try_from("example.com").expect("a name");
    let client = UnbufferedClientConnection::new(Arc::new(client), name).expect("a client");
    let server = UnbufferedServerConnection::new(Arc::new(server)).expect("a server");
    let (mut client, mut server) = (End::new(Side::Client(client)), End::new(Side::Server(server)));
    while client.is_shaking() || server.is_shaking() {
        client.receive(&[]).expect("a client's part");
        client.speak_to(&mut server).expect("a server's part");
        server.speak_to(&mut client).expect("a client's part");
    }
    (client, server)
}

impl End {
    fn new(side: Side) -> End {
        End { engine: Engine::new(side), received: Vec::new(), out: Vec::new(), ended: false }
    }

    fn is_shaking(&self) -> bool {
        self.engine.library().is_some_and(|library| library.common().is_handshaking())
    }

    fn records(&mut self) -> &mut Records {
        match &mut self.engine {
            Engine::Records(records) => records,
            Engine::Library(_) | Engine::Broken => panic!("no records of our own"),
        }
    }

    /// Takes bytes; answers the content in them.
    fn receive(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.received.extend_from_slice(bytes);
        let mut content = Vec::new();
        loop {
            let (mut into, mut over) = ([0; 100], Vec::new());
            let mut sink = Sink { into: &mut into, filled: 0, over: &mut over };
            let opened = self.engine.open(&mut self.received, &mut sink, &mut self.out)?;
            let filled = sink.filled;
            self.received.drain(..opened.used);
            self.ended |= opened.ended;
            if self.engine.library().is_some_and(|library| !library.common().is_handshaking()) {
                self.engine.take_over()?;
            }
            content.extend_from_slice(&into[..filled]);
            content.extend_from_slice(&over);
            if filled == 0 {
                return Ok(content);
            }
        }
    }

    fn say(&mut self, content: &[u8]) {
        self.engine.seal(&mut self.received, content, &mut self.out).expect("sealed");
    }

    fn speak_to(&mut self, other: &mut End) -> Result<Vec<u8>, Error> {
        let said = std::mem::take(&mut self.out);
        other.receive(&said)
    }
}

#[test]
fn content_passes_both_ways_however_it_is_cut() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (mut client, mut server) = pair(version);
        for length in [1, 99, 100, 101, 16_384, 16_385, 100_000] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            client.say(&content);
            assert_eq!(client.speak_to(&mut server).expect("content"), content);
            server.say(&content);
            let said = std::mem::take(&mut server.out);
            let mut heard = Vec::new();
            for piece in said.chunks(777) {
                heard.extend(client.receive(piece).expect("content"));
            }
            assert_eq!(heard, content);
        }
    }
}

#[test]
fn every_byte_of_a_record_counts() {
    let (mut client, _) = pair(&rustls::version::TLS13);
    client.say(b"content");
    for at in 5..client.out.len() {
        let (mut client, mut server) = pair(&rustls::version::TLS13);
        client.say(b"content");
        client.out[at] ^= 1;
        assert_eq!(client.speak_to(&mut server), Err(Error::DecryptError), "byte {at}");
        let told = server.speak_to(&mut client);
        assert_eq!(told, Err(Error::AlertReceived(AlertDescription::BadRecordMac)));
        assert!(server.engine.seal(&mut [], b"more", &mut Vec::new()).is_err(), "it is over");
    }
}

#[test]
fn records_come_in_their_order_and_once() {
    let (mut client, mut server) = pair(&rustls::version::TLS13);
    client.say(b"one");
    let one = std::mem::take(&mut client.out);
    assert_eq!(server.receive(&one).expect("content"), b"one");
    assert_eq!(server.receive(&one), Err(Error::DecryptError));
}

#[test]
fn what_is_said_in_the_open_or_too_long_is_refused() {
    for (record, alert) in [
        (&b"\x14\x03\x03\x00\x01\x01"[..], AlertDescription::UnexpectedMessage),
        (b"\x15\x03\x03\x00\x02\x01\x00", AlertDescription::UnexpectedMessage),
        (b"\x17\x03\x03\x41\x01", AlertDescription::RecordOverflow),
        (b"\x17\x03\x03\x00\x00", AlertDescription::BadRecordMac),
    ] {
        let (mut client, mut server) = pair(&rustls::version::TLS13);
        assert!(server.receive(record).is_err(), "{record:?}");
        assert_eq!(server.speak_to(&mut client), Err(Error::AlertReceived(alert)), "{record:?}");
    }
}

#[test]
fn keys_are_changed_in_time_and_when_a_peer_asks() {
    let (mut client, mut server) = pair(&rustls::version::TLS13);
    // The next record but one would be the last that the key is good for.
    let limit = client.records().limit();
    client.records().set_sealed(limit - 2);
    server.records().set_opened(limit - 2);
    for _ in 0..5 {
        client.say(b"content");
    }
    assert_eq!(client.speak_to(&mut server).expect("content"), b"content".repeat(5));
    assert!(client.records().sealed() < 10, "it was changed");
    // A request for ours is answered, and content of the new key understood.
    let mut out = Vec::new();
    client.records().seal_one(ContentType::Handshake, &[24, 0, 0, 1, 1], &mut out);
    assert_eq!(server.receive(&out).err(), None);
    assert!(!server.out.is_empty(), "an answer");
    server.say(b"from the new key");
    assert_eq!(server.speak_to(&mut client).expect("content"), b"from the new key");
}

#[test]
fn requests_for_new_keys_have_one_answer_until_content_follows() {
    let (mut client, mut server) = pair(&rustls::version::TLS13);
    let ask = |client: &mut End, server: &mut End| {
        let mut out = Vec::new();
        client.records().ask_for_key(&mut out);
        client.records().seal_one(ContentType::ApplicationData, b"x", &mut out);
        assert_eq!(server.receive(&out).expect("content"), b"x");
    };
    for _ in 0..1000 {
        ask(&mut client, &mut server);
    }
    let answer = server.out.len();
    assert!((1..64).contains(&answer), "{answer}");
    server.say(b"content");
    ask(&mut client, &mut server);
    assert!(server.out.len() >= 2 * answer + 7, "a second answer behind the content");
    assert_eq!(server.speak_to(&mut client).expect("content"), b"content");
}

#[test]
fn fruitless_records_are_bounded() {
    let (mut client, mut server) = pair(&rustls::version::TLS13);
    for _ in 0..32 {
        let mut out = Vec::new();
        client.records().seal_one(ContentType::ApplicationData, b"", &mut out);
        assert_eq!(server.receive(&out).expect("nothing"), b"");
    }
    client.say(b"content");
    assert_eq!(client.speak_to(&mut server).expect("content"), b"content");
    for _ in 0..32 {
        let mut out = Vec::new();
        client.records().seal_one(ContentType::ApplicationData, b"", &mut out);
        assert_eq!(server.receive(&out).expect("nothing"), b"");
    }
    let mut out = Vec::new();
    client.records().seal_one(ContentType::ApplicationData, b"", &mut out);
    assert!(server.receive(&out).is_err());
}

#[test]
fn messages_of_the_handshake_are_few_and_whole() {
    for (messages, fine) in [
        (&[&[24, 0, 0][..], &[1, 0]][..], true),
        (&[&[24, 0, 0, 1, 2]], false),
        (&[&[24, 0, 0, 1, 0, 24]], false),
        (&[&[1, 0, 0, 0]], false),
        (&[&[4, 0, 0, 0]], false),
        (&[&[24, 1, 0, 1]], false),
    ] {
        let (mut client, mut server) = pair(&rustls::version::TLS13);
        let mut out = Vec::new();
        for message in messages {
            client.records().seal_one(ContentType::Handshake, message, &mut out);
        }
        assert_eq!(server.receive(&out).is_ok(), fine, "{messages:?}");
    }
    // And nothing comes between the parts of one.
    let (mut client, mut server) = pair(&rustls::version::TLS13);
    let mut out = Vec::new();
    client.records().seal_one(ContentType::Handshake, &[24, 0, 0], &mut out);
    client.records().seal_one(ContentType::ApplicationData, b"content", &mut out);
    assert!(server.receive(&out).is_err());
}

#[test]
fn the_end_is_said_and_what_follows_is_ignored() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (mut client, mut server) = pair(version);
        client.say(b"last");
        client.engine.seal_end(&mut client.received, &mut client.out).expect("an alert");
        client.out.extend_from_slice(b"whatever");
        assert_eq!(client.speak_to(&mut server).expect("content"), b"last");
        assert!(!server.ended || server.received.is_empty());
        assert_eq!(server.receive(&[]).expect("nothing"), b"");
        assert!(server.ended);
    }
}
