//! What must hold of gRPC-Web for any content, however it is cut.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_wire::Head;
use tidegate_wire::grpc::web::{self, Decoder, Encoder};

/// Both ways: text to bytes, and bytes with trailers to text.
pub(crate) fn transformed(bytes: &[u8]) {
    let cut = bytes.first().map_or(1, |cut| usize::from(*cut % 9) + 1);
    from_text(bytes, cut);
    to_text(bytes, cut);
    end(bytes);
}

/// Text is understood the same however it is cut, and as another decoder would, group by group.
fn from_text(text: &[u8], cut: usize) {
    let read = |size: usize| {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let fed = text.chunks(size).try_for_each(|piece| decoder.feed(piece, &mut out));
        fed.map(|()| (decoder.is_whole(), out))
    };
    let whole = read(text.len().max(1));
    assert_eq!(whole, read(cut));
    assert_eq!(whole, read(1));
    // Padding ends a group and not the text: a sender may have put pieces together.
    let theirs: Result<Vec<Vec<u8>>, _> = text.chunks(4).map(|group| STANDARD.decode(group)).collect();
    match (whole, theirs) {
        (Ok((true, ours)), Ok(theirs)) => assert_eq!(ours, theirs.concat()),
        (Ok((true, ours)), Err(error)) => panic!("{error} but {ours:02x?}: {}", text.escape_ascii()),
        (Ok((false, _)) | Err(_), Ok(_)) => panic!("refused: {}", text.escape_ascii()),
        (Ok((false, _)) | Err(_), Err(_)) => {}
    }
}

/// Bytes come back, whatever was flushed where.
fn to_text(bytes: &[u8], cut: usize) {
    let (mut encoder, mut text) = (Encoder::default(), Vec::new());
    for (number, piece) in bytes.chunks(cut).enumerate() {
        encoder.feed(piece, &mut text);
        if number % 3 == cut % 3 {
            encoder.flush(&mut text);
            assert!(!encoder.holds() && text.len() % 4 == 0);
        }
    }
    encoder.flush(&mut text);
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    assert_eq!(decoder.feed(&text, &mut out), Ok(()));
    assert!(decoder.is_whole() && out == bytes);
}

/// The last frame is one, and its lines are the trailers: none more, whatever they say.
fn end(bytes: &[u8]) {
    let mut trailers = Head::default();
    let value = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    for (number, line) in bytes.split(|byte| !value(byte)).take(20).enumerate() {
        trailers.add(if number == 0 { b"Grpc-Status" } else { b"x-A" }, line.trim_ascii());
    }
    let mut frame = Vec::new();
    web::end_frame(Some(&trailers), &mut frame);
    let [0x80, a, b, c, d, lines @ ..] = &frame[..] else { panic!("no frame: {frame:02x?}") };
    assert_eq!(u32::from_be_bytes([*a, *b, *c, *d]) as usize, lines.len());
    let lines: Vec<&[u8]> = lines.strip_suffix(b"\r\n").expect("a line").split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), trailers.len());
    for (line, field) in lines.iter().zip(trailers.fields()) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
        assert_eq!((&line[..colon], &line[colon + 1..]), (&field.name.to_ascii_lowercase()[..], field.value));
    }
}
