//! A tunnel: after an upgrade both sides say what they like, until both have finished or all is silent.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::{BodyReader, BodyWriter, Conn};
use net::timer::Timer;

use super::{Pump, Stop};
use crate::worker::Worker;

/// What went through a tunnel, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) fault: Option<Fault>,
}

/// Relays both ways. One side's end is passed on; the other may still speak.
pub(crate) async fn tunnel(
    worker: &Rc<Worker>,
    client: &mut Conn,
    server: &mut Conn,
    timer: &Timer,
    idle: Duration,
) -> Ended {
    let mut up = Pump::new(BodyReader::UntilClose, BodyWriter::Plain, false);
    let mut down = Pump::new(BodyReader::UntilClose, BodyWriter::Plain, false);
    let (mut up_open, mut down_open) = (true, true);
    timer.arm(Instant::now(), idle);
    let fault = poll_fn(|cx| {
        if worker.is_cut() {
            return Poll::Ready(Some(Fault::proxy(Kind::Drained)));
        }
        if up_open && let Poll::Ready(ended) = up.poll(cx, worker, client, server) {
            match ended {
                Ok(()) => server.shutdown_write(),
                Err(Stop::Source(_)) => return Poll::Ready(Some(Fault::client(Kind::ClientGone))),
                Err(_) => return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never))),
            }
            up_open = false;
        }
        if down_open && let Poll::Ready(ended) = down.poll(cx, worker, server, client) {
            match ended {
                Ok(()) => client.shutdown_write(),
                Err(Stop::Source(_)) => return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never))),
                Err(_) => return Poll::Ready(Some(Fault::client(Kind::ClientGone))),
            }
            down_open = false;
        }
        if !up_open && !down_open {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut up.moved) | std::mem::take(&mut down.moved) {
            timer.arm(Instant::now(), idle);
        }
        timer.poll_expired(cx).map(|()| Some(Fault::proxy(Kind::TunnelTimeout)))
    })
    .await;
    Ended { bytes_in: up.content, bytes_out: down.content, fault }
}
