//! What content becomes on its way: a closed set of changes, each of which takes content in and lets content out.

mod encoder;
mod encoders;

use base::Kind;
use wire::Head;
use wire::grpc::web::{self, Decoder};

pub use encoder::Recipe;
pub(crate) use encoders::{Encoders, Lent, UnderWay};

/// A change of content.
#[derive(Debug)]
pub(crate) enum Transform {
    /// Into a content coding.
    Compress(Lent),
    /// Base64 to the bytes that it stands for.
    FromText(Decoder),
    /// What a server of gRPC says to what a browser can read: the trailers become the last frame.
    ToWeb(Text),
}

/// Whether bytes go as base64.
#[derive(Debug)]
pub(crate) enum Text {
    /// They do.
    Base64(web::Encoder),
    /// They go as they are.
    Plain,
}

impl Transform {
    /// Takes content in; appends what comes out.
    ///
    /// # Errors
    /// The content is not what it should be, or there is no memory.
    pub(super) fn content(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Kind> {
        match self {
            Transform::Compress(encoder) => encoder.content(content, out).map_err(|_| Kind::Overload),
            Transform::FromText(decoder) => decoder.feed(content, out).map_err(|_| Kind::Malformed),
            Transform::ToWeb(Text::Plain) => {
                out.extend_from_slice(content);
                Ok(())
            }
            Transform::ToWeb(Text::Base64(encoder)) => {
                encoder.feed(content, out);
                Ok(())
            }
        }
    }

    /// Whether something was taken in that has not come out.
    pub(super) fn holds(&self) -> bool {
        match self {
            Transform::Compress(encoder) => encoder.holds(),
            Transform::ToWeb(Text::Base64(encoder)) => encoder.holds(),
            Transform::ToWeb(Text::Plain) | Transform::FromText(_) => false,
        }
    }

    /// Nothing more is here for now: lets out what can come out.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Kind> {
        match self {
            Transform::Compress(encoder) => encoder.flush(out).map_err(|_| Kind::Overload)?,
            Transform::ToWeb(Text::Base64(encoder)) => encoder.flush(out),
            Transform::ToWeb(Text::Plain) | Transform::FromText(_) => {}
        }
        Ok(())
    }

    /// All content was taken in, and these trailers came behind it.
    ///
    /// # Errors
    /// The content is not whole, or there is no memory.
    pub(super) fn end(&mut self, trailers: Option<&Head>, out: &mut Vec<u8>) -> Result<(), Kind> {
        match self {
            Transform::Compress(encoder) => encoder.end(out).map_err(|_| Kind::Overload),
            Transform::FromText(decoder) if !decoder.is_whole() => Err(Kind::Malformed),
            Transform::FromText(_) => Ok(()),
            Transform::ToWeb(text) => {
                let mut frame = Vec::new();
                web::end_frame(trailers, &mut frame);
                match text {
                    Text::Plain => out.extend(frame),
                    Text::Base64(encoder) => {
                        encoder.feed(&frame, out);
                        encoder.flush(out);
                    }
                }
                Ok(())
            }
        }
    }

    /// Whether trailers still stand behind the content.
    pub(super) fn keeps_trailers(&self) -> bool {
        !matches!(self, Transform::ToWeb(_))
    }
}
