//! Patterns of media types.

/// A pattern of media types, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// This one.
    Exact(Box<str>),
    /// `text/` of `text/*`: all that begin so. Nothing, of `*/*`, begins every type and none at all.
    Prefix(Box<str>),
    /// `application/` and `+json` of `application/*+json`.
    Suffix(Box<str>, Box<str>),
}

/// A type whose content never ends.
pub(crate) const ENDLESS: &str = "text/event-stream";

impl MediaType {
    /// Whether a type is one of these.
    pub(crate) fn holds(&self, essence: &[u8]) -> bool {
        let begins = |start: &str| essence.get(..start.len()).is_some_and(|head| is(head, start));
        match self {
            MediaType::Exact(name) => is(essence, name),
            MediaType::Prefix(start) => begins(start),
            MediaType::Suffix(start, end) => {
                let rest = essence.get(start.len()..).unwrap_or_default();
                begins(start) && rest.len().checked_sub(end.len()).is_some_and(|at| is(&rest[at..], end))
            }
        }
    }

    /// The same, where what never ends has to be named to be meant.
    pub(crate) fn holds_of_what_ends(&self, essence: &[u8]) -> bool {
        self.holds(essence) && (matches!(self, MediaType::Exact(_)) || !is(essence, ENDLESS))
    }
}

/// The type of a `Content-Type`, without its parameters (RFC 9110 section 8.3.1).
pub(crate) fn essence(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
    content_type[..end].trim_ascii()
}

fn is(text: &[u8], lower: &str) -> bool {
    text.eq_ignore_ascii_case(lower.as_bytes())
}
