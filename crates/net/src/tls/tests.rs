//! Two engines with nothing between them but what is written down: the order of things that no socket shows.

use std::future::{Future, poll_fn};
use std::io::{Read as _, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use proptest::prelude::*;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::UnbufferedServerConnection;
use rustls::{
    AlertDescription, ClientConfig, ContentType, Error, PeerMisbehaved, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};

use super::ends::{End, client_end, conversation, shaken};
use super::engine::Side;
use super::provider;
use super::secured::Secured;
use crate::stream::{Peek, Stream};

/// A client and a server that have shaken hands.
fn pair(version: &'static SupportedProtocolVersion) -> (End, End) {
    let (server, client) = configs(version);
    let [client, server] = shaken(client, server);
    (client, server)
}

fn configs(version: &'static SupportedProtocolVersion) -> (ServerConfig, ClientConfig) {
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
    (server, client)
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
    for _ in 0..20 {
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
fn new_keys_are_paid_for_by_content() {
    let (mut client, mut server) = pair(&rustls::version::TLS13);
    let change = |client: &mut End, server: &mut End, content: usize| {
        let mut out = Vec::new();
        client.records().ask_for_key(&mut out);
        let content = vec![b'x'; content];
        client.records().seal_one(ContentType::ApplicationData, &content, &mut out);
        server.receive(&out).map(|heard| assert_eq!(heard, content))
    };
    for _ in 0..200 {
        assert_eq!(change(&mut client, &mut server, 16 * 1024), Ok(()));
    }
    for _ in 0..32 {
        assert_eq!(change(&mut client, &mut server, 1), Ok(()));
    }
    let many = Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests);
    assert_eq!(change(&mut client, &mut server, 1), Err(many));
}

#[test]
fn what_was_good_before_a_fault_is_content() {
    let (mut client, mut server) = pair(&rustls::version::TLS13);
    client.say(b"good");
    let good = client.out.len();
    client.say(b"bad");
    client.out[good + 7] ^= 1;
    let (mut heard, said) = (Vec::new(), std::mem::take(&mut client.out));
    assert_eq!(server.hear(&said, &mut heard), Err(Error::DecryptError));
    assert_eq!(heard, b"good");
}

/// A segment with a good record and a bad one: what was good is read, then what was wrong is said.
#[test]
fn what_was_good_before_a_fault_is_read_before_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let (server, client) = configs(&rustls::version::TLS13);
        let (here, mut there) = std::os::unix::net::UnixStream::pair().expect("sockets");
        here.set_nonblocking(true).expect("a socket");
        let stream = Stream::Unix(tokio::net::UnixStream::from_std(here).expect("a stream"));
        let side = UnbufferedServerConnection::new(Arc::new(server)).expect("a server");
        let secured = Secured::new(stream, Side::Server(side));
        let mut end = client_end(client);
        end.receive(&[]).expect("a hello");
        let mut handshake = pin!(secured.handshake());
        // The socket's other end takes and gives without a runtime: each side has its turn.
        loop {
            there.write_all(&std::mem::take(&mut end.out)).expect("sent");
            let done = poll_once(&mut handshake).await;
            there.set_nonblocking(true).expect("a socket");
            let mut block = [0; 32 * 1024];
            if let Ok(count) = there.read(&mut block) {
                end.receive(&block[..count]).expect("a server's part");
            }
            if done {
                break;
            }
        }
        let mut segment = std::mem::take(&mut end.out);
        end.say(b"good");
        let good = end.out.len();
        end.say(b"bad");
        end.out[good + 7] ^= 1;
        segment.append(&mut end.out);
        there.write_all(&segment).expect("sent");
        let mut into = [0; 100];
        let count = poll_fn(|cx| secured.poll_read(cx, &mut into)).await.expect("content");
        assert_eq!(&into[..count], b"good");
        assert_eq!(poll_fn(|cx| secured.poll_peek(cx)).await, Peek::Broken);
        let error = poll_fn(|cx| secured.poll_read(cx, &mut into)).await.expect_err("a fault");
        assert!(error.to_string().contains("decrypt"), "{error}");
    });
}

/// Polls a handshake once; says whether it is done.
async fn poll_once(handshake: &mut (impl Future<Output = std::io::Result<()>> + Unpin)) -> bool {
    // Whoever waits for a socket has to let the runtime look at it.
    tokio::task::yield_now().await;
    poll_fn(|cx| match std::pin::Pin::new(&mut *handshake).poll(cx) {
        Poll::Ready(done) => {
            done.expect("hands are shaken");
            Poll::Ready(true)
        }
        Poll::Pending => Poll::Ready(false),
    })
    .await
}

#[test]
fn seeds_hold() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/tls_records");
    for seed in std::fs::read_dir(folder).expect("a folder of seeds") {
        let bytes = std::fs::read(seed.expect("a seed").path()).expect("a seed that can be read");
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            conversation(pair(version).into(), &bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_heard_was_said_whatever_happens_on_the_way(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        conversation(pair(&rustls::version::TLS13).into(), &bytes);
    }
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
