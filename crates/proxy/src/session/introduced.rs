//! A connection whose peer says first for whom it comes (the PROXY protocol).
//!
//! The header is looked at where it is and then read to its last byte, no farther: what follows may be a handshake. A peer that is
//! expected to say it and does not is no proxy of ours, and is not served.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use net::Stream;
use wire::Version;
use wire::proxy_protocol::{self, Said};

use super::record::broken;
use super::{Arrived, Introduction};

/// Hears who it is, and serves it.
pub(super) async fn serve(mut arrived: Arrived, mut stream: Stream) {
    let common = &arrived.common;
    arrived.timer.arm(Instant::now(), common.listener.request_head);
    let heard = poll_fn(|cx| {
        if common.worker.is_cut() {
            return Poll::Ready(Err(""));
        }
        let mut block = common.worker.block(proxy_protocol::MOST);
        match poll_header(&mut stream, cx, &mut block[..proxy_protocol::MOST]) {
            Poll::Pending => arrived.timer.poll_expired(cx).map(|()| Err("no PROXY header in time")),
            ready => ready,
        }
    })
    .await;
    match heard {
        Ok(said) => {
            if let Said::Between { source, destination } = said {
                let common = &mut arrived.common;
                (common.origin.peer, common.origin.port) = (Some(source), destination.port());
                let introduction = Introduction { opened_to: Some(destination), ..Introduction::default() };
                common.introduced = Some(Rc::new(introduction));
            }
            super::serve(arrived, stream);
        }
        // The process ends, or the peer has gone without a word, as those do that only look whether somebody listens.
        Err("") => {}
        Err(reason) => {
            stream.reset_on_close();
            broken(common, Version::H11, reason);
        }
    }
}

/// Reads the header and nothing else. An error without a reason is a peer that has said nothing.
fn poll_header(stream: &mut Stream, cx: &mut Context<'_>, block: &mut [u8]) -> Poll<Result<Said, &'static str>> {
    let mut seen = 0;
    let (said, length) = loop {
        let before = seen;
        seen = match ready!(stream.poll_look(cx, block, before)) {
            Ok(seen) => seen,
            Err(_) => return Poll::Ready(Err("")),
        };
        match proxy_protocol::read(&block[..seen]) {
            Ok(Some(read)) => break read,
            Ok(None) if seen > before => {}
            Ok(None) => return Poll::Ready(Err(if seen == 0 { "" } else { "a PROXY header without an end" })),
            Err(proxy_protocol::Invalid(reason)) => return Poll::Ready(Err(reason)),
        }
    };
    if !stream.take(cx, &mut block[..length]) {
        return Poll::Ready(Err("a PROXY header that could not be read"));
    }
    Poll::Ready(Ok(said))
}
