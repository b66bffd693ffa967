//! What a check says and what it expects, without a socket: bytes in, bytes out, and in the end an outcome.

mod http;

use config::spec;

/// What is said in each check of one address; none where a connection is all that is asked for.
#[derive(Debug)]
pub(super) enum Script {
    /// Nothing.
    Connect,
    /// A request by HTTP/1.1.
    Http(http::Script),
}

/// One conversation.
#[derive(Debug)]
pub(super) enum Talk<'a> {
    /// A request by HTTP/1.1.
    Http(http::Talk<'a>),
}

/// How far a conversation has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It waits for more bytes.
    More,
    /// It is over; what was wrong, if anything was.
    Done(Result<(), String>),
}

impl Script {
    /// What a probe says to a server that is called `host`.
    pub(super) fn of(probe: &spec::Probe, host: &str) -> Script {
        match probe {
            spec::Probe::Tcp => Script::Connect,
            spec::Probe::Http(said) => Script::Http(http::Script::of(said, host)),
        }
    }

    /// A conversation by this script, unless a connection is all.
    pub(super) fn begin(&self) -> Option<Talk<'_>> {
        Some(match self {
            Script::Connect => return None,
            Script::Http(script) => Talk::Http(http::Talk::new(script)),
        })
    }
}

impl Talk<'_> {
    /// The most that is kept of what a server says.
    pub(super) const MOST: usize = 64 * 1024;

    /// What is said first.
    pub(super) fn open(&mut self, said: &mut Vec<u8>) {
        match self {
            Talk::Http(talk) => talk.open(said),
        }
    }

    /// Hears what has come, takes what it has understood out of it, and says what follows.
    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, _said: &mut Vec<u8>) -> Step {
        match self {
            Talk::Http(talk) => talk.hear(heard),
        }
    }

    /// The server has closed the connection.
    pub(super) fn ended(&mut self) -> Result<(), String> {
        match self {
            Talk::Http(talk) => talk.ended(),
        }
    }
}

/// What is said of a server that closes before it has answered.
const CLOSED: &str = "connection closed";
