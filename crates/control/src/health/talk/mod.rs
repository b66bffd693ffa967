//! What a check says and what it expects, without a socket: bytes in, bytes out, and in the end an outcome.
//!
//! A conversation takes what it has understood out of what was heard, so that it can be given bytes in any portions.

mod grpc;
pub(super) mod http;
mod http2;
mod mysql;
mod postgres;
mod redis;
mod smtp;
mod tls;

use ::http::shared::Protocol;
use config::spec::Probe;
use proxy::pool::Parent;

/// What is said in each check of one address; none where a connection is all that is asked for.
#[derive(Debug)]
pub(super) enum Script {
    /// Nothing.
    Connect,
    /// A request by HTTP/1.1.
    Http(http::Script),
    /// A request by HTTP/2, over TLS or not.
    Http2(http::Script, bool),
    /// A request by HTTP/3, which is no conversation in bytes.
    Http3(http::Script),
    /// A call by gRPC, made already.
    Grpc(Vec<u8>),
    /// A ClientHello, made already.
    Tls(Vec<u8>),
    /// `PING`
    Redis,
    /// A StartupMessage.
    Postgres,
    /// A login that is not meant to succeed.
    Mysql,
    /// `EHLO`
    Smtp,
}

/// One conversation.
#[derive(Debug)]
pub(super) enum Talk<'a> {
    /// A request by HTTP/1.1.
    Http(http::Talk<'a>),
    /// A request by HTTP/2.
    Http2(Box<http2::Talk<'a>>),
    /// A call by gRPC.
    Grpc(grpc::Talk<'a>),
    /// The beginning of a TLS handshake.
    Tls(&'a [u8]),
    /// With Redis.
    Redis,
    /// With PostgreSQL.
    Postgres,
    /// With MySQL or MariaDB.
    Mysql(mysql::Talk),
    /// With a mail server.
    Smtp(smtp::Talk),
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
    /// What a probe says to a server that is called `host`, over TLS or not; requests are of this protocol, if not of HTTP/1.1. A proxy
    /// is asked for the page of that host.
    pub(super) fn of(
        probe: &Probe,
        host: &str,
        secure: bool,
        protocol: Option<Protocol>,
        parent: Option<&Parent>,
    ) -> Script {
        match probe {
            Probe::Tcp => Script::Connect,
            Probe::Http(said) => {
                let script = http::Script::of(said, host, parent);
                match protocol {
                    None => Script::Http(script),
                    Some(Protocol::H2) => Script::Http2(script, secure),
                    Some(Protocol::H3) => Script::Http3(script),
                }
            }
            Probe::Grpc { service, .. } => Script::Grpc(grpc::call(host, service, secure)),
            Probe::Tls { .. } => Script::Tls(tls::client_hello(host)),
            Probe::Redis => Script::Redis,
            Probe::Postgres => Script::Postgres,
            Probe::Mysql => Script::Mysql,
            Probe::Smtp => Script::Smtp,
        }
    }

    /// A conversation by this script, unless a connection is all, or bytes are not what is said.
    pub(super) fn begin(&self) -> Option<Talk<'_>> {
        Some(match self {
            Script::Connect | Script::Http3(_) => return None,
            Script::Http(script) => Talk::Http(http::Talk::new(script)),
            Script::Http2(script, secure) => Talk::Http2(Box::new(http2::Talk::new(script, *secure))),
            Script::Grpc(call) => Talk::Grpc(grpc::Talk::new(call)),
            Script::Tls(hello) => Talk::Tls(hello),
            Script::Redis => Talk::Redis,
            Script::Postgres => Talk::Postgres,
            Script::Mysql => Talk::Mysql(mysql::Talk::Greeting),
            Script::Smtp => Talk::Smtp(smtp::Talk::Banner),
        })
    }
}

impl Talk<'_> {
    /// The most that is kept of what a server says.
    pub(super) const MOST: usize = 64 * 1024;

    /// What is said first.
    pub(super) fn open(&self, said: &mut Vec<u8>) {
        match self {
            Talk::Http(talk) => talk.open(said),
            Talk::Http2(talk) => talk.open(said),
            Talk::Grpc(talk) => talk.open(said),
            Talk::Tls(hello) => said.extend_from_slice(hello),
            Talk::Redis => said.extend_from_slice(redis::PING),
            Talk::Postgres => said.extend_from_slice(postgres::STARTUP),
            Talk::Mysql(_) | Talk::Smtp(_) => {}
        }
    }

    /// Hears what has come, takes what it has understood out of it, and says what follows.
    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Step {
        match self {
            Talk::Http(talk) => talk.hear(heard),
            Talk::Http2(talk) => talk.hear(heard, said),
            Talk::Grpc(talk) => talk.hear(heard, said),
            Talk::Tls(_) => tls::hear(heard),
            Talk::Redis => redis::hear(heard),
            Talk::Postgres => postgres::hear(heard, said),
            Talk::Mysql(talk) => talk.hear(heard, said),
            Talk::Smtp(talk) => talk.hear(heard, said),
        }
    }

    /// The server has closed the connection.
    pub(super) fn ended(&mut self) -> Result<(), String> {
        match self {
            Talk::Http(talk) => talk.ended(),
            _ => Err(CLOSED.to_owned()),
        }
    }
}

/// What is said of a server that closes before it has answered.
const CLOSED: &str = "connection closed";

/// A failure.
fn failed(why: impl Into<String>) -> Step {
    Step::Done(Err(why.into()))
}

/// What a server has said, short enough for a log.
fn quoted(text: &[u8]) -> String {
    const MOST: usize = 80;
    String::from_utf8_lossy(text).trim().chars().take(MOST).collect()
}

#[cfg(test)]
mod fixture {
    use super::{Step, Talk};

    /// Gives an answer whole and byte by byte, which must come to the same, and says to what; with all that was said.
    pub(super) fn converse<'a>(begin: impl Fn() -> Talk<'a>, answer: &[u8]) -> (Result<(), String>, Vec<u8>) {
        let (mut whole, mut said) = (begin(), Vec::new());
        whole.open(&mut said);
        let at_once = match whole.hear(&mut answer.to_vec(), &mut said) {
            Step::Done(outcome) => outcome,
            Step::More => whole.ended(),
        };
        let (mut talk, mut heard, mut piecemeal) = (begin(), Vec::new(), Vec::new());
        talk.open(&mut piecemeal);
        let mut outcome = None;
        for byte in answer {
            heard.push(*byte);
            if let Step::Done(done) = talk.hear(&mut heard, &mut piecemeal) {
                outcome = Some(done);
                break;
            }
        }
        assert_eq!(outcome.unwrap_or_else(|| talk.ended()), at_once);
        assert_eq!(piecemeal, said);
        (at_once, said)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a server says, a conversation neither panics nor depends on the portions.
        #[test]
        fn any_answer_is_survived(answer in prop::collection::vec(any::<u8>(), 0..200), kind in 0..6) {
            let call = grpc::call("a", "b", false);
            let begin = || match kind {
                0 => Talk::Grpc(grpc::Talk::new(&call)),
                1 => Talk::Tls(&call),
                2 => Talk::Redis,
                3 => Talk::Postgres,
                4 => Talk::Mysql(mysql::Talk::Greeting),
                _ => Talk::Smtp(smtp::Talk::Banner),
            };
            // The fixture compares.
            let _ = fixture::converse(begin, &answer);
        }
    }
}
