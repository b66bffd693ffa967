//! What holds for every message, tried on messages made up at random.

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_wire::h1::{self, Asked, Limits, Progress, chunked};
use tidegate_wire::head::{Framing, Head};
use tidegate_wire::{Known, uri};

#[allow(dead_code, reason = "each test binary uses its part of what is shared")]
mod shared;

use shared::{first, invariants, reference};

/// A field as it will be written: its name, white space, its value, white space.
type Line = (String, String, String, String);

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
        1 => prop::sample::select(vec!["Connection", "Via", "X-Forwarded-For", "Forwarded", "TE", "Cookie", "Upgrade"])
            .prop_map(str::to_owned),
    ]
    .prop_filter("framing and routing are added apart", |name| {
        !matches!(Known::of(name.as_bytes()), Known::Host | Known::ContentLength | Known::TransferEncoding)
    })
}

fn line() -> impl Strategy<Value = Line> {
    (name(), "[ \t]{0,2}", "([!-~\u{80}-\u{ff}]([ -~\t]{0,30}[!-~])?)?", "[ \t]{0,2}")
}

fn host() -> impl Strategy<Value = String> {
    "([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-zA-Z0-9_]{1,6}){0,2}|\\[::[0-9a-f]{1,4}\\])(:[0-9]{1,4})?"
}

fn framing_line() -> impl Strategy<Value = (Option<&'static str>, String)> {
    prop_oneof![
        Just((None, String::new())),
        (0_u64..1_000_000).prop_map(|length| (Some("Content-Length"), length.to_string())),
        Just((Some("transfer-encoding"), "chunked".to_owned())),
    ]
}

prop_compose! {
    /// A valid request, in the text of a sender with habits of its own, and where the framing line went.
    fn request_text()(
        method in prop_oneof![Just("GET".to_owned()), Just("POST".to_owned()), "[A-Z!~]{1,12}"]
            .prop_filter("neither has a body", |method| !matches!(&method[..], "CONNECT" | "TRACE")),
        absolute in any::<bool>(),
        target in "/[!$%&'()*+,./0-9:;=@A-Z_a-z~-]{0,40}(\\?[!$%&'()*+,./0-9:;=?@A-Z_a-z~-]{0,20})?",
        host in host(),
        lines in vec(line(), 0..12),
        place in any::<prop::sample::Index>(),
        framing in framing_line(),
    ) -> String {
        let mut fields: Vec<String> =
            lines.iter().map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n")).collect();
        if let (Some(name), value) = &framing {
            fields.insert(place.index(fields.len() + 1), format!("{name}: {value}\r\n"));
        }
        fields.insert(place.index(fields.len() + 1), format!("Host: {host}\r\n"));
        let scheme = if absolute { format!("http://{host}") } else { String::new() };
        format!("{method} {scheme}{target} HTTP/1.1\r\n{}\r\n", fields.concat())
    }
}

prop_compose! {
    fn response_text()(
        minor in 0..2,
        status in 100..600,
        reason in "( [ -~\t\u{80}-\u{ff}]{0,12})?",
        lines in vec(line(), 0..12),
        place in any::<prop::sample::Index>(),
        framing in framing_line(),
    ) -> String {
        let mut fields: Vec<String> =
            lines.iter().map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n")).collect();
        if let (Some(name), value) = &framing && (minor == 1 || *name == "Content-Length") {
            fields.insert(place.index(fields.len() + 1), format!("{name}: {value}\r\n"));
        }
        format!("HTTP/1.{minor} {status}{reason}\r\n{}\r\n", fields.concat())
    }
}

/// One thing that may happen to a text on its way.
#[derive(Clone, Debug)]
enum Damage {
    Insert(prop::sample::Index, &'static [u8]),
    Remove(prop::sample::Index, u8),
    Replace(prop::sample::Index, u8),
    /// A line is sent twice.
    Repeat(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let pieces: Vec<&'static [u8]> = vec![
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b":",
        b",",
        b"\0",
        b"\x0b",
        b"\x7f",
        b"\xa0",
        b"0",
        b"-",
        b"+",
        b"0x",
        b"\r\n ",
        b"\r\nContent-Length: 5",
        b"\r\nTransfer-Encoding: chunked",
        b"\r\nHost: evil",
        b"x",
        b"HTTP/1.1",
        b"\r\n\r\n",
        b"@",
        b"#",
        b"*",
        b"http://",
        b", chunked",
        b"\"",
        b"\\",
    ];
    prop_oneof![
        (any::<prop::sample::Index>(), prop::sample::select(pieces)).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (any::<prop::sample::Index>(), 1..4_u8).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        any::<prop::sample::Index>().prop_map(Damage::Repeat),
    ]
}

fn damaged(text: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut text = text.to_vec();
    for damage in damages {
        if text.is_empty() {
            break;
        }
        match damage {
            Damage::Insert(at, piece) => {
                let at = at.index(text.len());
                text.splice(at..at, piece.iter().copied());
            }
            Damage::Remove(at, length) => {
                let at = at.index(text.len());
                text.drain(at..text.len().min(at + usize::from(*length)));
            }
            Damage::Replace(at, byte) => {
                let at = at.index(text.len());
                text[at] = *byte;
            }
            Damage::Repeat(at) => {
                let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
                let at = at.index(lines.len());
                let twice = lines
                    .iter()
                    .enumerate()
                    .flat_map(|(number, line)| std::iter::repeat_n(*line, if number == at { 2 } else { 1 }));
                text = twice.flatten().copied().collect();
            }
        }
    }
    text
}

/// One edit of a head and of its model.
#[derive(Clone, Debug)]
enum Edit {
    Add(String, String),
    Set(String, String),
    Remove(String),
    Retain(u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = || {
        prop::sample::select(vec![
            "Host",
            "host",
            "Via",
            "X-A",
            "x-a",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "Cookie",
            "B",
        ])
        .prop_map(str::to_owned)
    };
    prop_oneof![
        4 => (name(), "[a-z ]{0,8}").prop_map(|(name, value)| Edit::Add(name, value)),
        2 => (name(), "[a-z]{0,8}").prop_map(|(name, value)| Edit::Set(name, value)),
        2 => name().prop_map(Edit::Remove),
        1 => (b'a'..=b'z').prop_map(Edit::Retain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_survive_being_read_and_written(text in request_text()) {
        let mut head = Head::default();
        let outcome = h1::request(text.as_bytes(), &Limits::default(), &mut head);
        prop_assert_eq!(outcome, Ok(Progress::Complete(text.len())));
        invariants::request(text.as_bytes());
    }

    #[test]
    fn responses_survive_being_read_and_written(text in response_text()) {
        let valid = h1::response(text.as_bytes(), Asked::Other, &Limits::default(), &mut Head::default());
        // Only a body where none can be makes these invalid.
        prop_assert!(valid.is_ok() || text[9..].starts_with('1') || text[9..].starts_with("204"));
        invariants::response(text.as_bytes());
    }

    #[test]
    fn damaged_requests_are_read_like_the_reference_or_refused(
        text in request_text(), damages in vec(damage(), 1..4),
    ) {
        invariants::request(&damaged(text.as_bytes(), &damages));
    }

    #[test]
    fn damaged_responses_are_read_like_the_reference_or_refused(
        text in response_text(), damages in vec(damage(), 1..4),
    ) {
        invariants::response(&damaged(text.as_bytes(), &damages));
    }

    #[test]
    fn chunked_bodies_survive(
        content in vec(any::<u8>(), 0..300), chunks in vec(1_usize..80, 0..5), reads in vec(1_usize..60, 0..5),
    ) {
        let mut encoded = invariants::encode(&content, &chunks);
        let length = encoded.len();
        encoded.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let decoded = invariants::decode(&encoded, &reads).ok().flatten();
        let decoded = decoded.expect("our own coding");
        prop_assert_eq!((&decoded.content, decoded.length), (&content, length));
        prop_assert_eq!(reference::chunked(&encoded).map(|found| (found.0, found.2)), Ok((content, length)));
    }

    #[test]
    fn damaged_chunked_bodies_are_read_like_the_reference_or_refused(
        content in vec(any::<u8>(), 0..60), chunks in vec(1_usize..30, 0..5), damages in vec(damage(), 1..4), seed: u8,
    ) {
        let mut body = vec![seed];
        body.extend_from_slice(&damaged(&invariants::encode(&content, &chunks), &damages));
        invariants::chunked_body(&body);
    }

    #[test]
    fn trailers_survive(lines in vec(line(), 0..6)) {
        let mut trailers = Head::default();
        trailers.start_response(200);
        let allowed = |line: &&Line| chunked::may_trail(line.0.as_bytes());
        for (name, _, value, _) in lines.iter().filter(allowed) {
            trailers.add(name.as_bytes(), value.as_bytes());
        }
        let mut body = Vec::new();
        chunked::end(Some(&trailers), &mut body);
        let decoded = invariants::decode(&body, &[5]).ok().flatten().expect("our own coding");
        let expected: Vec<_> = lines.iter().filter(allowed)
            .map(|(name, _, value, _)| (name.to_ascii_lowercase(), value.clone().into_bytes())).collect();
        prop_assert_eq!(decoded.trailers, expected);
    }

    #[test]
    fn edits_do_what_a_list_of_pairs_does(text in request_text(), edits in vec(edit(), 0..20)) {
        let mut head = Head::default();
        prop_assert!(h1::request(text.as_bytes(), &Limits::default(), &mut head).is_ok());
        let mut model: Vec<(Vec<u8>, Vec<u8>)> =
            head.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
        for edit in &edits {
            let others = |name: &str| {
                let name = name.as_bytes().to_vec();
                move |field: &(Vec<u8>, Vec<u8>)| !field.0.eq_ignore_ascii_case(&name)
            };
            match edit {
                Edit::Add(name, value) => {
                    head.add(name.as_bytes(), value.as_bytes());
                    model.push((name.clone().into_bytes(), value.clone().into_bytes()));
                }
                Edit::Set(name, value) => {
                    head.set(name.as_bytes(), value.as_bytes());
                    let stood = model.iter().position(|field| field.0.eq_ignore_ascii_case(name.as_bytes()));
                    let arrived = stood.map_or_else(|| name.clone().into_bytes(), |at| model[at].0.clone());
                    model.retain(others(name));
                    model.insert(stood.unwrap_or(model.len()), (arrived, value.clone().into_bytes()));
                }
                Edit::Remove(name) => {
                    let before = model.len();
                    model.retain(others(name));
                    prop_assert_eq!(head.remove(name.as_bytes()), model.len() < before);
                }
                Edit::Retain(byte) => {
                    head.retain(|field| !field.value.contains(byte));
                    model.retain(|field| !field.1.contains(byte));
                }
            }
            let fields: Vec<_> = head.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
            prop_assert_eq!(&fields, &model);
            prop_assert_eq!(head.len(), model.len());
            for known in [Known::Host, Known::Via, Known::Cookie, Known::XForwardedFor, Known::ContentLength] {
                let values: Vec<_> = model.iter().filter(|field| Known::of(&field.0) == known).map(|field| &field.1[..]).collect();
                prop_assert_eq!(head.has(known), !values.is_empty());
                prop_assert_eq!(head.values_of(known).collect::<Vec<_>>(), values);
            }
            let mut written = Vec::new();
            head.write_fields(&mut written);
            let expected: Vec<u8> = model.iter().flat_map(|field| [&field.0[..], b": ", &field.1[..], b"\r\n"].concat()).collect();
            prop_assert_eq!(written, expected);
        }
    }

    #[test]
    fn normal_paths_are_normal(path in "/([./%;a]|%2[eEfF]|%5[cC]|\\.\\.|%00|%[0-9a-fA-F]{2}){0,12}") {
        invariants::path(path.as_bytes());
    }

    #[test]
    fn normal_paths_name_what_they_named(segments in vec("[a-z%.]{0,3}", 0..8)) {
        // A model: escapes aside, a path is a stack of segments.
        let path = format!("/{}", segments.join("/"));
        let Ok(normal) = uri::normalize(path.as_bytes()) else { return Ok(()) };
        let mut stack: Vec<&str> = Vec::new();
        let mut last_is_folder = false;
        for segment in path[1..].split('/') {
            last_is_folder = matches!(segment, "." | "..");
            match segment {
                "." => {}
                ".." => { stack.pop(); }
                _ => stack.push(segment),
            }
        }
        if last_is_folder {
            stack.push("");
        }
        if !path.contains('%') {
            prop_assert_eq!(String::from_utf8_lossy(&normal), format!("/{}", stack.join("/")));
        }
    }

    #[test]
    fn authorities_have_one_host(text in "[a-cA-C.:\\[\\]0-9_@-]{0,12}") {
        invariants::authority(text.as_bytes());
    }

    #[test]
    fn strangers_never_name_the_client(
        values in vec("(for=|\"|10\\.0\\.0\\.[1-9]|[1-9]\\.8\\.8\\.8|\\[fd00::1\\]|, ?|;|:80|unknown|proto=https|1.1 tidegate|\\\\){0,10}", 0..6),
    ) {
        invariants::forwarding(values.join("\n").as_bytes());
    }

    #[test]
    fn anything_at_all_is_survived(bytes in vec(any::<u8>(), 0..200)) {
        invariants::request(&bytes);
        invariants::response(&bytes);
        invariants::chunked_body(&bytes);
        invariants::path(&bytes);
        invariants::authority(&bytes);
        invariants::forwarding(&bytes);
    }
}

#[test]
fn a_head_that_is_filled_again_remembers_nothing() {
    let mut head = Head::default();
    let long = format!("POST /{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "x".repeat(500));
    assert!(h1::request(long.as_bytes(), &Limits::default(), &mut head).is_ok());
    assert_eq!(head.framing(), Framing::Length(5));
    for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"GET", b"GET * HTTP/1.1\r\nHost: b\r\n\r\n"] {
        let _ = h1::request(text, &Limits::default(), &mut head);
        assert!(head.path().len() < 500 || text == b"GET", "{}", head.path().escape_ascii());
        head.clear();
        assert_eq!((head.path(), head.authority(), head.framing(), head.len()), (&b""[..], &b""[..], Framing::None, 0));
    }
}

proptest! {
    #[test]
    fn first_words_are_read_alike_in_whatever_portions(bytes in vec(any::<u8>(), 0..80), head in 0..4_usize) {
        const HEADS: [&[u8]; 4] = [b"", b"\0\0\0\x30\0\x03\0\0user\0", b"\x10\x30\0\x04MQTT\x05\x02\0\0", b"R\0\0\0\x30\0\0\0\n"];
        let bytes = [HEADS[head], &bytes].concat();
        first::startup(&bytes);
        first::connect(&bytes);
    }

    #[test]
    fn no_request_is_taken_for_something_else(
        words in vec(prop::sample::select(vec![
            "GET", "get", "FETCH", " ", "\t", "\r\n", "\n", "/x", "HTTP/1.1", "http/1.0", "PRI * HTTP/2.0\r\n", "Host: a\r\n", "\0", "\u{16}\u{3}",
            "GET /x HTTP/1.1\r\n", "!x * HTTP/1.0\r\n", "(", "\u{7f}",
        ]), 0..8),
    ) {
        first::opening(words.concat().as_bytes());
    }

    #[test]
    fn what_clients_of_socks_say_is_read_alike_in_whatever_portions(bytes in vec(any::<u8>(), 0..80), head in 0..8_usize) {
        const HEADS: [&[u8]; 8] = [
            b"", b"\x04\x01\0\x50\x7f\0\0\x01me\0", b"\x04\x01\0\x50\0\0\0\x01\0a.test\0", b"\x05\x02\0\x02", b"\x01\x02me\x02",
            b"\x05\x01\0\x03\x06a.test", b"\x05\x01\0\x04", b"\0\0\0\x03\x06A.test",
        ];
        first::socks(&[HEADS[head], &bytes].concat());
    }

    #[test]
    fn nothing_is_said_between_a_question_for_tls_and_tls(
        choice: u8,
        words in vec(prop::sample::select(vec![
            "EHLO a\r\n", "STARTTLS\r\n", "a STARTTLS\r\n", "STLS\r\n", "CAPA\r\n", "a NOOP\r\n", "\r\n", "x", "220 a\r\n",
            "250 STARTTLS\r\n", "* OK a\r\n", "TLS1 OK a\r\n", "+OK\r\n", "S", "\0\0\0\u{8}",
        ]), 0..8),
    ) {
        first::starttls(&[&[choice][..], words.concat().as_bytes()].concat());
    }
}
