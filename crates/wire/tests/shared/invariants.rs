//! What must hold for any bytes whatever. Each function panics where it does not; the fuzz targets call them as they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidegate_wire::forwarded::{self, Client, Format, Names, Net, Rules};
use tidegate_wire::h1::{self, Asked, Limits, Progress, Reject, chunked};
use tidegate_wire::head::{Framing, Head, Method};
use tidegate_wire::hop::Meant;
use tidegate_wire::{Known, hop, uri};

use super::reference::{self, Body, Message};

/// A request head: read like the reference does, stable under splitting, and the same after being written.
pub(crate) fn request(bytes: &[u8]) {
    let mut head = Head::default();
    let limits = Limits::default();
    let outcome = h1::request(bytes, &limits, &mut head);
    let mut scratch = Head::default();
    splits(bytes, outcome, &mut |prefix| h1::request(prefix, &limits, &mut scratch));
    touch(&head);
    let Ok(Progress::Complete(length)) = outcome else { return };
    assert!(length <= bytes.len());
    let expected = reference::request(bytes).expect("the reference reads what we accept");
    agree(&head, &expected, length);

    let mut out = Vec::new();
    h1::request_head(&head, &mut out);
    let mut again = Head::default();
    assert_eq!(h1::request(&out, &limits, &mut again), Ok(Progress::Complete(out.len())), "{}", out.escape_ascii());
    assert_eq!(again.method_text(), head.method_text());
    assert_eq!(again.authority(), head.authority());
    assert_eq!((again.path(), again.query()), (head.path(), head.query()));
    assert_eq!(again.framing(), head.framing());
    // The writer begins with the Host that HTTP/1.0 could do without.
    let added = usize::from(!head.has(Known::Host));
    assert!(again.fields().skip(added).eq(head.fields()), "{}", out.escape_ascii());

    // The next hop frames a stripped and marked head as we did.
    let wishes = hop::wishes(&head);
    for unseen in [true, false] {
        let mut head = head.clone();
        let meant = Meant { expects: wishes.close, upgrades: wishes.upgrade };
        let stripped = if unseen { hop::strip_unseen(&mut head, meant) } else { hop::strip(&mut head) };
        if stripped.is_err() {
            continue;
        }
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let rules = if unseen { Rules::elite() } else { Rules::open() };
        forwarded::apply(&mut head, peer, wishes.close, 80, &rules);
        out.clear();
        h1::request_head(&head, &mut out);
        let length = h1::request(&out, &Limits { fields: 200, ..limits }, &mut again);
        assert_eq!(length, Ok(Progress::Complete(out.len())), "{}", out.escape_ascii());
        assert_eq!(again.framing(), head.framing());
        assert_eq!(reference::request(&out).map(|message| framing(message.body)), Ok(head.framing()));
    }
    if !matches!(head.method(), Method::Connect | Method::Options) {
        path(head.path());
    }
}

/// A response head, under each thing that may have been asked.
pub(crate) fn response(bytes: &[u8]) {
    for asked in [Asked::Other, Asked::Head, Asked::Connect] {
        let mut head = Head::default();
        let limits = Limits::default();
        let outcome = h1::response(bytes, asked, &limits, &mut head);
        let mut scratch = Head::default();
        splits(bytes, outcome, &mut |prefix| h1::response(prefix, asked, &limits, &mut scratch));
        touch(&head);
        let Ok(Progress::Complete(length)) = outcome else { continue };
        assert!(length <= bytes.len());
        let expected = reference::response(bytes, asked == Asked::Head, asked == Asked::Connect);
        let mut expected = expected.expect("the reference reads what we accept");
        if head.status() < 200 || head.status() == 204 || (asked == Asked::Connect && head.status() < 300) {
            expected.fields.retain(|(name, _)| !matches!(&name[..], "content-length" | "transfer-encoding"));
        }
        agree(&head, &expected, length);

        let mut out = Vec::new();
        h1::response_head(&head, &mut out);
        let mut again = Head::default();
        let reread = h1::response(&out, asked, &limits, &mut again);
        assert_eq!(reread, Ok(Progress::Complete(out.len())), "{}", out.escape_ascii());
        assert_eq!((again.status(), again.framing()), (head.status(), head.framing()));
        assert!(again.fields().eq(head.fields()), "{}", out.escape_ascii());
    }
}

/// A chunked body: the first byte says into what pieces the rest is cut.
pub(crate) fn chunked_body(bytes: &[u8]) {
    let Some((seed, body)) = bytes.split_first() else { return };
    let whole = decode(body, &[]);
    let cuts: Vec<usize> = (0..4).map(|turn| 1 + usize::from(seed >> turn & 7)).collect();
    let pieces = decode(body, &cuts);
    assert_eq!(whole.is_err(), pieces.is_err(), "splitting decides");
    let Ok(Some(decoded)) = whole else { return };
    assert_eq!(Ok(Some(&decoded)), pieces.as_ref().map(Option::as_ref), "splitting changes the content");
    let (content, trailers, length) = reference::chunked(body).expect("the reference reads what we accept");
    assert_eq!((&decoded.content, decoded.length), (&content, length));
    let expected: Vec<_> = trailers.into_iter().filter(|(name, _)| chunked::may_trail(name.as_bytes())).collect();
    assert_eq!(decoded.trailers, expected);
    let encoded = encode(&content, &cuts);
    assert_eq!(decode(&encoded, &cuts).map(|decoded| decoded.map(|decoded| decoded.content)), Ok(Some(content)));
}

/// A path in its normal form has no other, and nothing in it climbs.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(normal) = uri::normalize(bytes) else { return };
    assert_eq!(uri::normalize(&normal).as_deref(), Ok(&*normal), "{}", bytes.escape_ascii());
    assert_eq!(normal.first(), Some(&b'/'));
    for segment in normal[1..].split(|byte| *byte == b'/') {
        assert!(!matches!(segment, b"." | b".."), "{}", bytes.escape_ascii());
        assert!(!segment.starts_with(b"..;") && !segment.starts_with(b".;"));
    }
    assert!(normal.iter().all(|byte| uri::is_target_byte(*byte) && *byte != b'?'));
}

/// An authority: what is accepted has one host, in one form.
pub(crate) fn authority(bytes: &[u8]) {
    if !uri::is_authority(bytes) {
        return;
    }
    let host = uri::host(bytes);
    assert!(!host.is_empty());
    assert_eq!(uri::host(&host), host);
    assert!(uri::is_authority(&host), "{}", bytes.escape_ascii());
}

/// Fields about clients, one a line, as a peer may send them: nothing a stranger says is passed on, and the hop after us
/// finds the client that we found.
pub(crate) fn forwarding(bytes: &[u8]) {
    const NAMES: [&[u8]; 6] =
        [b"X-Forwarded-For", b"Forwarded", b"X-Real-IP", b"X-Forwarded-Proto", b"x_forwarded_for", b"Via"];
    let mut sent = Head::default();
    sent.start_request(b"GET", b"example.com:81", b"/", None);
    for (number, value) in bytes.split(|byte| *byte == b'\n').take(32).enumerate() {
        let value: Vec<u8> = value.iter().copied().filter(|byte| matches!(byte, b'\t' | b' '..=b'~')).collect();
        let at = value.first().map_or(number, |byte| usize::from(*byte));
        sent.add(NAMES[at % NAMES.len()], value.trim_ascii());
    }
    let trust = vec![
        Net { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), prefix: 8 },
        Net { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)), prefix: 8 },
    ];
    let (trusted, stranger) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    for format in [Format::XForwarded, Format::Rfc7239, Format::Both] {
        for client in [Client::Append, Client::Replace, Client::Keep, Client::None] {
            let rules = Rules {
                client,
                format,
                trust: trust.clone(),
                via: bytes.len().is_multiple_of(2),
                identifying: Names::identifying(),
            };
            assert_eq!(forwarded::client_ip(&sent, stranger, &rules), stranger);
            for peer in [trusted, stranger] {
                let mut head = sent.clone();
                let found = forwarded::client_ip(&head, peer, &rules);
                forwarded::apply(&mut head, peer, false, 0, &rules);
                forwarded::via_count(&head);
                let mut out = Vec::new();
                head.write_fields(&mut out);
                assert!(reference::request(&[b"GET / HTTP/1.0\r\n", &out[..], b"\r\n"].concat()).is_ok());
                if peer == stranger && client != Client::None {
                    let told = if format == Format::Rfc7239 { "Forwarded" } else { "X-Forwarded-For" };
                    assert_eq!(head.values(told.as_bytes()).count(), 1);
                }
                // What `keep` leaves untouched speaks of the hop before; all others name it to the next.
                if matches!(client, Client::Append | Client::Replace) {
                    assert_eq!(forwarded::client_ip(&head, trusted, &rules), found, "{}", out.escape_ascii());
                }
                if client == Client::None {
                    assert_eq!(forwarded::client_ip(&head, trusted, &rules), trusted);
                }
            }
        }
    }
}

/// A whole chunked body that has been read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) length: usize,
}

/// Reads a chunked body in pieces of these sizes, over and over; no sizes mean one piece. `None`: more is needed.
pub(crate) fn decode(bytes: &[u8], pieces: &[usize]) -> Result<Option<Decoded>, Reject> {
    let mut decoder = chunked::Decoder::default();
    let mut sizes = pieces.iter().copied().cycle();
    let mut content = Vec::new();
    let (mut at, mut arrived) = (0, 0);
    loop {
        arrived = bytes.len().min(sizes.next().map_or(bytes.len(), |size| arrived + size.max(1)));
        loop {
            let window = &bytes[at..arrived];
            match decoder.step(window)? {
                chunked::Step::Consumed(length) => {
                    assert_eq!(length, window.len());
                    at += length;
                    break;
                }
                chunked::Step::Content { skip, length } => {
                    assert!(length > 0);
                    content.extend_from_slice(&window[skip..skip + length]);
                    at += skip + length;
                }
                chunked::Step::Trailers(skip) => {
                    at += skip;
                    let mut head = Head::default();
                    if let Progress::Complete(length) =
                        chunked::trailers(&bytes[at..arrived], &Limits::default(), &mut head)?
                    {
                        let trailers = lower(&head);
                        return Ok(Some(Decoded { content, trailers, length: at + length }));
                    }
                    break;
                }
            }
        }
        if arrived == bytes.len() {
            return Ok(None);
        }
    }
}

/// Writes content as chunks of these sizes, over and over; no sizes mean one chunk.
pub(crate) fn encode(content: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = content;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(sizes.next().unwrap_or(rest.len()).max(1)));
        chunked::begin_chunk(chunk.len(), &mut out);
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    chunked::end(None, &mut out);
    out
}

/// Whatever has arrived so far must not decide otherwise than the whole does.
fn splits(bytes: &[u8], outcome: Result<Progress, Reject>, read: &mut dyn FnMut(&[u8]) -> Result<Progress, Reject>) {
    let end = match outcome {
        Ok(Progress::Complete(length)) => length,
        _ => bytes.len(),
    };
    // Every split of a small head, and about three hundred of a large one.
    let stride = (end / 300).max(1);
    let mut refused = false;
    for length in (0..end).step_by(stride) {
        match read(&bytes[..length]) {
            Ok(Progress::Complete(short)) => panic!("complete at {short} of {length} bytes: {}", bytes.escape_ascii()),
            Ok(Progress::Partial) => assert!(!refused, "a refusal is taken back: {}", bytes.escape_ascii()),
            Err(reject) => {
                assert!(
                    outcome.is_err(),
                    "refused at {length} ({reject:?}), then {outcome:?}: {}",
                    bytes.escape_ascii()
                );
                refused = true;
            }
        }
    }
}

/// Whatever became of a head, it can be asked anything.
fn touch(head: &Head) {
    let _ = (head.method_text(), head.authority(), head.path(), head.query(), head.reason(), head.status());
    assert_eq!(head.fields().count(), head.len());
}

fn agree(head: &Head, expected: &Message, length: usize) {
    assert_eq!(length, expected.length);
    assert_eq!(head.version() == tidegate_wire::Version::H11, expected.minor == 1);
    assert_eq!(head.framing(), framing(expected.body));
    let ours = lower(head);
    let mut theirs = Vec::new();
    for (name, value) in &expected.fields {
        // The two values that are put in order: the authority that counts, and a length without padding.
        let value = match &name[..] {
            "host" if head.status() == 0 => head.authority().to_vec(),
            "content-length" => {
                let text = value.iter().position(|byte| *byte != b'0').map_or(&b"0"[..], |first| &value[first..]);
                text.to_vec()
            }
            _ => value.clone(),
        };
        theirs.push((name.clone(), value));
    }
    if ours.len() == theirs.len() + 1 && expected.minor == 0 && head.status() == 0 {
        theirs.push(("host".to_owned(), head.authority().to_vec()));
    }
    assert_eq!(ours, theirs);
    if head.status() != 0 {
        assert_eq!(head.status().to_string(), expected.start.0);
        return;
    }
    let (method, target) = (&expected.start.0, expected.start.1.as_bytes());
    assert_eq!(head.method_text(), method.as_bytes());
    if target.starts_with(b"/") {
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        assert_eq!(Some(head.path()), parts.next());
        assert_eq!(head.query(), parts.next());
    }
}

fn lower(head: &Head) -> Vec<(String, Vec<u8>)> {
    head.fields()
        .map(|field| (String::from_utf8_lossy(field.name).to_ascii_lowercase(), field.value.to_vec()))
        .collect()
}

fn framing(body: Body) -> Framing {
    match body {
        Body::None => Framing::None,
        Body::Length(length) => Framing::Length(length),
        Body::Chunked => Framing::Unknown,
        Body::UntilClose => Framing::UntilClose,
    }
}
