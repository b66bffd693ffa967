//! Content as an archive has it: out of its coding, and as text where it is some.

use std::borrow::Cow;
use std::io::Read;

use wire::Head;
use wire::hop::options;

/// What of coded content comes out may be so many times as long: an archive need not be blown up by a few bytes.
const MOST_GROWTH: usize = 16;
/// The window that a reader of Zstandard has to have (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Content, and what is to be said of it.
pub(super) struct Told<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// It is all of what came out of its coding.
    pub(super) whole: bool,
    /// The coding that it still has, because it is none that we know, or it is broken.
    pub(super) coded: bool,
}

/// Takes content out of its coding, as far as it is here and can be read.
pub(super) fn told<'a>(head: &Head, kept: &'a [u8], whole: bool) -> Told<'a> {
    let mut codings = head.values(b"content-encoding").flat_map(options);
    let coding = codings.next().filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let Some(coding) = coding else { return Told { bytes: kept.into(), whole, coded: false } };
    let most = kept.len().saturating_mul(MOST_GROWTH).max(64 * 1024);
    let decoded = if codings.next().is_some() { None } else { decoded(coding, kept, most) };
    match decoded {
        Some((bytes, ended)) => Told { bytes: bytes.into(), whole: whole && ended, coded: false },
        None => Told { bytes: kept.into(), whole, coded: true },
    }
}

/// What comes out, and whether that is all of it; nothing if it is no such coding.
fn decoded(coding: &[u8], kept: &[u8], most: usize) -> Option<(Vec<u8>, bool)> {
    let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("gzip") || is("x-gzip") => read(flate2::read::MultiGzDecoder::new(kept), most),
        // RFC 9110 section 8.4.1.2: it has zlib's frame, which some senders leave out.
        () if is("deflate") => read(flate2::read::ZlibDecoder::new(kept), most)
            .or_else(|| read(flate2::read::DeflateDecoder::new(kept), most)),
        () if is("br") => read(brotli::Decompressor::new(kept, 4096), most),
        () if is("zstd") => zstd(kept, most),
        () => None,
    }
}

fn read(mut from: impl Read, most: usize) -> Option<(Vec<u8>, bool)> {
    let (mut out, mut block) = (Vec::new(), [0; 8 * 1024]);
    loop {
        match from.read(&mut block) {
            Ok(0) => return Some((out, true)),
            Ok(count) => out.extend_from_slice(&block[..count]),
            // What was cut ends so, too.
            Err(_) if out.is_empty() => return None,
            Err(_) => return Some((out, false)),
        }
        if out.len() >= most {
            return Some((out, false));
        }
    }
}

fn zstd(kept: &[u8], most: usize) -> Option<(Vec<u8>, bool)> {
    let mut context = zstd_safe::DCtx::try_create()?;
    context.set_parameter(zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
    let (mut out, mut block) = (Vec::new(), vec![0; 16 * 1024]);
    let mut from = zstd_safe::InBuffer::around(kept);
    loop {
        let mut to = zstd_safe::OutBuffer::around(&mut block[..]);
        let left = context.decompress_stream(&mut to, &mut from);
        let count = to.pos();
        out.extend_from_slice(&block[..count]);
        match left {
            Err(_) if out.is_empty() => return None,
            Err(_) => return Some((out, false)),
            Ok(left) if from.pos() == kept.len() && count < block.len() => return Some((out, left == 0)),
            Ok(_) if out.len() >= most => return Some((out, false)),
            Ok(_) => {}
        }
    }
}

/// The text that bytes are; of text that was cut, without the character in which that was.
pub(super) fn text(bytes: &[u8], whole: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if !whole && error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn head(coding: &str) -> Head {
        let mut head = Head::default();
        head.start_response(200);
        head.add(b"Content-Encoding", coding.as_bytes());
        head
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("written");
        encoder.finish().expect("all of it")
    }

    fn brotli(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        brotli::CompressorWriter::new(&mut out, 4096, 4, 18).write_all(content).expect("written");
        out
    }

    fn zstandard(content: &[u8]) -> Vec<u8> {
        let mut out = vec![0; zstd_safe::compress_bound(content.len())];
        let count = zstd_safe::compress(&mut out[..], content, 3).expect("compressed");
        out.truncate(count);
        out
    }

    #[test]
    fn content_is_taken_out_of_its_coding() {
        let content: Vec<u8> = (0..4000u32).flat_map(|number| number.to_string().into_bytes()).collect();
        for (coding, coded) in [
            ("gzip", gzip(&content)),
            ("X-GZIP", gzip(&content)),
            ("br", brotli(&content)),
            ("zstd", zstandard(&content)),
        ] {
            let head = head(coding);
            let whole = told(&head, &coded, true);
            assert!(whole.bytes == content && whole.whole && !whole.coded, "{coding}");
            let half = told(&head, &coded[..coded.len() / 2], false);
            assert!(content.starts_with(&half.bytes) && !half.whole, "{coding}");
        }
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        for (coding, content) in [
            ("gzip", &b"no gzip"[..]),
            ("br", b"\xff\xff\xff\xff"),
            ("zstd", b"no"),
            ("rot13", b"ab"),
            ("gzip, br", b"ab"),
        ] {
            let head = head(coding);
            let told = told(&head, content, true);
            assert!(told.bytes == content && told.coded, "{coding}");
        }
        assert!(!told(&head("identity"), b"a", true).coded);
    }

    #[test]
    fn a_bomb_is_let_go_off_a_little() {
        for (coding, bomb) in [("gzip", gzip(&vec![0; 6 << 20])), ("zstd", zstandard(&vec![0; 6 << 20]))] {
            let head = head(coding);
            let told = told(&head, &bomb, true);
            assert!(told.bytes.len() <= bomb.len().max(4096) * MOST_GROWTH + 128 * 1024 && !told.whole, "{coding}");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(text("grün".as_bytes(), true), Some("grün"));
        assert_eq!(text(&"grün".as_bytes()[..3], false), Some("gr"));
        assert_eq!(text(&"grün".as_bytes()[..3], true), None);
        assert_eq!(text(b"\xff", false), None);
    }
}
