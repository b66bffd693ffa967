//! What holds for any head, any content, and any way in which bytes arrive.

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_wire::h2::{Limits, Role};
use tidegate_wire::{Framing, Head};

use super::pair::{Pair, Seen, Side};
use super::shared;

fn name() -> impl Strategy<Value = String> {
    let known =
        prop::sample::select(vec!["accept", "Content-Type", "x-a", "Access-Control-Allow-Origin", "cookie", "via"]);
    prop_oneof![known.prop_map(str::to_owned), "[A-Za-z][A-Za-z0-9-]{0,30}"].prop_filter(
        "fields with a meaning of their own",
        |name| {
            let lower = name.to_ascii_lowercase();
            !["te", "host", "upgrade", "connection", "keep-alive", "content-length", "transfer-encoding"]
                .contains(&&lower[..])
        },
    )
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => b' '..=b'~', 1 => 0x80..=0xff_u8];
    vec(byte, 0..60).prop_map(|value| value.trim_ascii().to_vec())
}

fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    vec((name(), value()), 0..20)
}

fn lower(head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cookies = Vec::new();
    let mut all = Vec::new();
    for field in head.fields() {
        match field.name.to_ascii_lowercase() {
            name if name == b"host" => {}
            name if name == b"cookie" => cookies.push(field.value.to_vec()),
            name => all.push((name, field.value.to_vec())),
        }
    }
    if !cookies.is_empty() {
        cookies.retain(|cookie| !cookie.is_empty());
        all.push((b"cookie".to_vec(), cookies.join(&b"; "[..])));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn heads_come_back(requests in vec((fields(), "/[a-z]{0,9}", proptest::option::of("[a-z=&]{0,9}")), 1..4)) {
        let mut pair = Pair::new(&Limits::default());
        for (fields, path, query) in requests {
            let mut head = Head::default();
            head.start_request(b"GET", b"example.com", path.as_bytes(), query.as_deref().map(str::as_bytes));
            for (name, value) in &fields {
                head.add(name.as_bytes(), value);
            }
            let id = pair.client.connection.open(&head).expect("a stream");
            pair.client.connection.finish(id, None);
            pair.exchange();
            let arrived = matches!(pair.server.take()[..], [Seen::Head { end: true, .. }]);
            prop_assert!(arrived);
            let got = &pair.server.head;
            prop_assert_eq!((got.path(), got.query(), got.framing()), (head.path(), head.query(), Framing::None));
            prop_assert_eq!(lower(got), lower(&head));
            pair.server.connection.reset(id, tidegate_wire::h2::Code::NO_ERROR);
            pair.exchange();
            pair.client.take();
        }
    }

    #[test]
    fn how_bytes_arrive_does_not_matter(
        contents in vec(vec(any::<u8>(), 0..3000), 1..6),
        cuts in vec(1_usize..700, 1..40),
        trailers in fields(),
    ) {
        let limits = Limits::default();
        let mut writer = Side::new(Role::Client, &limits);
        for (number, content) in contents.iter().enumerate() {
            let mut head = Head::default();
            head.start_request(b"POST", b"example.com", b"/", None);
            let id = writer.connection.open(&head).expect("a stream");
            writer.connection.send(id, content);
            let mut end = Head::default();
            for (name, value) in &trailers {
                end.add(name.as_bytes(), value);
            }
            writer.connection.finish(id, Some(&end).filter(|_| number % 2 == 0));
        }
        let bytes = writer.write();
        let now = std::time::Instant::now();
        let mut whole = Side::new(Role::Server, &limits);
        whole.read(&bytes, now);
        let mut parts = Side::new(Role::Server, &limits);
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (part, later) = rest.split_at((*cut).min(rest.len()));
            parts.read(part, now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(joined(whole.take()), joined(parts.take()));
        prop_assert_eq!((whole.broken, parts.broken), (None, None));
        prop_assert_eq!(whole.write(), parts.write());
    }

    #[test]
    fn any_conversation_comes_to_its_end(acts in vec(any::<u8>(), 0..600)) {
        shared::h2::conversation(&acts);
    }

    #[test]
    fn any_block_is_learned_of(bytes in vec(any::<u8>(), 0..300)) {
        shared::h2::blocks(&bytes);
    }

    #[test]
    fn any_frames_are_the_same_however_they_arrive(parts in vec((0..17_u8, any::<u8>(), 0..5_u8, vec(any::<u8>(), 0..40)), 0..12)) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in parts {
            bytes.extend(super::raw::frame(kind, flags, u32::from(stream), &payload));
        }
        shared::h2::frames(&bytes);
    }

    #[test]
    fn any_bytes_are_survived(noise in vec(any::<u8>(), 0..600), cut in 0_usize..600) {
        let now = std::time::Instant::now();
        let mut ends = Vec::new();
        for at in [0, cut.min(noise.len())] {
            let mut side = Side::new(Role::Server, &Limits::default());
            side.read(tidegate_wire::h2::frame::PREFACE, now);
            side.read(&super::raw::settings(&[]), now);
            side.read(&noise[..at], now);
            side.read(&noise[at..], now);
            ends.push((joined(side.take()), side.broken.map(|broken| broken.code), side.write()));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }
}

/// Events with the parts of content put together.
fn joined(seen: Vec<Seen>) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    for next in seen {
        if let (Some(Seen::Data { id, content, end }), Seen::Data { id: id2, content: more, end: end2 }) =
            (all.last_mut(), &next)
            && *id == *id2
        {
            content.extend_from_slice(more);
            *end |= end2;
            continue;
        }
        all.push(next);
    }
    all
}
