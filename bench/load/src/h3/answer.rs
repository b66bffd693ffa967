//! One answer, read as it comes: is it a 200, are its frames whole, and how long is its body?

use super::wire::{self, DATA, HEADERS, STATUS_200};

pub struct Answer {
    state: State,
    /// The beginning of a frame's front whose end has not arrived.
    partial: Vec<u8>,
    /// Bytes of the head that matched so far.
    matched: usize,
    body: u64,
}

#[derive(Clone, Copy)]
enum State {
    /// Waits for a frame's type and length. After the head there may be none.
    Front { head_is_over: bool },
    /// Waits for so many bytes of the head.
    Head(u64),
    /// Waits for so many bytes of content.
    Content(u64),
    /// Waits for so many bytes that nobody looks at: trailers, and frames that are unknown.
    Other { left: u64, head_is_over: bool },
    /// Broke a rule.
    Broken,
}

impl Answer {
    pub fn new() -> Self {
        Self { state: State::Front { head_is_over: false }, partial: Vec::new(), matched: 0, body: 0 }
    }

    /// Takes what came, and appends content to `keep` if somebody wants it.
    pub fn take(&mut self, mut bytes: &[u8], keep: Option<&mut Vec<u8>>) {
        let mut kept = keep;
        while !bytes.is_empty() {
            self.state = match self.state {
                State::Front { head_is_over } => match self.front(&mut bytes) {
                    None => return,
                    Some((HEADERS, length)) if !head_is_over => State::Head(length),
                    Some((DATA, _)) if !head_is_over => State::Broken,
                    Some((DATA, length)) => State::Content(length),
                    Some((_, left)) => State::Other { left, head_is_over },
                },
                State::Head(left) => {
                    let piece = cut(&mut bytes, left);
                    for &byte in piece.iter().take(STATUS_200.len() - self.matched) {
                        if byte != STATUS_200[self.matched] {
                            self.state = State::Broken;
                            return;
                        }
                        self.matched += 1;
                    }
                    State::Head(left - piece.len() as u64)
                }
                State::Content(left) => {
                    let piece = cut(&mut bytes, left);
                    self.body += piece.len() as u64;
                    if let Some(kept) = &mut kept {
                        kept.extend_from_slice(piece);
                    }
                    State::Content(left - piece.len() as u64)
                }
                State::Other { left, head_is_over } => {
                    let piece = cut(&mut bytes, left);
                    State::Other { left: left - piece.len() as u64, head_is_over }
                }
                State::Broken => return,
            };
            self.state = match self.state {
                State::Head(0) | State::Content(0) => State::Front { head_is_over: true },
                State::Other { left: 0, head_is_over } => State::Front { head_is_over },
                state => state,
            };
        }
    }

    /// The length of the body, if the end of the stream is the end of a 200.
    pub fn end(&self) -> Option<u64> {
        let whole = matches!(self.state, State::Front { head_is_over: true }) && self.partial.is_empty();
        (whole && self.matched == STATUS_200.len()).then_some(self.body)
    }

    /// The type and the length of a frame.
    fn front(&mut self, bytes: &mut &[u8]) -> Option<(u64, u64)> {
        if self.partial.is_empty() {
            if let Some((front, used)) = front(bytes) {
                *bytes = &bytes[used..];
                return Some(front);
            }
            self.partial.extend_from_slice(bytes);
            return None;
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.partial.push(byte);
            if let Some((front, _)) = front(&self.partial) {
                self.partial.clear();
                return Some(front);
            }
        }
        None
    }
}

fn front(bytes: &[u8]) -> Option<((u64, u64), usize)> {
    let (kind, at) = wire::number(bytes)?;
    let (length, more) = wire::number(&bytes[at..])?;
    Some(((kind, length), at + more))
}

/// Takes at most `most` bytes off the front.
fn cut<'a>(bytes: &mut &'a [u8], most: u64) -> &'a [u8] {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let (piece, rest) = bytes.split_at(length);
    *bytes = rest;
    piece
}

#[cfg(test)]
mod tests {
    use super::Answer;

    /// A grease frame, a head, two frames of content, trailers.
    const WHOLE: &[u8] = b"\x40\x21\x02xx\x01\x05\0\0\xd9\xc1\xc2\0\x03abc\0\x40\x02de\x01\x03\0\0\xff";

    #[test]
    fn an_answer_is_the_same_in_pieces() {
        for size in 1..=WHOLE.len() {
            let (mut answer, mut body) = (Answer::new(), Vec::new());
            for piece in WHOLE.chunks(size) {
                answer.take(piece, Some(&mut body));
            }
            assert_eq!((answer.end(), &body[..]), (Some(5), &b"abcde"[..]), "pieces of {size}");
        }
    }

    #[test]
    fn a_cut_an_other_status_and_content_without_a_head_are_no_answers() {
        for cut in 0..WHOLE.len() {
            let mut answer = Answer::new();
            answer.take(&WHOLE[..cut], None);
            // Between two frames after the head only the length tells.
            let between = [12, 17, 22].contains(&cut);
            assert_eq!(answer.end().is_some(), between, "cut at {cut}");
        }
        for bad in [&b"\x01\x03\0\0\xda"[..], b"\x01\x02\0\0", b"\0\x01a\x01\x03\0\0\xd9"] {
            let mut answer = Answer::new();
            answer.take(bad, None);
            assert_eq!(answer.end(), None);
        }
    }
}
