//! The request as handlers see it: its body, its preconditions, its peer.

use std::fmt;
use std::net::SocketAddr;

use net::Stream;
use serde_json::Value;
use wire::Head;

use super::answer::Answer;

/// A request.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// Its head.
    pub(super) head: &'a Head,
    /// Its content.
    pub(super) body: &'a [u8],
    /// Who asks.
    pub(super) peer: &'a Peer,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// By TCP, from this address.
    Tcp(SocketAddr),
    /// By the Unix socket; the kernel says which user and process.
    Unix {
        /// The user.
        user: u32,
        /// The process, if it is in the same namespace.
        process: Option<i32>,
    },
    /// By the Unix socket, and the kernel does not say who.
    Unknown,
}

/// What `If-Match` demands (RFC 9110 section 13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// There is none.
    Unsaid,
    /// `*`
    Any,
    /// One of these entity tags, quotes included.
    Tags(Vec<String>),
}

impl Ask<'_> {
    /// Whether the content is said to be JSON, plain.
    ///
    /// # Errors
    /// It is said to be something else, or nothing is said.
    pub(super) fn expect_json(head: &Head) -> Result<(), Answer> {
        let mut kinds = head.values(b"Content-Type");
        let kind = kinds.next().unwrap_or_default();
        let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if kinds.next().is_some() || !essence.eq_ignore_ascii_case(b"application/json") {
            return Err(Answer::error(415, "changes are sent with `Content-Type: application/json`"));
        }
        if head.value(b"Content-Encoding").is_some() {
            return Err(Answer::error(415, "changes are sent without a content coding"));
        }
        Ok(())
    }

    /// The content as JSON.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn json(&self) -> Result<Value, Answer> {
        serde_json::from_slice(self.body)
            .map_err(|error| Answer::error(400, format_args!("the body is not JSON: {error}")))
    }

    /// What `If-Match` demands.
    pub(super) fn if_match(&self) -> Match {
        let mut tags = Vec::new();
        let mut said = false;
        for value in self.head.values(b"If-Match") {
            said = true;
            if value.trim_ascii() == b"*" {
                return Match::Any;
            }
            // Our tags hold no commas: what a comma cuts apart here matches nothing, as it should.
            tags.extend(
                value.split(|byte| *byte == b',').map(|tag| String::from_utf8_lossy(tag.trim_ascii()).into_owned()),
            );
        }
        if said { Match::Tags(tags) } else { Match::Unsaid }
    }
}

impl Match {
    /// Whether what is there now, by its tag, may be changed.
    pub(super) fn holds(&self, tag: &str) -> bool {
        match self {
            Match::Unsaid | Match::Any => true,
            Match::Tags(tags) => tags.iter().any(|one| one == tag),
        }
    }
}

impl Peer {
    /// Who is at the other end of a stream.
    pub(super) fn of(stream: &Stream, address: Option<SocketAddr>) -> Peer {
        match (stream, address) {
            (Stream::Unix(stream), _) => match stream.peer_cred() {
                Ok(cred) => Peer::Unix { user: cred.uid(), process: cred.pid() },
                Err(_) => Peer::Unknown,
            },
            (Stream::Tcp(_), Some(address)) => Peer::Tcp(address),
            (Stream::Tcp(_) | Stream::Secured(_), _) => Peer::Unknown,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix { user, process: Some(process) } => write!(f, "user {user}, process {process}"),
            Peer::Unix { user, process: None } => write!(f, "user {user}"),
            Peer::Unknown => f.write_str("an unknown peer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(values: &[&str]) -> Match {
        let mut head = Head::default();
        head.start_request(b"PUT", b"localhost", b"/", None);
        for value in values {
            head.add(b"If-Match", value.as_bytes());
        }
        Ask { head: &head, body: b"", peer: &Peer::Unknown }.if_match()
    }

    #[test]
    fn a_tag_must_be_the_same_to_the_letter() {
        assert!(matching(&["\"2-ab\""]).holds("\"2-ab\""));
        assert!(matching(&["\"1\", \"2-ab\""]).holds("\"2-ab\""));
        assert!(matching(&["\"1\"", "\"2-ab\""]).holds("\"2-ab\""));
        assert!(matching(&["*"]).holds("\"2-ab\""));
        for other in ["W/\"2-ab\"", "2-ab", "\"2-AB\"", ""] {
            assert!(!matching(&[other]).holds("\"2-ab\""), "{other}");
        }
        assert_eq!(matching(&[]), Match::Unsaid);
    }
}
