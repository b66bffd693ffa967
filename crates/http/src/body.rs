//! Content out of its framing, and into another.

use wire::h1::chunked::{self, Decoder, Step};
use wire::h1::{Limits, Progress, Reject};
use wire::{Framing, Head};

/// Takes a body's content out of what is read.
#[derive(Debug)]
pub enum BodyReader {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunks.
    Chunked(Box<Chunks>),
    /// Everything until the connection ends.
    UntilClose,
    /// Everything until the end of the stream, which the connection tells apart from a cut, and which trailers may stand
    /// before.
    UntilEnd,
    /// The body has ended, or there was none.
    Done(Option<Box<Head>>),
}

/// A chunked body that is being read.
#[derive(Debug, Default)]
pub struct Chunks {
    decoder: Decoder,
    trailers: Head,
}

/// Puts content into its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWriter {
    /// As it is: its length was said, or the end of the connection will mark it.
    Plain,
    /// In chunks.
    Chunked,
}

/// The limits of a trailer section.
const TRAILERS: Limits = Limits { head: 16 * 1024, line: 0, fields: 64 };

impl BodyReader {
    /// A reader for a body framed so.
    pub fn new(framing: Framing) -> BodyReader {
        match framing {
            Framing::None | Framing::Length(0) => BodyReader::Done(None),
            Framing::Length(length) => BodyReader::Length(length),
            Framing::Unknown => BodyReader::Chunked(Box::default()),
            Framing::UntilClose => BodyReader::UntilClose,
        }
    }

    /// Whether all of the body was read.
    pub fn is_done(&self) -> bool {
        matches!(self, BodyReader::Done(_))
    }

    /// The most bytes that are content as they come, with nothing else between them.
    pub fn raw(&self) -> Option<u64> {
        match self {
            BodyReader::Length(left) => Some(*left),
            BodyReader::UntilClose | BodyReader::UntilEnd => Some(u64::MAX),
            BodyReader::Chunked(_) | BodyReader::Done(_) => None,
        }
    }

    /// Content bytes that are still to come, where that is known and nothing else stands between them.
    pub fn bulk(&self) -> Option<u64> {
        match self {
            BodyReader::Length(left) => Some(*left),
            _ => None,
        }
    }

    /// Notes that content went by another way than [`take`](BodyReader::take).
    pub fn passed(&mut self, count: u64) {
        if let BodyReader::Length(left) = self {
            *left = left.saturating_sub(count);
            if *left == 0 {
                *self = BodyReader::Done(None);
            }
        }
    }

    /// Takes the body's part of `bytes`, hands its content to `content`, and answers how many bytes it used. What it
    /// leaves belongs to the next message if the body is done; else it must come again with more behind it.
    ///
    /// # Errors
    /// The coding is broken.
    pub fn take(&mut self, bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<usize, Reject> {
        match self {
            BodyReader::Done(_) => Ok(0),
            BodyReader::UntilClose | BodyReader::UntilEnd => {
                content(bytes);
                Ok(bytes.len())
            }
            BodyReader::Length(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                content(&bytes[..count]);
                self.passed(count as u64);
                Ok(count)
            }
            BodyReader::Chunked(chunks) => {
                let mut at = 0;
                loop {
                    match chunks.decoder.step(&bytes[at..])? {
                        Step::Consumed(count) => return Ok(at + count),
                        Step::Content { skip, length } => {
                            content(&bytes[at + skip..at + skip + length]);
                            at += skip + length;
                        }
                        Step::Trailers(count) => {
                            at += count;
                            return match chunked::trailers(&bytes[at..], &TRAILERS, &mut chunks.trailers)? {
                                Progress::Partial => Ok(at),
                                Progress::Complete(count) => {
                                    let trailers = std::mem::take(&mut chunks.trailers);
                                    let trailers = (!trailers.is_empty()).then(|| Box::new(trailers));
                                    *self = BodyReader::Done(trailers);
                                    Ok(at + count)
                                }
                            };
                        }
                    }
                }
            }
        }
    }

    /// Nothing more comes, and these trailers came before: says whether that was the body's end.
    pub fn ended(&mut self, trailers: Option<Box<Head>>) -> bool {
        if matches!(self, BodyReader::UntilClose | BodyReader::UntilEnd) {
            *self = BodyReader::Done(trailers);
        }
        self.is_done()
    }

    /// The trailers, once the body is done.
    pub fn trailers(&self) -> Option<&Head> {
        match self {
            BodyReader::Done(trailers) => trailers.as_deref(),
            _ => None,
        }
    }
}

impl BodyWriter {
    /// A writer for a body framed so.
    pub fn new(framing: Framing) -> BodyWriter {
        if framing == Framing::Unknown { BodyWriter::Chunked } else { BodyWriter::Plain }
    }

    /// Appends content in its framing.
    pub fn content(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            // An empty chunk would be the last one.
            _ if bytes.is_empty() => {}
            BodyWriter::Plain => out.extend_from_slice(bytes),
            BodyWriter::Chunked => {
                chunked::begin_chunk(bytes.len(), out);
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends what ends the body.
    pub fn end(self, trailers: Option<&Head>, out: &mut Vec<u8>) {
        if self == BodyWriter::Chunked {
            chunked::end(trailers, out);
        }
    }
}
