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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A call there and back: the answer that a browser's text makes of itself is what the server has said, however both were cut
        /// and wherever a pause was.
        #[test]
        fn what_becomes_text_is_read_as_what_it_was(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..10),
            status in "[0-9]{1,2}",
            cut in 1..9_usize,
            base64 in any::<bool>(),
        ) {
            let text = if base64 { Text::Base64(web::Encoder::default()) } else { Text::Plain };
            let (mut to_web, mut made) = (Transform::ToWeb(text), Vec::new());
            for (piece, pause) in &pieces {
                to_web.content(piece, &mut made).expect("content");
                if *pause {
                    to_web.flush(&mut made).expect("a pause");
                    prop_assert!(!to_web.holds());
                }
            }
            let mut trailers = Head::default();
            trailers.add(b"Grpc-Status", status.as_bytes());
            to_web.end(Some(&trailers), &mut made).expect("an end");
            prop_assert!(!to_web.holds() && !to_web.keeps_trailers());

            let mut read = Vec::new();
            if base64 {
                let mut from_text = Transform::FromText(Decoder::default());
                for piece in made.chunks(cut) {
                    from_text.content(piece, &mut read).expect("base64");
                }
                prop_assert_eq!(from_text.end(None, &mut read), Ok(()));
            } else {
                read = made;
            }
            let content: Vec<u8> = pieces.into_iter().flat_map(|(piece, _)| piece).collect();
            let line = format!("grpc-status:{status}\r\n");
            let end = [&[0x80, 0, 0, 0, line.len() as u8], line.as_bytes()].concat();
            prop_assert_eq!(read, [content, end].concat());
        }

        /// Text that is none is no content, however it comes.
        #[test]
        fn what_is_no_text_is_malformed(text in "[A-Za-z0-9+/=]{0,20}[-_ \n]", cut in 1..9_usize) {
            let mut from_text = Transform::FromText(Decoder::default());
            let mut fed = Ok(());
            for piece in text.as_bytes().chunks(cut) {
                fed = fed.and_then(|()| from_text.content(piece, &mut Vec::new()));
            }
            prop_assert_eq!(fed, Err(Kind::Malformed));
        }
    }
}
