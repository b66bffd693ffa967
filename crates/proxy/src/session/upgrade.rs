//! A connection on which TLS begins inside of a protocol: what is said before it.
//!
//! Whatever a client says in plain is looked at where it is, and read as far as it is done with: what is not stays in the socket, where
//! only a handshake is looked for. Nothing of it comes to a server.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use http::Conn;
use net::Stream;
use net::tls::Alpn;
use wire::Version;
use wire::starttls::host::LOOK;
use wire::starttls::{Host, Protocol, Step};

use super::closing::linger;
use super::record::broken;
use super::{Arrived, Common};

/// What a conversation has come to.
pub(super) enum Begun {
    /// A stream on which TLS begins, and what has to be agreed on in the handshake, if anything has.
    Tls(Stream, Option<Alpn>),
    /// One on which a client goes on in plain, and how it has introduced itself.
    Plain(Stream, Vec<u8>),
}

/// How the conversation ends.
enum End {
    /// In TLS.
    Tls,
    /// The same, without a question.
    TlsAtOnce,
    /// In plain; how the client has introduced itself.
    Plain(Vec<u8>),
    /// In nothing; why, if the client has not wanted that.
    Nothing(Option<&'static str>),
}

/// Talks with a client until it begins TLS, or goes on in plain where it may, or the timer is over that was armed. What comes to nothing is said, recorded and closed here.
pub(super) async fn until_tls(
    arrived: &Arrived,
    protocol: Protocol,
    lets_plain: bool,
    mut stream: Stream,
) -> Option<Begun> {
    let Arrived { common, timer, .. } = arrived;
    let mut talk = Talk::begin(Host::new(protocol, here(common, &stream)).letting_plain(lets_plain));
    let end = poll_fn(|cx| {
        if common.worker.is_cut() {
            return Poll::Ready(End::Nothing(None));
        }
        let mut block = common.worker.block(LOOK);
        match talk.poll(&mut stream, cx, &mut block[..LOOK]) {
            Poll::Pending => timer.poll_expired(cx).map(|()| End::Nothing(Some("no question for TLS in time"))),
            ready => ready,
        }
    })
    .await;
    match end {
        End::Tls => Some(Begun::Tls(stream, None)),
        // Else a handshake that was meant for another service could be led here (ALPACA): servers of PostgreSQL demand it, too.
        End::TlsAtOnce => Some(Begun::Tls(stream, Some(Alpn::Postgres))),
        End::Plain(hello) => Some(Begun::Plain(stream, hello)),
        End::Nothing(reason) => {
            if let Some(reason) = reason {
                broken(common, Version::H11, reason);
            }
            linger(&mut Conn::new(stream), timer, &common.worker).await;
            None
        }
    }
}

/// Who we are to a client that has to be told: the address that it came to, as SMTP writes one (RFC 5321 section 4.1.3).
fn here(common: &Common, stream: &Stream) -> String {
    match common.opened_to().or_else(|| stream.local()).map(|address| address.ip().to_canonical()) {
        Some(std::net::IpAddr::V4(ip)) => format!("[{ip}]"),
        Some(std::net::IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        None => "localhost".to_owned(),
    }
}

struct Talk {
    host: Host,
    /// What the client has not been told yet.
    said: Vec<u8>,
    /// How many bytes were looked at that are not done with.
    seen: usize,
    /// What comes once everything is said.
    end: Option<End>,
}

impl Talk {
    fn begin(host: Host) -> Talk {
        let mut said = Vec::new();
        host.greet(&mut said);
        Talk { host, said, seen: 0, end: None }
    }

    fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>, block: &mut [u8]) -> Poll<End> {
        loop {
            while !self.said.is_empty() {
                match ready!(stream.poll_write(cx, &self.said)) {
                    Ok(written) => drop(self.said.drain(..written)),
                    Err(_) => return Poll::Ready(End::Nothing(None)),
                }
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(end);
            }
            let seen = match ready!(stream.poll_look(cx, block, self.seen)) {
                Ok(seen) if seen > self.seen => seen,
                // No more will come.
                _ => return Poll::Ready(End::Nothing(None)),
            };
            let (done, end) = match self.host.hear(&block[..seen], &mut self.said) {
                Step::More => {
                    self.seen = seen;
                    continue;
                }
                Step::Done(length) => (length, None),
                Step::Begin(length) => (length, Some(End::Tls)),
                Step::Begun => (0, Some(End::TlsAtOnce)),
                Step::Plain(hello) => (0, Some(End::Plain(hello))),
                Step::Over(reason) => (0, Some(End::Nothing(reason))),
            };
            if !stream.take(cx, &mut block[..done]) {
                return Poll::Ready(End::Nothing(None));
            }
            (self.seen, self.end) = (0, end);
        }
    }
}
