//! Content into one coding, piece by piece.
//!
//! What a piece costs is bounded by the caller's piece and by the blocks in which libraries work: none of them may see so much at
//! once that it holds a worker up (see the figures in docs/compression.md). What a stream holds is bounded by its window.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};
use flate2::{Compress, Compression, FlushCompress, Status};
use wire::coding::Coding;
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

/// A coding and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The coding.
    pub coding: Coding,
    /// Its own level.
    pub level: u8,
}

/// A stream of content in one coding.
pub(crate) struct Encoder {
    pub(super) recipe: Recipe,
    engine: Engine,
    /// Bytes that were taken in since the last block was ended.
    block: usize,
    /// Something was taken in, and may not have come out.
    holds: bool,
    /// Its end came out.
    ended: bool,
}

/// The library has failed: there is no memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

enum Engine {
    Gzip(Compress),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Zstd(CCtx<'static>),
}

/// How far a stream should come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Whatever is best.
    Taken,
    /// A reader has everything that was taken in.
    Flushed,
    /// And it ends there.
    Ended,
}

/// What libraries are given to write into.
const ROOM: usize = 8 * 1024;
/// The window of Brotli and Zstandard: a reader has to keep as much.
const WINDOW_LOG: u32 = 18;
/// A window of gzip is never larger.
const GZIP_WINDOW_LOG: u8 = 15;
/// Brotli from level 4 on would gather 64 KiB, and take almost two milliseconds for them. The last turn of a stream may have one
/// block of it and almost another.
const BROTLI_BLOCK: usize = 16 * 1024;
/// The same of Zstandard from level 5 on, which gathers 128 KiB.
const ZSTD_BLOCK: usize = 32 * 1024;

impl Encoder {
    /// A stream.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn new(recipe: Recipe) -> Result<Encoder, Failed> {
        let engine = match recipe.coding {
            Coding::Gzip => {
                Engine::Gzip(Compress::new_gzip(Compression::new(u32::from(recipe.level)), GZIP_WINDOW_LOG))
            }
            Coding::Brotli => Engine::Brotli(brotli(recipe.level)),
            Coding::Zstd => Engine::Zstd(zstd(recipe.level)?),
        };
        Ok(Encoder { recipe, engine, block: 0, holds: false, ended: false })
    }

    /// Makes it begin anew, if that is safe and cheaper than another one. A stream that was left in the middle is not used again:
    /// zlib-rs 0.6 forgets to forget the bits that had not come out, and the next content would begin with them.
    pub(crate) fn reset(mut self) -> Option<Encoder> {
        if !self.ended {
            return None;
        }
        match &mut self.engine {
            Engine::Gzip(gzip) => gzip.reset(),
            Engine::Brotli(_) => return None,
            Engine::Zstd(zstd) => {
                zstd.reset(ResetDirective::SessionOnly).ok()?;
            }
        }
        (self.block, self.holds, self.ended) = (0, false, false);
        Some(self)
    }

    /// Takes content in; appends what comes out.
    ///
    /// # Errors
    /// See [`Failed`].
    pub(crate) fn content(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
        let mut rest = content;
        while !rest.is_empty() {
            // To the end of the block and not beyond: what is gathered is worked through at once.
            let (piece, later) = rest.split_at(rest.len().min(self.longest_block() - self.block));
            rest = later;
            self.block += piece.len();
            self.holds = true;
            let full = self.block == self.longest_block();
            self.run(piece, if full { Until::Flushed } else { Until::Taken }, out)?;
            if full {
                (self.block, self.holds) = (0, false);
            }
        }
        Ok(())
    }

    /// Whether something was taken in that may not have come out.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    /// Lets everything come out that was taken in.
    ///
    /// # Errors
    /// See [`Failed`].
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        (self.block, self.holds) = (0, false);
        self.run(&[], Until::Flushed, out)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// See [`Failed`].
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        self.holds = false;
        self.run(&[], Until::Ended, out)?;
        self.ended = true;
        Ok(())
    }

    fn longest_block(&self) -> usize {
        match (self.recipe.coding, self.recipe.level) {
            (Coding::Brotli, 4..) => BROTLI_BLOCK,
            (Coding::Zstd, 5..) => ZSTD_BLOCK,
            _ => usize::MAX,
        }
    }

    fn run(&mut self, mut content: &[u8], until: Until, out: &mut Vec<u8>) -> Result<(), Failed> {
        loop {
            let at = out.len();
            out.resize(at + ROOM, 0);
            let (used, written, done) = self.engine.step(content, &mut out[at..], until)?;
            out.truncate(at + written);
            content = &content[used..];
            if done {
                return Ok(());
            }
        }
    }
}

impl Engine {
    /// One call; answers how much it took and wrote, and whether there is nothing more to do.
    fn step(&mut self, content: &[u8], room: &mut [u8], until: Until) -> Result<(usize, usize, bool), Failed> {
        match self {
            Engine::Gzip(gzip) => {
                let (before_in, before_out) = (gzip.total_in(), gzip.total_out());
                let how = match until {
                    Until::Taken => FlushCompress::None,
                    Until::Flushed => FlushCompress::Sync,
                    Until::Ended => FlushCompress::Finish,
                };
                let status = gzip.compress(content, room, how).map_err(|_| Failed)?;
                let (used, written) = (gzip.total_in() - before_in, gzip.total_out() - before_out);
                // Both are lengths of slices.
                let (used, written) = (used as usize, written as usize);
                let done = match until {
                    Until::Ended => status == Status::StreamEnd,
                    Until::Taken | Until::Flushed => used == content.len() && written < room.len(),
                };
                Ok((used, written, done))
            }
            Engine::Brotli(brotli) => {
                let how = match until {
                    Until::Taken => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
                    Until::Flushed => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
                    Until::Ended => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
                };
                let (mut left, mut used, mut free, mut written) = (content.len(), 0, room.len(), 0);
                let went_well = brotli.compress_stream(
                    how,
                    &mut left,
                    content,
                    &mut used,
                    &mut free,
                    room,
                    &mut written,
                    &mut None,
                    &mut |_, _, _, _| (),
                );
                if !went_well {
                    return Err(Failed);
                }
                let done = left == 0 && !brotli.has_more_output() && (until != Until::Ended || brotli.is_finished());
                Ok((used, written, done))
            }
            Engine::Zstd(zstd) => {
                let how = match until {
                    Until::Taken => ZSTD_EndDirective::ZSTD_e_continue,
                    Until::Flushed => ZSTD_EndDirective::ZSTD_e_flush,
                    Until::Ended => ZSTD_EndDirective::ZSTD_e_end,
                };
                let (mut from, mut into) = (InBuffer::around(content), OutBuffer::around(room));
                let left = zstd.compress_stream2(&mut into, &mut from, how).map_err(|_| Failed)?;
                let taken = from.pos() == content.len();
                let written = into.pos();
                let done = match until {
                    // What it keeps it keeps for a better block.
                    Until::Taken => taken && written < ROOM,
                    Until::Flushed | Until::Ended => taken && left == 0,
                };
                Ok((from.pos(), written, done))
            }
        }
    }
}

fn brotli(level: u8) -> Box<BrotliEncoderStateStruct<StandardAlloc>> {
    let mut brotli = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
    brotli.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, u32::from(level));
    brotli.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, WINDOW_LOG);
    brotli
}

fn zstd(level: u8) -> Result<CCtx<'static>, Failed> {
    let mut zstd = CCtx::try_create().ok_or(Failed)?;
    // Tables that fit the window: those that levels have by themselves are meant for one of many megabytes.
    let (hash, chain) = if level < 5 { (15, 14) } else { (16, 16) };
    for parameter in [
        CParameter::CompressionLevel(i32::from(level)),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::HashLog(hash),
        CParameter::ChainLog(chain),
    ] {
        zstd.set_parameter(parameter).map_err(|_| Failed)?;
    }
    Ok(zstd)
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("recipe", &self.recipe).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    const RECIPES: [(Coding, u8, u8); 3] = [(Coding::Gzip, 1, 9), (Coding::Brotli, 1, 5), (Coding::Zstd, 1, 7)];

    fn all() -> impl Iterator<Item = Recipe> {
        RECIPES.into_iter().flat_map(|(coding, least, most)| (least..=most).map(move |level| Recipe { coding, level }))
    }

    /// What a reader makes of it; also of what has no end yet.
    fn decoded(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // Content that has not ended is an error at the end of it: what came before is what is asked for.
        let _ = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut out),
            Coding::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut out),
            Coding::Zstd => return unzstd(coded),
        };
        out
    }

    fn unzstd(coded: &[u8]) -> Vec<u8> {
        let (mut context, mut out) = (zstd_safe::DCtx::create(), Vec::new());
        let mut from = InBuffer::around(coded);
        let mut block = vec![0; 128 * 1024];
        loop {
            let mut into = OutBuffer::around(&mut block[..]);
            context.decompress_stream(&mut into, &mut from).expect("content in this coding");
            let written = into.pos();
            out.extend_from_slice(&block[..written]);
            if from.pos() == coded.len() && written < block.len() {
                return out;
            }
        }
    }

    fn text(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let words = ["tide", "gate", "\n", " ", "<li>", "</li>", "worker", "head", "7", "request"];
        let mut text = Vec::new();
        while text.len() < length {
            text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
        }
        text.truncate(length);
        text
    }

    #[test]
    fn every_level_gives_what_it_was_given_and_less_of_it() {
        let text = text(300_000);
        for recipe in all() {
            let mut encoder = Encoder::new(recipe).expect("memory");
            let mut out = Vec::new();
            for piece in text.chunks(16 * 1024) {
                encoder.content(piece, &mut out).expect("memory");
            }
            encoder.end(&mut out).expect("memory");
            assert!(out.len() < text.len() / 2, "{recipe:?}: {}", out.len());
            assert!(decoded(recipe.coding, &out) == text, "{recipe:?}");
        }
    }

    /// What is gathered is worked through at the end of its block, and never more than a block of it.
    #[test]
    fn a_block_is_never_longer_than_it_may_be() {
        let text = text(200_000);
        for recipe in all() {
            let mut encoder = Encoder::new(recipe).expect("memory");
            let longest = encoder.longest_block();
            let (mut out, mut taken) = (Vec::new(), 0);
            for piece in text.chunks(10_007) {
                encoder.content(piece, &mut out).expect("memory");
                taken += piece.len();
                assert_eq!(encoder.block, taken % longest, "{recipe:?}");
                let whole = taken - encoder.block;
                if longest < usize::MAX {
                    assert!(decoded(recipe.coding, &out).len() >= whole, "{recipe:?}");
                }
            }
        }
    }

    /// A measurement: `cargo test --release -p tidegate-proxy -- --ignored --nocapture what_a_piece_costs`. Of each piece the shortest
    /// time of several counts, since others want the processor, too. Its figures stand in docs/compression.md.
    #[test]
    #[ignore = "a measurement, and of nothing without optimization"]
    fn what_a_piece_costs() {
        let source: Vec<u8> = [&include_bytes!("encoder.rs")[..], include_bytes!("../pump.rs")].concat().repeat(8);
        for recipe in all() {
            let mut least: Vec<std::time::Duration> = Vec::new();
            for _ in 0..9 {
                let mut encoder = Encoder::new(recipe).expect("memory");
                let (mut out, mut times) = (Vec::new(), Vec::new());
                for piece in source.chunks(crate::relay::PIECE) {
                    let began = std::time::Instant::now();
                    encoder.content(piece, &mut out).expect("memory");
                    times.push(began.elapsed());
                }
                let began = std::time::Instant::now();
                encoder.end(&mut out).expect("memory");
                times.push(began.elapsed());
                least.resize(times.len(), std::time::Duration::MAX);
                least.iter_mut().zip(times).for_each(|(least, time)| *least = time.min(*least));
            }
            println!("{recipe:?}: {:?} for a piece at most", least.iter().max().expect("a piece"));
        }
    }

    #[test]
    fn a_stream_that_is_flushed_can_be_read_to_there() {
        let text = text(5000);
        for recipe in all() {
            let mut encoder = Encoder::new(recipe).expect("memory");
            let mut out = Vec::new();
            for end in [1, 100, 4000, 5000] {
                let begin = decoded(recipe.coding, &out).len();
                encoder.content(&text[begin..end], &mut out).expect("memory");
                assert!(encoder.holds());
                encoder.flush(&mut out).expect("memory");
                assert!(!encoder.holds());
                assert!(decoded(recipe.coding, &out) == text[..end], "{recipe:?} to {end}");
            }
        }
    }

    #[test]
    fn nothing_is_a_stream_too() {
        for recipe in all() {
            let mut out = Vec::new();
            Encoder::new(recipe).expect("memory").end(&mut out).expect("memory");
            assert!(!out.is_empty(), "{recipe:?}");
            assert!(decoded(recipe.coding, &out).is_empty(), "{recipe:?}");
        }
    }

    #[test]
    fn one_that_has_ended_is_as_good_as_new() {
        for recipe in all() {
            let mut left = Encoder::new(recipe).expect("memory");
            left.content(&text(70_000), &mut Vec::new()).expect("memory");
            assert!(left.reset().is_none(), "{recipe:?} was left in the middle");
            let mut ended = Encoder::new(recipe).expect("memory");
            ended.content(&text(70_000), &mut Vec::new()).expect("memory");
            ended.end(&mut Vec::new()).expect("memory");
            let Some(mut again) = ended.reset() else {
                assert_eq!(recipe.coding, Coding::Brotli);
                continue;
            };
            assert!(!again.holds());
            let (mut out, mut fresh) = (Vec::new(), Vec::new());
            again.content(b"tide", &mut out).expect("memory");
            again.end(&mut out).expect("memory");
            let mut other = Encoder::new(recipe).expect("memory");
            other.content(b"tide", &mut fresh).expect("memory");
            other.end(&mut fresh).expect("memory");
            assert_eq!(out, fresh, "{recipe:?}");
        }
    }

    #[test]
    fn what_cannot_be_compressed_hardly_grows() {
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(200_000).collect();
        for recipe in all() {
            let mut encoder = Encoder::new(recipe).expect("memory");
            let mut out = Vec::new();
            encoder.content(&noise, &mut out).expect("memory");
            encoder.end(&mut out).expect("memory");
            assert!(out.len() < noise.len() + noise.len() / 16, "{recipe:?}: {}", out.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn however_it_is_cut_and_flushed_it_is_the_same_content(
            pieces in prop::collection::vec((prop_oneof!["[ab]{0,200}", "\\PC{0,50}"], 1..60_usize, any::<bool>()), 0..8),
            number in 0..21_usize,
        ) {
            let recipe = all().nth(number).expect("one of them");
            let mut encoder = Encoder::new(recipe).expect("memory");
            let (mut whole, mut out) = (Vec::new(), Vec::new());
            for (piece, times, flush) in pieces {
                let piece = piece.repeat(times).into_bytes();
                encoder.content(&piece, &mut out).expect("memory");
                whole.extend(piece);
                if flush {
                    encoder.flush(&mut out).expect("memory");
                    prop_assert!(decoded(recipe.coding, &out) == whole);
                }
            }
            encoder.end(&mut out).expect("memory");
            prop_assert!(decoded(recipe.coding, &out) == whole);
        }
    }
}
