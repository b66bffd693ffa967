//! What must hold on the streams of an HTTP/3 connection for any bytes.

use tidegate_wire::Head;
use tidegate_wire::h2::Limits;
use tidegate_wire::h3::Wrong;
use tidegate_wire::h3::message::{self, Message, Step};
use tidegate_wire::h3::oneway::{OneWay, Peer};

use super::h2::means_the_same;

/// A request's stream, and one of the client's own: the same however they arrive, bounded in memory, and what comes of them
/// means the same as HTTP/1.
pub(crate) fn streams(bytes: &[u8]) {
    let limits = Limits { head: 4096, line: 1024, extended_connect: true, ..Limits::default() };
    let cut = bytes.first().map_or(0, |cut| *cut as usize).min(bytes.len());
    let (one, other) = bytes.split_at(cut);
    let (whole, own) = (told(&limits, &[bytes]), heard(&[bytes]));
    assert_eq!(whole, told(&limits, &[one, other]));
    assert_eq!(own, heard(&[one, other]));
    if bytes.len() < 200 {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(whole, told(&limits, &single));
        assert_eq!(own, heard(&single));
    }
}

/// What a request's stream came to: heads as HTTP/1 would have them, content joined, and how it ended.
fn told(limits: &Limits, parts: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>, Result<(), Wrong>) {
    let (mut message, mut head) = (Message::new(), Head::default());
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
                    means_the_same(&head);
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

/// What a stream of the client's own came to.
fn heard(parts: &[&[u8]]) -> String {
    let (mut stream, mut peer) = (OneWay::new(), Peer::default());
    let mut last = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        match stream.take(part, &mut peer) {
            Ok(verdict) => last = format!("{verdict:?} {:?}", peer.settings()),
            Err(broken) => return format!("{broken:?}"),
        }
    }
    format!("{last} {:?}", stream.end())
}
