//! Content into a coding and out of it, by what libraries have for files.

use std::io::{Read, Write as _};

use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// What a reader makes of content in this coding, `gzip`, `br` or `zstd`, whether it has ended or not.
///
/// # Panics
/// It is no such content.
pub fn decoded(coding: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // Content without its end is an error there: what came before is what is asked for.
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(content).read_to_end(&mut out)),
        "br" => drop(brotli::Decompressor::new(content, 4096).read_to_end(&mut out)),
        "zstd" => unzstd(content, &mut out),
        _ => panic!("nobody reads `{coding}` here"),
    }
    out
}

/// The same of content that must be whole.
///
/// # Panics
/// It is not.
pub fn decoded_whole(coding: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(content).read_to_end(&mut out).expect("gzip with its end")),
        "br" => drop(brotli::Decompressor::new(content, 4096).read_to_end(&mut out).expect("Brotli with its end")),
        _ => {
            out = decoded(coding, content);
            let (mut frame, mut room) = (DCtx::create(), vec![0; out.len() + 1]);
            frame.decompress(&mut room[..], content).expect("Zstandard with its end");
        }
    }
    out
}

fn unzstd(content: &[u8], out: &mut Vec<u8>) {
    let (mut context, mut from, mut block) = (DCtx::create(), InBuffer::around(content), vec![0; 128 * 1024]);
    loop {
        let mut into = OutBuffer::around(&mut block[..]);
        context.decompress_stream(&mut into, &mut from).expect("Zstandard");
        let written = into.pos();
        out.extend_from_slice(&block[..written]);
        if from.pos() == content.len() && written < block.len() {
            return;
        }
    }
}

/// Content in this coding, `gzip`, `deflate`, `br` or `zstd`.
///
/// # Panics
/// Nobody knows it, or there is no memory.
pub fn coded(coding: &str, content: &[u8]) -> Vec<u8> {
    let (mut out, best) = (Vec::new(), flate2::Compression::best());
    match coding {
        "gzip" => flate2::write::GzEncoder::new(&mut out, best).write_all(content).expect("memory"),
        "deflate" => flate2::write::ZlibEncoder::new(&mut out, best).write_all(content).expect("memory"),
        "br" => brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(content).expect("memory"),
        "zstd" => {
            out = vec![0; content.len() + content.len() / 128 + 1024];
            let length = zstd_safe::compress(&mut out[..], content, 3).expect("memory");
            out.truncate(length);
        }
        _ => panic!("nobody writes `{coding}` here"),
    }
    out
}
