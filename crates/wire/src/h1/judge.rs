//! What we demand beyond the tokenizer. Every place where `httparse` accepts more than we do is here, and each has a
//! test of its own in `tests/attacks.rs`:
//!
//! 1. bare LF as a line end, anywhere: [`line_ends`] in what has arrived, `index_fields` in what is complete
//! 2. any number of empty lines before the start line, LF among them: [`leading_empty_line`] takes one CRLF
//! 3. bytes in a request target that no URI has, `\x80` to `\xff` among them: `request.rs`
//! 4. any pair of framing fields, and any text in them: [`framing`]
//! 5. any method token with any target form: `request.rs`
//! 6. a status of any three digits, 000 to 099 and 600 to 999 too: `response.rs`
//! 7. any number of fields, of any total size: [`Limits`]
//! 8. a response's reason phrase with obs-text, or none and not even the space before it: never forwarded, the writer
//!    writes the standard's own

use memchr::memchr_iter;

use super::{Limits, Progress, Reject};
use crate::head::{Framing, Head, Span, Version};
use crate::known::Known;

/// Skips the one empty line that RFC 9112 section 2.2 asks servers to forgive; answers its length.
pub(super) fn leading_empty_line(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

/// Every line ends with CRLF (RFC 9112 section 2.2); a bare LF is what another reader may split at.
pub(super) const BARE_LF: Reject = Reject::Malformed("bare LF in the head");

/// Whether all lines that have arrived end with CRLF.
pub(super) fn line_ends(head: &[u8]) -> Result<(), Reject> {
    for at in memchr_iter(b'\n', head) {
        if at == 0 || head[at - 1] != b'\r' {
            return Err(BARE_LF);
        }
    }
    Ok(())
}

/// Judges a head whose end has not arrived: it may be over its limits, or hopeless, already.
pub(super) fn partial(bytes: &[u8], limits: &Limits) -> Result<Progress, Reject> {
    if line_length(bytes) > limits.line {
        return Err(Reject::LineTooLong);
    }
    if bytes.len() >= limits.head {
        return Err(Reject::HeadTooLarge);
    }
    line_ends(bytes)?;
    Ok(Progress::Partial)
}

/// The length of the first line as far as it has arrived, without its end.
pub(super) fn line_length(bytes: &[u8]) -> usize {
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// The tokenizer's refusal in our words.
pub(super) fn refusal(error: httparse::Error) -> Reject {
    match error {
        httparse::Error::HeaderName => Reject::Malformed("invalid field name"),
        httparse::Error::HeaderValue => Reject::Malformed("invalid field value"),
        httparse::Error::NewLine => Reject::Malformed("invalid line end"),
        httparse::Error::Status => Reject::Malformed("invalid status line"),
        httparse::Error::Token => Reject::Malformed("invalid start line"),
        httparse::Error::TooManyHeaders => Reject::TooManyFields,
        httparse::Error::Version => Reject::Version,
    }
}

/// What a message's fields say of its body, once all that is ambiguous is refused (RFC 9112 section 6).
pub(crate) fn framing(head: &mut Head) -> Result<Option<Framing>, Reject> {
    if head.has(Known::Misspelled) {
        return Err(Reject::Malformed("a framing field's name with `_`"));
    }
    if head.has(Known::TransferEncoding) {
        if head.has(Known::ContentLength) {
            return Err(Reject::Malformed("both Transfer-Encoding and Content-Length"));
        }
        if head.version() == Version::H10 {
            return Err(Reject::Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        return transfer_coding(head).map(Some);
    }
    let mut lengths = head.values_of(Known::ContentLength);
    let Some(length) = lengths.next() else { return Ok(None) };
    // RFC 9110 section 8.6 lets us refuse or merge repetitions; merging is what has been smuggled through.
    if lengths.next().is_some() {
        return Err(Reject::Malformed("more than one Content-Length"));
    }
    let number = content_length(length)?;
    let padded = length.len() > 1 && length.starts_with(b"0");
    drop(lengths);
    if padded {
        trim_zeros(head);
    }
    Ok(Some(Framing::Length(number)))
}

/// Leading zeros are decimal to the grammar and octal to some readers: they are not passed on.
fn trim_zeros(head: &mut Head) {
    let (Some(span), Some(text)) = (head.span_of(Known::ContentLength), head.value_of(Known::ContentLength)) else {
        return;
    };
    let zeros = text.iter().take_while(|byte| **byte == b'0').count().min(text.len().saturating_sub(1));
    head.replace_value(Known::ContentLength, Span::of(span.start() + zeros, text.len() - zeros));
}

fn transfer_coding(head: &Head) -> Result<Framing, Reject> {
    let mut codings = head.values_of(Known::TransferEncoding);
    let first = codings.next().unwrap_or_default();
    if codings.next().is_some() {
        return Err(Reject::Malformed("more than one Transfer-Encoding"));
    }
    if first.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Unknown);
    }
    // `gzip, chunked` is well framed but beyond us; anything that does not end in chunked has no end we could find.
    let last = first.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    if first.contains(&b',') && last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        let named_before = first.len() - last.len();
        let before = first[..named_before].to_ascii_lowercase();
        if before.windows(7).any(|window| window == b"chunked") {
            return Err(Reject::Malformed("chunked more than once"));
        }
        return Err(Reject::UnknownCoding);
    }
    let token = !first.is_empty() && first.iter().all(|byte| is_token(*byte));
    Err(if token && !first.to_ascii_lowercase().windows(7).any(|window| window == b"chunked") {
        Reject::UnknownCoding
    } else {
        Reject::Malformed("invalid Transfer-Encoding")
    })
}

fn content_length(text: &[u8]) -> Result<u64, Reject> {
    const WRONG: Reject = Reject::Malformed("invalid Content-Length");
    // 18 digits are an exabyte; a longer one can only be an attempt to overflow somebody.
    if text.is_empty() || text.len() > 18 {
        return Err(WRONG);
    }
    let mut length = 0_u64;
    for byte in text {
        if !byte.is_ascii_digit() {
            return Err(WRONG);
        }
        length = length * 10 + u64::from(byte - b'0');
    }
    Ok(length)
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}
