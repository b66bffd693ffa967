//! Copies of content that goes by: all of it, or its beginning.

use observe::capture::Kept;

/// Copies of content.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) whole: Option<Whole>,
    pub(super) part: Option<Kept>,
}

/// A copy of content, unless that is longer than this.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    pub(super) most: usize,
    pub(super) overflown: bool,
}

/// Content was longer than a copy of it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Copied {
    pub(super) fn take(&mut self, content: &[u8]) {
        if let Some(whole) = &mut self.whole {
            if whole.bytes.len() + content.len() > whole.most {
                (whole.overflown, whole.bytes) = (true, Vec::new());
            }
            if !whole.overflown {
                whole.bytes.extend_from_slice(content);
            }
        }
        if let Some(part) = &mut self.part {
            part.add(content);
        }
    }
}
