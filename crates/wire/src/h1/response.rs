//! Response heads.

use std::mem::MaybeUninit;

use super::request::{index_fields, span_in};
use super::{Limits, MOST_FIELDS, Progress, Reject, judge};
use crate::head::{Framing, Head, Span, Version};
use crate::known::Known;

/// What was asked: it decides whether a response has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `HEAD`: the fields speak of a body that does not follow.
    Head,
    /// `CONNECT`: after a 2xx a tunnel follows.
    Connect,
    /// Any other method.
    Other,
}

/// Reads a response head from the start of `bytes` (RFC 9112 sections 2, 4 to 6), as strictly as a request's.
///
/// # Errors
/// Anything that breaks the grammar, is over the limits, or could be framed in two ways.
pub fn response(bytes: &[u8], asked: Asked, limits: &Limits, head: &mut Head) -> Result<Progress, Reject> {
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err(Reject::Malformed("empty line before the response"));
    }
    let mut index = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let index = &mut index[..limits.fields.min(MOST_FIELDS)];
    let mut tokens = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut tokens, bytes, index) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return judge::partial(bytes, limits),
        Err(error) => return Err(judge::refusal(error)),
    };
    let raw = &bytes[..length];
    if length > limits.head {
        return Err(Reject::HeadTooLarge);
    }
    let (Some(status), Some(minor)) = (tokens.code, tokens.version) else {
        return Err(Reject::Malformed("invalid status line"));
    };
    if !(100..=599).contains(&status) {
        return Err(Reject::Malformed("status outside 100 to 599"));
    }
    if judge::line_length(raw) > limits.line {
        return Err(Reject::LineTooLong);
    }
    let reason = tokens.reason.unwrap_or_default();
    head.begin(raw, if minor == 0 { Version::H10 } else { Version::H11 });
    index_fields(head, raw, tokens.headers)?;
    let reason = if reason.is_empty() { Span::default() } else { span_in(raw, reason.as_bytes()) };
    head.control_response(status, reason);
    let framing = framing(head, status, asked)?;
    head.framed_by_fields(framing);
    Ok(Progress::Complete(length))
}

/// RFC 9112 section 6.3, in its order.
fn framing(head: &mut Head, status: u16, asked: Asked) -> Result<Framing, Reject> {
    // The fields are judged even where no body follows: a cache or a reader behind us may believe them.
    let said = judge::framing(head)?;
    if (100..200).contains(&status) || status == 204 {
        // RFC 9110 section 8.6 and RFC 9112 section 6.1 forbid both fields here; some reader would wait for a body.
        if !matches!(said, None | Some(Framing::Length(0))) {
            return Err(Reject::Malformed("a body announced where none can be"));
        }
        head.remove_known(Known::ContentLength);
        return Ok(Framing::None);
    }
    if asked == Asked::Connect && (200..300).contains(&status) {
        // RFC 9110 section 9.3.6: a client must ignore them, so ours must not see them.
        head.remove_known(Known::ContentLength);
        head.remove_known(Known::TransferEncoding);
        return Ok(Framing::None);
    }
    if asked == Asked::Head || status == 304 {
        return Ok(Framing::None);
    }
    Ok(match said {
        Some(Framing::Length(0)) => Framing::None,
        Some(framing) => framing,
        None => Framing::UntilClose,
    })
}
