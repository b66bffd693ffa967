//! Content out of its coding, piece by piece and never more at once than there is room for: what comes is a stranger's, and a few bytes
//! may stand for millions.

use std::fmt;

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use wire::Head;
use wire::coding::{self, Coding};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// A coding that is being undone.
pub(crate) struct Decoder {
    engine: Engine,
    /// All of it was there.
    ended: bool,
    /// How many members have begun.
    members: usize,
}

enum Engine {
    /// Nothing was done.
    Identity,
    Gzip(Decompress),
    /// With the frame of zlib, as RFC 9110 section 8.4.1.2 says, or without it, as some servers send it; which of them is seen
    /// at its first byte.
    Deflate(Option<Decompress>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(Box<DCtx<'static>>),
}

/// It is no such content, from here on. So much of the room was filled before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) usize);

/// A window of gzip is never larger.
const GZIP_WINDOW_LOG: u8 = 15;
/// RFC 9659: the window of Zstandard in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;
/// No more members follow each other: each costs more than it may hold.
const MOST_MEMBERS: usize = 64;

impl Decoder {
    /// For the content of this response; nothing if nobody here knows its coding.
    pub(crate) fn of(response: &Head) -> Option<Decoder> {
        let engine = match coding::said(response)? {
            None => Engine::Identity,
            Some(coding::Said::Deflate) => Engine::Deflate(None),
            Some(coding::Said::Coding(Coding::Gzip)) => Engine::Gzip(Decompress::new_gzip(GZIP_WINDOW_LOG)),
            Some(coding::Said::Coding(Coding::Brotli)) => {
                let memory = StandardAlloc::default;
                Engine::Brotli(Box::new(BrotliState::new_strict(memory(), memory(), memory())))
            }
            Some(coding::Said::Coding(Coding::Zstd)) => {
                let mut zstd = DCtx::try_create()?;
                zstd.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
                Engine::Zstd(Box::new(zstd))
            }
        };
        Some(Decoder { engine, ended: false, members: 1 })
    }

    /// Takes from the front of `content`, and answers how much of `room` was filled. It is to be called until the content is used up and
    /// nothing more comes out.
    ///
    /// # Errors
    /// See [`Broken`].
    pub(crate) fn step(&mut self, content: &mut &[u8], room: &mut [u8]) -> Result<usize, Broken> {
        if self.ended {
            if !self.begins_anew(content) {
                *content = &[];
                return Ok(0);
            }
            self.members += 1;
            if self.members > MOST_MEMBERS {
                return Err(Broken(0));
            }
        }
        let (used, made) = match &mut self.engine {
            Engine::Identity => {
                let count = content.len().min(room.len());
                room[..count].copy_from_slice(&content[..count]);
                (count, count)
            }
            Engine::Gzip(gzip) => inflate(gzip, content, room, &mut self.ended)?,
            Engine::Deflate(zlib) => {
                // RFC 1950 section 2.2: the method 8 in the lower half of the first byte. As a block of DEFLATE it would be one that is
                // stored, followed by a length that nobody sends.
                let framed = content.first().map(|first| first & 0x0f == 8 && first >> 4 <= 7);
                if zlib.is_none() {
                    *zlib = framed.map(Decompress::new);
                }
                let Some(zlib) = zlib else { return Ok(0) };
                inflate(zlib, content, room, &mut self.ended)?
            }
            Engine::Brotli(state) => {
                let (mut left, mut used, mut free, mut made, mut total) = (content.len(), 0, room.len(), 0, 0);
                let ended = BrotliDecompressStream(
                    &mut left, &mut used, content, &mut free, &mut made, room, &mut total, state,
                );
                match ended {
                    BrotliResult::ResultFailure => return Err(Broken(made)),
                    BrotliResult::ResultSuccess => self.ended = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                (used, made)
            }
            Engine::Zstd(zstd) => {
                let mut from = InBuffer::around(content);
                let mut into = OutBuffer::around(room);
                let hint = zstd.decompress_stream(&mut into, &mut from).map_err(|_| Broken(into.pos()))?;
                self.ended = hint == 0;
                (from.pos(), into.pos())
            }
        };
        *content = &content[used..];
        Ok(made)
    }

    /// Whether content may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended || matches!(self.engine, Engine::Identity)
    }

    /// Whether what stands behind an end is more of the same: gzip and Zstandard may come in several members (RFC 1952 section 2.2, RFC
    /// 8878 section 3.1). Anything else there is nobody's.
    fn begins_anew(&mut self, content: &[u8]) -> bool {
        let begins = match &mut self.engine {
            Engine::Gzip(gzip) if content.first() == Some(&0x1f) => {
                *gzip = Decompress::new_gzip(GZIP_WINDOW_LOG);
                true
            }
            Engine::Zstd(_) => !content.is_empty(),
            _ => false,
        };
        self.ended &= !begins;
        begins
    }
}

fn inflate(
    stream: &mut Decompress,
    content: &[u8],
    room: &mut [u8],
    ended: &mut bool,
) -> Result<(usize, usize), Broken> {
    let (before_in, before_out) = (stream.total_in(), stream.total_out());
    let status = stream.decompress(content, room, FlushDecompress::None);
    let used = (stream.total_in() - before_in) as usize;
    let made = (stream.total_out() - before_out) as usize;
    match status {
        Ok(Status::StreamEnd) => *ended = true,
        Ok(Status::Ok) => {}
        // Nothing to do is no fault.
        Ok(Status::BufError) if content.is_empty() || used > 0 || made > 0 => {}
        Ok(Status::BufError) | Err(_) => return Err(Broken(made)),
    }
    Ok((used, made))
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn decoder(coding: &str) -> Option<Decoder> {
        let mut head = Head::default();
        head.start_response(200);
        head.add(b"Content-Encoding", coding.as_bytes());
        Decoder::of(&head)
    }

    /// What comes out, by so many bytes at a time in and out, and whether it is whole.
    fn decoded(coding: &str, content: &[u8], cut: usize, room: usize) -> Result<(Vec<u8>, bool), Broken> {
        let (mut decoder, mut out, mut room) = (decoder(coding).expect("a known coding"), Vec::new(), vec![0; room]);
        for mut piece in content.chunks(cut) {
            loop {
                let made = decoder.step(&mut piece, &mut room)?;
                out.extend_from_slice(&room[..made]);
                if piece.is_empty() && made < room.len() {
                    break;
                }
            }
        }
        Ok((out, decoder.is_whole()))
    }

    fn text() -> Vec<u8> {
        (0..20_000).flat_map(|number: u32| format!("{number} ").into_bytes()).collect()
    }

    fn coded(coding: &str) -> Vec<u8> {
        let text = text();
        let flated = |zlib: bool| {
            let mut out = Vec::new();
            let level = flate2::Compression::fast();
            if zlib {
                flate2::write::ZlibEncoder::new(&mut out, level).write_all(&text).expect("memory");
            } else {
                flate2::write::DeflateEncoder::new(&mut out, level).write_all(&text).expect("memory");
            }
            out
        };
        match coding {
            "gzip" => {
                let mut out = Vec::new();
                flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast()).write_all(&text).expect("memory");
                out
            }
            "zlib" => flated(true),
            "raw" => flated(false),
            "br" => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 4, 18).write_all(&text).expect("memory");
                out
            }
            _ => {
                let mut out = vec![0; 2 * text.len()];
                let length = zstd_safe::compress(&mut out[..], &text, 3).expect("memory");
                out.truncate(length);
                out
            }
        }
    }

    #[test]
    fn every_coding_gives_the_text_however_it_is_cut() {
        for (form, said) in [
            ("gzip", "gzip"),
            ("gzip", "X-Gzip"),
            ("zlib", "deflate"),
            ("raw", "deflate"),
            ("br", "br"),
            ("zstd", "zstd"),
        ] {
            let content = coded(form);
            for (cut, room) in [(content.len(), 16 * 1024), (7, 16 * 1024), (1000, 10), (1, 1)] {
                let (out, whole) = decoded(said, &content, cut, room).expect("content");
                assert!(out == text() && whole, "{form} {cut} {room}: {}", out.len());
            }
            let (_, whole) = decoded(said, &content[..content.len() - 9], 4096, 4096).expect("a beginning");
            assert!(!whole, "{form}");
        }
    }

    #[test]
    fn what_is_no_such_content_is_broken_and_what_is_not_known_is_not_read() {
        for said in ["gzip", "deflate", "br", "zstd"] {
            assert_eq!(decoded(said, &[0xff; 4000], 4000, 4096), Err(Broken(0)), "{said}");
        }
        for said in ["compress", "gzip, br", "dcb"] {
            assert!(decoder(said).is_none(), "{said}");
        }
        assert_eq!(decoded("identity", b"as it is", 3, 2), Ok((b"as it is".to_vec(), true)));
    }

    #[test]
    fn members_follow_each_other_and_what_is_none_is_nobodys() {
        for form in ["gzip", "zstd"] {
            let twice = [coded(form), coded(form)].concat();
            assert_eq!(decoded(form, &twice, 4096, 4096), Ok(([text(), text()].concat(), true)), "{form}");
        }
        let padded = [coded("gzip"), vec![0; 64]].concat();
        assert_eq!(decoded("gzip", &padded, 4096, 4096), Ok((text(), true)));
    }

    #[test]
    fn members_are_not_read_without_an_end() {
        for form in ["gzip", "zstd"] {
            let empty = match form {
                "gzip" => {
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()).finish().expect("memory")
                }
                _ => {
                    let mut out = [0; 64];
                    let length = zstd_safe::compress(&mut out[..], &[], 3).expect("memory");
                    out[..length].to_vec()
                }
            };
            assert_eq!(decoded(form, &empty.repeat(MOST_MEMBERS), 4096, 4096), Ok((Vec::new(), true)), "{form}");
            assert_eq!(decoded(form, &empty.repeat(MOST_MEMBERS + 1), 4096, 4096), Err(Broken(0)), "{form}");
        }
    }

    #[test]
    fn what_came_before_a_break_is_there() {
        for (form, said) in [("gzip", "gzip"), ("zlib", "deflate")] {
            let mut content = coded(form);
            // What it says of itself at its end does not hold.
            let sum = content.len() - if form == "gzip" { 8 } else { 4 };
            content[sum] ^= 0xff;
            let (mut decoder, mut rest, mut room, mut all) =
                (decoder(said).expect("known"), &content[..], vec![0; 1 << 20], 0);
            let broken = loop {
                match decoder.step(&mut rest, &mut room[all..]) {
                    Ok(made) => all += made,
                    Err(Broken(made)) => break made,
                }
            };
            assert!(room[..all + broken] == text()[..], "{form}: {all} {broken}");
        }
    }

    #[test]
    fn a_few_bytes_that_stand_for_millions_come_out_little_by_little() {
        let mut bomb = Vec::new();
        flate2::write::GzEncoder::new(&mut bomb, flate2::Compression::best())
            .write_all(&vec![0; 10 << 20])
            .expect("memory");
        let (mut decoder, mut room) = (decoder("gzip").expect("gzip"), vec![0; 1000]);
        let mut content = &bomb[..];
        assert_eq!(decoder.step(&mut content, &mut room), Ok(1000));
        assert!(!content.is_empty());
    }
}
