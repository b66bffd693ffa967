use super::*;
use crate::h3::varint;
use crate::head::Scheme;
use crate::known::Known;

/// A frame of this kind.
fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(kind, &mut out);
    varint::write(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

/// A block of literals, names as they are.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        // A name of more than six bytes has its length in a second byte.
        match name.len() {
            length @ 0..7 => out.push(0x20 | length as u8),
            length => out.extend([0x27, (length - 7) as u8]),
        }
        out.extend_from_slice(name.as_bytes());
        match value.len() {
            length @ 0..127 => out.push(length as u8),
            length => out.extend([0x7f, (length - 127) as u8 & 0x7f | 0x80, ((length - 127) >> 7) as u8]),
        }
        out.extend_from_slice(value.as_bytes());
    }
    out
}

fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, &block(fields))
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/x?y")];
const POST: [(&str, &str); 5] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/"), ("content-length", "5")];

/// What a whole stream says, however it is cut.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    heads: usize,
    content: Vec<u8>,
    trailers: usize,
}

fn read(bytes: &[u8], cut: usize) -> Result<(Said, Head), Wrong> {
    read_as(Message::request(), bytes, cut)
}

fn read_as(mut message: Message, bytes: &[u8], cut: usize) -> Result<(Said, Head), Wrong> {
    let limits = Limits { extended_connect: true, ..Limits::default() };
    let mut said = Said::default();
    let (mut head, mut scratch) = (Head::default(), Head::default());
    for piece in bytes.chunks(cut) {
        let mut at = 0;
        loop {
            let into = if said.heads == 0 { &mut head } else { &mut scratch };
            let (used, step) = message.take(&piece[at..], &limits, into)?;
            at += used;
            match step {
                Step::More => break,
                Step::Head => said.heads += 1,
                Step::Trailers => said.trailers += 1,
                Step::Content(count) => {
                    said.content.extend_from_slice(&piece[at..at + count]);
                    message.content(count);
                    at += count;
                }
            }
        }
        assert_eq!(at, piece.len());
    }
    message.end().map(|()| (said, head))
}

fn both_ways(bytes: &[u8]) -> Result<(Said, Head), Wrong> {
    let whole = read(bytes, usize::MAX);
    let pieces = read(bytes, 1);
    assert_eq!(whole.as_ref().map(|(said, _)| said), pieces.as_ref().map(|(said, _)| said));
    whole
}

fn code(bytes: &[u8]) -> Result<Code, Wrong> {
    match both_ways(bytes) {
        Err(Wrong::Stream(broken) | Wrong::Connection(broken)) => Ok(broken.code),
        Err(wrong @ Wrong::Head(_)) => Err(wrong),
        Ok(said) => panic!("accepted: {said:?}"),
    }
}

#[test]
fn a_request_is_read_however_it_is_cut() {
    let bytes = [
        frame(0x21, b"grease"),
        head(&POST),
        frame(0, b"he"),
        frame(0x40, b""),
        frame(0, b"llo"),
        head(&[("x-sum", "1")]),
        frame(0x5f, b"x"),
    ]
    .concat();
    let (said, head) = both_ways(&bytes).expect("a request");
    assert_eq!(said, Said { heads: 1, content: b"hello".to_vec(), trailers: 1 });
    assert_eq!((head.version(), head.method(), head.scheme()), (Version::H3, Method::Post, Scheme::Https));
    assert_eq!(head.framing(), Framing::Length(5));
    assert_eq!(head.value_of(Known::Host), Some(&b"a.test"[..]));
}

#[test]
fn what_has_no_length_is_open_until_the_stream_says_otherwise() {
    let (_, get) = both_ways(&head(&GET)).expect("a request");
    assert!(Message::leaves_open(&get));
    assert_eq!((get.path(), get.query()), (&b"/x"[..], Some(&b"y"[..])));
    let (_, post) = both_ways(&[head(&POST), frame(0, b"12345")].concat()).expect("a request");
    assert!(!Message::leaves_open(&post));
    let (_, put) = both_ways(&head(&[(":method", "PUT"), GET[1], GET[2], GET[3]])).expect("a request");
    assert!(!Message::leaves_open(&put), "it may go both ways at once");
    let socket = head(&[(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], GET[3]]);
    let (_, socket) = both_ways(&socket).expect("a request");
    assert_eq!((socket.method(), socket.protocol()), (Method::Get, &b"websocket"[..]));
    assert!(!Message::leaves_open(&socket));
}

#[test]
fn lengths_are_kept_to() {
    let sends = |content: &[&[u8]]| {
        let frames: Vec<u8> = content.iter().flat_map(|content| frame(0, content)).collect();
        [head(&POST), frames].concat()
    };
    assert_eq!(code(&sends(&[b"1234"])), Ok(Code::MESSAGE_ERROR));
    assert_eq!(code(&sends(&[b"123456"])), Ok(Code::MESSAGE_ERROR));
    assert_eq!(code(&sends(&[b"12345", b"6"])), Ok(Code::MESSAGE_ERROR));
    assert_eq!(code(&sends(&[])), Ok(Code::MESSAGE_ERROR));
    assert!(both_ways(&sends(&[b"123", b"", b"45"])).is_ok());
}

#[test]
fn frames_keep_their_places() {
    assert_eq!(code(&frame(0, b"x")), Ok(Code::FRAME_UNEXPECTED), "content before a head");
    for kind in [3, 4, 5, 7, 0xd, 2, 6, 8, 9] {
        assert_eq!(code(&[head(&GET), frame(kind, b"x")].concat()), Ok(Code::FRAME_UNEXPECTED), "{kind}");
    }
    let trailed = [head(&GET), head(&[("x-a", "b")])].concat();
    assert_eq!(code(&[trailed.clone(), frame(0, b"x")].concat()), Ok(Code::FRAME_UNEXPECTED));
    assert_eq!(code(&[trailed, head(&[("x-a", "b")])].concat()), Ok(Code::FRAME_UNEXPECTED));
}

#[test]
fn a_stream_does_not_end_in_the_midst() {
    assert_eq!(code(b""), Ok(Code::REQUEST_INCOMPLETE));
    assert_eq!(code(&frame(0x21, b"x")), Ok(Code::REQUEST_INCOMPLETE));
    let whole = [head(&POST), frame(0, b"12345")].concat();
    for length in 1..whole.len() {
        let expected = if length == head(&POST).len() { Code::MESSAGE_ERROR } else { Code::FRAME_ERROR };
        assert_eq!(code(&whole[..length]), Ok(expected), "{length}");
    }
}

#[test]
fn what_is_no_request_is_refused_alone() {
    let refused = |fields: &[(&str, &str)]| match both_ways(&head(fields)) {
        Err(Wrong::Head(reject)) => reject,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[GET[0], GET[1], GET[2]]), Reject::Malformed("no :path"));
    assert_eq!(refused(&[GET[0], GET[1], GET[2], GET[3], ("X-A", "b")]), Reject::Malformed("field name in upper case"));
    let of_connection = [GET[0], GET[1], GET[2], GET[3], ("transfer-encoding", "chunked")];
    assert_eq!(refused(&of_connection), Reject::Malformed("a field of the connection"));
    let twice = [GET[0], GET[1], GET[2], GET[3], GET[3]];
    assert_eq!(refused(&twice), Reject::Malformed("a pseudo-header field twice"));
    let smuggled = [GET[0], GET[1], GET[2], GET[3], ("x-a", "b\r\nc: d")];
    assert_eq!(refused(&smuggled), Reject::Malformed("invalid field value"));
    let many: Vec<(&str, &str)> = GET.iter().copied().chain([("x", "y"); 200]).collect();
    assert_eq!(refused(&many), Reject::TooManyFields);
    let huge = [&[1, 0x80, 1, 0, 1][..], &[0; 9]].concat();
    assert_eq!(read(&huge, 100).map(|_| ()), Err(Wrong::Head(Reject::HeadTooLarge)), "before it is here");
}

#[test]
fn a_small_block_does_not_become_large() {
    // RFC 9204 has no bomb without a table, except an entry of the static one again and again.
    let mut bomb = vec![0, 0];
    // Entry 85, the longest.
    bomb.extend([0xff, 22].repeat(30_000));
    let mut head = Head::default();
    let result = Message::request().take(&frame(1, &bomb), &Limits::default(), &mut head);
    assert!(matches!(result, Err(Wrong::Head(_))), "{result:?}");
    assert!(head.size_hint() < 128 * 1024, "{}", head.size_hint());
}

#[test]
fn frames_that_mean_nothing_are_counted() {
    let mut bytes = head(&GET);
    bytes.extend(frame(0x21, b"").repeat(200));
    assert_eq!(code(&bytes), Ok(Code::EXCESSIVE_LOAD));
    let mut bytes = head(&GET);
    bytes.extend([frame(0, b""), frame(0, b"x")].concat().repeat(200));
    assert!(both_ways(&bytes).is_ok(), "an empty frame for each with content is somebody's way");
}

#[test]
fn what_is_written_can_be_read() {
    let mut response = Head::default();
    response.start_response(206);
    response.add(b"Content-Type", b"text/plain");
    response.add(b"Connection", b"close");
    response.set_framing(Framing::Length(3));
    let mut out = Vec::new();
    super::response(&response, &mut out);
    let (_, front) = Front::default().take(&out);
    let (kind, length) = front.expect("a front").expect("a kind");
    assert_eq!((kind, length as usize), (Kind::Headers, out.len() - 2));
    let mut decoder = Decoder::begin(&out[2..]).expect("a prefix");
    let mut arena = Vec::new();
    while decoder.next(hpack::decode::Keep::Line, &mut arena).expect("the format").is_some() {}
    assert_eq!(
        arena.escape_ascii().to_string(),
        ":status: 206\\r\\ncontent-type: text/plain\\r\\ncontent-length: 3\\r\\n"
    );
}

/// What a server's side of a stream says, however it is cut.
fn answer(asked: Asked, bytes: &[u8]) -> Result<(Said, Head), Wrong> {
    let whole = read_as(Message::response(asked), bytes, usize::MAX);
    let pieces = read_as(Message::response(asked), bytes, 1);
    assert_eq!(whole.as_ref().map(|(said, _)| said), pieces.as_ref().map(|(said, _)| said));
    whole
}

#[test]
fn a_response_is_read_behind_interim_ones() {
    let bytes = [
        head(&[(":status", "100")]),
        frame(0x21, b"grease"),
        head(&[(":status", "103"), ("link", "</a>")]),
        head(&[(":status", "200"), ("content-length", "5")]),
        frame(0, b"hello"),
        head(&[("x-sum", "1")]),
    ]
    .concat();
    let (said, _) = answer(Asked::Other, &bytes).expect("a response");
    assert_eq!(said, Said { heads: 3, content: b"hello".to_vec(), trailers: 1 });
    let (_, head) = answer(Asked::Other, &head(&[(":status", "204")])).expect("a response");
    assert_eq!((head.version(), head.status(), head.framing()), (Version::H3, 204, Framing::None));
}

#[test]
fn responses_are_judged() {
    let wrong = |asked: Asked, parts: &[Vec<u8>]| match answer(asked, &parts.concat()) {
        Err(Wrong::Stream(broken) | Wrong::Connection(broken)) => Ok(broken.code),
        Err(Wrong::Head(reject)) => Err(reject),
        Ok(said) => panic!("accepted: {said:?}"),
    };
    let status = |status: &str| head(&[(":status", status)]);
    let other = Asked::Other;
    assert_eq!(wrong(other, &[]), Ok(Code::MESSAGE_ERROR));
    assert_eq!(wrong(other, &[status("100")]), Ok(Code::MESSAGE_ERROR), "an interim one alone");
    assert_eq!(
        wrong(other, &[head(&GET)]),
        Err(Reject::Malformed("a pseudo-header field in the wrong kind of message"))
    );
    assert_eq!(wrong(other, &[status("abc")]), Err(Reject::Malformed("invalid :status")));
    assert_eq!(wrong(other, &[status("101")]), Err(Reject::Malformed("status 101")));
    assert_eq!(wrong(other, &[head(&[("x-a", "b")])]), Err(Reject::Malformed("no :status")));
    let announced = head(&[(":status", "200"), ("content-length", "5")]);
    assert_eq!(wrong(other, &[announced.clone(), frame(0, b"1234")]), Ok(Code::MESSAGE_ERROR));
    assert_eq!(wrong(other, &[announced, frame(0, b"123456")]), Ok(Code::MESSAGE_ERROR));
    assert_eq!(wrong(other, &[status("204"), frame(0, b"1")]), Ok(Code::MESSAGE_ERROR));
    assert_eq!(wrong(Asked::Head, &[status("200"), frame(0, b"1")]), Ok(Code::MESSAGE_ERROR));
    assert_eq!(wrong(other, &[frame(5, b"\x00")]), Ok(Code::ID_ERROR), "a promise of a push");
    assert_eq!(wrong(other, &[status("100"), frame(0, b"1")]), Ok(Code::FRAME_UNEXPECTED));
    let head_only = head(&[(":status", "200"), ("content-length", "5")]);
    assert!(answer(Asked::Head, &head_only).is_ok());
}

#[test]
fn a_request_that_is_written_is_read_as_the_same() {
    let fields = [
        (":method", "PATCH"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/x?y"),
        ("user-agent", "me"),
        ("authorization", "secret"),
        ("x-other", "1"),
        ("content-length", "5"),
    ];
    let (_, asked) = both_ways(&[head(&fields), frame(0, b"hello")].concat()).expect("a request");
    let mut out = Vec::new();
    super::request(&asked, &mut out);
    out.extend(frame(0, b"hello"));
    let (_, again) = both_ways(&out).expect("the same request");
    let text = |head: &Head| {
        let mut out = Vec::new();
        crate::h1::request_head(head, &mut out);
        String::from_utf8(out).expect("text").to_ascii_lowercase()
    };
    assert_eq!(text(&asked), text(&again));

    let socket = head(&[(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], GET[3]]);
    let (_, asked) = both_ways(&socket).expect("a request");
    let mut out = Vec::new();
    super::request(&asked, &mut out);
    let (_, again) = both_ways(&out).expect("the same request");
    assert_eq!((again.protocol(), again.query()), (&b"websocket"[..], Some(&b"y"[..])));
}
