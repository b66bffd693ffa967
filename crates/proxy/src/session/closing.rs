//! How a connection is closed so that the other side learns what it should.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use http::Conn;
use net::timer::Timer;

use crate::worker::Worker;

/// Closes as TLS wants it: an end that is not said would look like a cut (RFC 8446 section 6.1). Plain connections have nothing to
/// say.
pub(super) async fn close(conn: &Conn, timer: &Timer, worker: &Worker) {
    if conn.ends_silently() {
        return;
    }
    timer.arm(Instant::now(), PATIENCE);
    poll_fn(|cx| match conn.poll_farewell(cx) {
        Poll::Pending if !worker.is_cut() => timer.poll_expired(cx),
        _ => Poll::Ready(()),
    })
    .await;
}

/// How long a client may take to let us close.
const PATIENCE: Duration = Duration::from_secs(2);

/// Closes so that the client can read the answer: a close with unread bytes would be a reset, which may overtake it.
pub(super) async fn linger(client: &mut Conn, timer: &Timer, worker: &Rc<Worker>) {
    const MOST: usize = 1024 * 1024;
    client.shutdown_write();
    timer.arm(Instant::now(), PATIENCE);
    let mut read = client.carry().len();
    poll_fn(|cx| {
        let mut block = worker.block(0);
        loop {
            if timer.poll_expired(cx).is_ready() || worker.is_cut() || read > MOST {
                return Poll::Ready(());
            }
            match ready!(client.poll_read(cx, &mut block)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(count) => read += count,
            }
        }
    })
    .await;
}
