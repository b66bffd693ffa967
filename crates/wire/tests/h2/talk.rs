//! What two sides that mean well say to each other.

use tidegate_wire::h2::{By, CannotOpen, Code, Limits, StreamId};
use tidegate_wire::{Framing, Head};

use super::pair::{Pair, Seen};

fn request(method: &str, path: &str) -> Head {
    let mut head = Head::default();
    head.start_request(method.as_bytes(), b"example.com", path.as_bytes(), None);
    head
}

fn response(status: u16) -> Head {
    let mut head = Head::default();
    head.start_response(status);
    head
}

fn data(id: StreamId, content: &[u8], end: bool) -> Seen {
    Seen::Data { id: id.number(), content: content.to_vec(), end }
}

#[test]
fn a_request_and_its_response() {
    let mut pair = Pair::new(&Limits::default());
    let mut head = request("GET", "/a");
    head.set_query(Some(b"b=c"));
    head.add(b"Accept", b"*/*");
    head.add(b"X-Long-Name-Of-Our-Own-Making", b"1");
    head.add(b"Connection", b"keep-alive");
    head.add(b"TE", b"gzip");
    let id = pair.client.connection.open(&head).expect("a stream");
    pair.client.connection.finish(id, None);
    pair.exchange();
    let text = "GET example.com/a?b=c | host: example.com | accept: */* | x-long-name-of-our-own-making: 1 | None";
    assert_eq!(pair.server.take(), [Seen::Head { id: 1, end: true, text: text.into() }]);

    pair.server.connection.send_head(id, &response(103));
    let mut head = response(200);
    head.add(b"Server", b"x");
    head.set_framing(Framing::Length(5));
    pair.server.connection.send_head(id, &head);
    assert_eq!(pair.server.connection.send(id, b"hel"), 3);
    assert_eq!(pair.server.connection.send(id, b"lo"), 2);
    pair.server.connection.finish(id, None);
    pair.exchange();
    // What was sent in two pieces is one frame, and the end is its flag.
    assert_eq!(
        pair.client.take(),
        [
            Seen::Head { id: 1, end: false, text: "103 | None".into() },
            Seen::Head { id: 1, end: false, text: "200 | server: x | content-length: 5 | Length(5)".into() },
            data(id, b"hello", true),
        ]
    );
    assert_eq!((pair.client.connection.open_streams(), pair.server.connection.open_streams()), (0, 0));
}

#[test]
fn trailers_both_ways() {
    let mut pair = Pair::new(&Limits::default());
    let mut trailers = Head::default();
    trailers.add(b"Grpc-Status", b"0");
    trailers.add(b"Content-Length", b"7");
    let id = pair.client.connection.open(&request("POST", "/")).expect("a stream");
    assert_eq!(pair.client.connection.send(id, b"ask"), 3);
    pair.client.connection.finish(id, Some(&trailers));
    pair.exchange();
    let trailed = Seen::Trailers { id: 1, text: " | grpc-status: 0 | None".into() };
    assert_eq!(
        pair.server.take(),
        [
            Seen::Head { id: 1, end: false, text: "POST example.com/ | host: example.com | Unknown".into() },
            data(id, b"ask", false),
            trailed.clone(),
        ]
    );
    pair.server.connection.send_head(id, &response(200));
    pair.server.connection.finish(id, Some(&trailers));
    pair.exchange();
    assert_eq!(pair.client.take(), [Seen::Head { id: 1, end: false, text: "200 | Unknown".into() }, trailed]);
}

#[test]
fn content_waits_for_windows_and_goes_on() {
    let limits = Limits { stream_window: 70_000, connection_window: 100_000, ..Limits::default() };
    let mut pair = Pair::new(&limits);
    let content: Vec<u8> = (0..500_000_u32).map(|number| number as u8).collect();
    let ids: Vec<StreamId> = (0..3)
        .map(|_| {
            let id = pair.client.connection.open(&request("GET", "/")).expect("a stream");
            pair.client.connection.finish(id, None);
            id
        })
        .collect();
    pair.exchange();
    let mut sent = [0; 3];
    let mut got = [const { Vec::new() }; 3];
    for id in &ids {
        pair.server.connection.send_head(*id, &response(200));
        sent[(id.number() / 2) as usize] = pair.server.connection.send(*id, &content);
    }
    for _ in 0..100 {
        pair.exchange();
        assert!(!pair.server.connection.has_out());
        for seen in pair.client.take() {
            let Seen::Data { id, content, .. } = seen else { continue };
            got[(id / 2) as usize].extend_from_slice(&content);
            pair.client.connection.consumed(StreamId::new(id).expect("a number"), content.len());
        }
        pair.exchange();
        for id in pair.server.connection.writable_in_order().collect::<Vec<_>>() {
            let at = &mut sent[(id.number() / 2) as usize];
            *at += pair.server.connection.send(id, &content[*at..]);
            assert!(pair.server.connection.out().len() < limits.out + 2 * 16_384);
        }
    }
    for id in ids {
        let number = (id.number() / 2) as usize;
        assert_eq!(sent[number], content.len());
        assert!(got[number] == content);
        pair.server.connection.finish(id, None);
    }
    pair.exchange();
    assert_eq!(pair.client.connection.open_streams(), 0);
}

/// A server with a response for each of these priorities, all of which want to send more than they may.
fn hungry(priorities: &[&str]) -> (Pair, Vec<StreamId>) {
    let mut pair = Pair::new(&Limits { out: 1, ..Limits::default() });
    let ids: Vec<StreamId> = priorities
        .iter()
        .map(|priority| {
            let mut head = request("GET", "/");
            if !priority.is_empty() {
                head.add(b"priority", priority.as_bytes());
            }
            let id = pair.client.connection.open(&head).expect("a stream");
            pair.client.connection.finish(id, None);
            id
        })
        .collect();
    pair.exchange();
    for id in &ids {
        pair.server.connection.send_head(*id, &response(200));
        assert_eq!(pair.server.connection.send(*id, b"content"), 0);
    }
    assert_eq!(pair.server.connection.writable_in_order().next(), None);
    pair.exchange();
    (pair, ids)
}

/// Who has had a byte's turn, so many times.
fn turns(pair: &mut Pair, ids: &[StreamId], count: usize) -> Vec<usize> {
    let one = |pair: &mut Pair| {
        let id = pair.server.connection.writable_in_order().next().expect("a stream");
        assert_eq!(pair.server.connection.send(id, b"content"), 1);
        pair.exchange();
        ids.iter().position(|other| *other == id).expect("a stream of ours")
    };
    (0..count).map(|_| one(pair)).collect()
}

#[test]
fn the_urgent_go_first_and_equals_take_turns() {
    let (mut pair, ids) = hungry(&["u=5", "u=1, i", "u=1, i"]);
    let order: Vec<StreamId> = pair.server.connection.writable_in_order().collect();
    assert_eq!(order, [ids[1], ids[2], ids[0]]);
    assert_eq!(turns(&mut pair, &ids, 4), [1, 2, 1, 2]);
}

/// Half a script is of no use: what is not incremental is sent whole, in the order in which it was asked for.
#[test]
fn what_is_not_incremental_comes_one_after_the_other() {
    let (mut pair, ids) = hungry(&["u=2", "u=2", "u=2"]);
    assert_eq!(turns(&mut pair, &ids, 3), [0, 0, 0]);
    pair.server.connection.finish(ids[0], None);
    pair.exchange();
    assert_eq!(turns(&mut pair, &ids, 3), [1, 1, 1]);
    let update = [&ids[2].number().to_be_bytes()[..], b"u=1"].concat();
    pair.server.read(&super::raw::frame(16, 0, 0, &update), pair.now);
    assert_eq!(turns(&mut pair, &ids, 2), [2, 2], "its client has changed its mind");
}

#[test]
fn what_is_incremental_shares_with_the_first_of_the_others() {
    let (mut pair, ids) = hungry(&["u=2", "u=2, i", "u=2", "u=2, i"]);
    assert_eq!(turns(&mut pair, &ids, 6), [0, 1, 3, 0, 1, 3]);
    pair.server.connection.finish(ids[0], None);
    pair.exchange();
    let mut next = turns(&mut pair, &ids, 3);
    next.sort_unstable();
    assert_eq!(next, [1, 2, 3]);
}

/// A stream without an end must not keep others waiting because its client knows nothing of priorities.
#[test]
fn whoever_says_nothing_shares() {
    let (mut pair, ids) = hungry(&["", "", ""]);
    assert_eq!(turns(&mut pair, &ids, 4), [0, 1, 2, 0]);
}

#[test]
fn streams_end_by_resets_of_either_side() {
    let mut pair = Pair::new(&Limits::default());
    let ids = [(); 2].map(|()| pair.client.connection.open(&request("POST", "/")).expect("a stream"));
    pair.exchange();
    pair.server.take();
    pair.client.connection.reset(ids[0], Code::CANCEL);
    pair.server.connection.reset(ids[1], Code::REFUSED_STREAM);
    pair.exchange();
    assert_eq!(pair.server.take(), [Seen::Reset { id: 1, code: Code::CANCEL, by: By::Peer }]);
    assert_eq!(pair.client.take(), [Seen::Reset { id: 3, code: Code::REFUSED_STREAM, by: By::Peer }]);
    assert_eq!((pair.client.connection.open_streams(), pair.server.connection.open_streams()), (0, 0));
}

#[test]
fn a_server_leaves_in_two_steps() {
    let mut pair = Pair::new(&Limits::default());
    let before = pair.client.connection.open(&request("GET", "/")).expect("a stream");
    pair.exchange();
    pair.server.connection.announce_end();
    // A request that crosses the announcement is answered.
    let crossing = pair.client.connection.open(&request("GET", "/")).expect("a stream");
    pair.exchange();
    assert_eq!(
        pair.client.take(),
        [
            Seen::GoAway { last: 0x7fff_ffff, code: Code::NO_ERROR },
            Seen::GoAway { last: crossing.number(), code: Code::NO_ERROR }
        ]
    );
    assert_eq!(pair.client.connection.open(&request("GET", "/")), Err(CannotOpen::Leaving));
    for id in [before, crossing] {
        pair.client.connection.finish(id, None);
        pair.server.connection.send_head(id, &response(204));
        pair.server.connection.finish(id, None);
    }
    pair.exchange();
    assert!(pair.client.connection.is_over() && pair.server.connection.is_over());
}

#[test]
fn signs_of_life() {
    let mut pair = Pair::new(&Limits::default());
    pair.client.connection.ping();
    pair.exchange();
    assert_eq!(pair.client.take(), [Seen::Pong]);
}

#[test]
fn limits_of_streams_hold_on_both_sides() {
    let mut pair = Pair::new(&Limits { streams: 2, ..Limits::default() });
    for _ in 0..2 {
        assert!(pair.client.connection.may_open());
        pair.client.connection.open(&request("GET", "/")).expect("a stream");
    }
    assert_eq!(pair.client.connection.open(&request("GET", "/")), Err(CannotOpen::TooMany));
}

#[test]
fn websockets_by_extended_connect() {
    let mut head = request("GET", "/chat");
    head.set_protocol(b"websocket");
    let mut pair = Pair::new(&Limits::default());
    assert_eq!(pair.client.connection.open(&head), Err(CannotOpen::NoExtendedConnect));

    let mut pair = Pair::new(&Limits { extended_connect: true, ..Limits::default() });
    assert!(pair.client.connection.peer_allows_extended_connect());
    let id = pair.client.connection.open(&head).expect("a stream");
    assert_eq!(pair.client.connection.send(id, b"frame"), 5);
    pair.exchange();
    let text = "GET example.com/chat as websocket | host: example.com | None";
    let opened = Seen::Head { id: 1, end: false, text: text.into() };
    assert_eq!(pair.server.take(), [opened, data(id, b"frame", false)]);
    pair.server.connection.send_head(id, &response(200));
    assert_eq!(pair.server.connection.send(id, b"back"), 4);
    pair.exchange();
    assert_eq!(
        pair.client.take(),
        [Seen::Head { id: 1, end: false, text: "200 | None".into() }, data(id, b"back", false)]
    );
}

#[test]
fn heads_larger_than_a_frame_are_continued() {
    let mut pair = Pair::new(&Limits::default());
    let mut head = request("GET", "/");
    let value = vec![b'x'; 20_000];
    head.add(b"a", &value);
    head.add(b"b", &value);
    let id = pair.client.connection.open(&head).expect("a stream");
    pair.client.connection.finish(id, None);
    pair.exchange();
    let seen = pair.server.take();
    assert!(matches!(&seen[..], [Seen::Head { end: true, .. }]), "{}", seen.len());
    assert_eq!(pair.server.head.value(b"b"), Some(&value[..]));
}

#[test]
fn memory_of_a_connection_that_waits_is_small() {
    let mut pair = Pair::new(&Limits::default());
    for _ in 0..1000 {
        let id = pair.client.connection.open(&request("GET", "/")).expect("a stream");
        pair.client.connection.finish(id, None);
        pair.exchange();
        pair.server.connection.send_head(id, &response(200));
        assert_eq!(pair.server.connection.send(id, &[b'x'; 50_000]), 50_000);
        pair.server.connection.finish(id, None);
        pair.exchange();
        for seen in pair.client.take() {
            if let Seen::Data { content, .. } = seen {
                pair.client.connection.consumed(id, content.len());
            }
        }
        pair.exchange();
        pair.server.take();
    }
    // A server's keeps what its bursts have needed, until its driver says that it rests.
    let kept = pair.server.connection.capacity();
    assert!((50_000..200_000).contains(&kept), "{kept}");
    pair.server.connection.rest();
    for side in [&pair.client, &pair.server] {
        assert_eq!(side.connection.open_streams(), 0);
        assert!(side.connection.capacity() < 10_000, "{}", side.connection.capacity());
    }
}
