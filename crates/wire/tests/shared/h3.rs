//! What must hold on the streams of an HTTP/3 connection for any bytes.

use tidegate_wire::Head;
use tidegate_wire::h1::Asked;
use tidegate_wire::h2::{Limits, Role};
use tidegate_wire::h3::Wrong;
use tidegate_wire::h3::message::{self, Message, Step};
use tidegate_wire::h3::oneway::{OneWay, Peer};

use super::h2::means_the_same;

/// A request's stream, its answer's, and one of a peer's own: the same however they arrive, bounded in memory, and what comes
/// of a request means the same as HTTP/1, and the same again when it is written to a server.
pub(crate) fn streams(bytes: &[u8]) {
    let limits = Limits { head: 4096, line: 1024, extended_connect: true, ..Limits::default() };
    let cut = bytes.first().map_or(0, |cut| *cut as usize).min(bytes.len());
    let (one, other) = bytes.split_at(cut);
    for role in [Role::Server, Role::Client] {
        let (whole, own) = (told(role, &limits, &[bytes]), heard(role, &[bytes]));
        assert_eq!(whole, told(role, &limits, &[one, other]));
        assert_eq!(own, heard(role, &[one, other]));
        if bytes.len() < 200 {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(whole, told(role, &limits, &single));
            assert_eq!(own, heard(role, &single));
        }
    }
}

/// What a stream came to that we read in this role: heads as HTTP/1 would have them, content joined, and how it ended.
fn told(role: Role, limits: &Limits, parts: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>, Result<(), Wrong>) {
    let mut message = match role {
        Role::Server => Message::request(),
        Role::Client => Message::response(Asked::Other),
    };
    let mut head = Head::default();
    let (mut sections, mut content) = (Vec::new(), Vec::new());
    for part in parts {
        let mut at = 0;
        loop {
            let (used, step) = match message.take(&part[at..], limits, &mut head) {
                Ok(found) => found,
                Err(wrong) => return (sections, content, Err(wrong)),
            };
            assert!(head.capacity() < 64 * 1024);
            at += used;
            match step {
                Step::More => break,
                Step::Head => {
                    if role == Role::Server {
                        means_the_same(&head);
                        is_written_as_it_was_read(&head);
                    }
                    let mut fields = Vec::new();
                    head.write_fields(&mut fields);
                    sections.push(fields);
                }
                Step::Trailers => {
                    let mut out = Vec::new();
                    message::trailers(&head, &mut out);
                    let mut fields = Vec::new();
                    head.write_fields(&mut fields);
                    sections.push(fields);
                }
                Step::Content(count) => {
                    assert!(count > 0 && at + count <= part.len());
                    content.extend_from_slice(&part[at..at + count]);
                    message.content(count);
                    at += count;
                }
            }
        }
        assert_eq!(at, part.len(), "what is not needed is not left");
    }
    (sections, content, message.end())
}

/// A request that is written for a server is read there as what it was.
fn is_written_as_it_was_read(head: &Head) {
    let limits = Limits { fields: 256, extended_connect: true, ..Limits::default() };
    let (mut out, mut again) = (Vec::new(), Head::default());
    message::request(head, &mut out);
    let read = Message::request().take(&out, &limits, &mut again);
    assert_eq!(read, Ok((out.len(), Step::Head)), "{}", out.escape_ascii());
    assert_eq!((again.method_text(), again.protocol()), (head.method_text(), head.protocol()));
    assert_eq!((again.authority(), again.path(), again.query()), (head.authority(), head.path(), head.query()));
}

/// What a stream came to that the peer of this role has for itself.
fn heard(role: Role, parts: &[&[u8]]) -> String {
    let (mut stream, mut peer) = (OneWay::new(), Peer::of(role));
    let mut last = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        match stream.take(part, &mut peer) {
            Ok(verdict) => last = format!("{verdict:?} {:?} {:?}", peer.settings(), peer.goaway()),
            Err(broken) => return format!("{broken:?}"),
        }
    }
    format!("{last} {:?}", stream.end())
}
