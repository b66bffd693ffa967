//! The wait before another try: a random part of a time that doubles, so that those who failed together do not come back
//! together. ("Full jitter" in Brooker, Exponential Backoff And Jitter, AWS Architecture Blog 2015; Envoy does the same.)

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind};

use super::send::is_client_gone;
use super::{GONE, bounded, is_over};
use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::{Backoff, Route};

impl Backoff {
    /// The wait before a retry, counted from 1, for a number drawn from 0 to 1.
    pub(super) fn wait(self, retry: u32, drawn: f64) -> Duration {
        let doublings = retry.saturating_sub(1).min(16);
        self.base.saturating_mul(1 << doublings).min(self.max).mul_f64(drawn)
    }
}

/// Waits, unless the client leaves, the request's time ends or the process does.
pub(super) async fn pause(session: &mut Session, x: &Exchange, route: &Route, wait: Duration) -> Result<(), Fault> {
    session.timer.arm(Instant::now(), bounded(x, route, wait));
    poll_fn(|cx| {
        if session.worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        if is_client_gone(session, cx) {
            return Poll::Ready(Err(GONE));
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(if is_over(x, route) { Err(Fault::proxy(Kind::TotalTimeout)) } else { Ok(()) })
    })
    .await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_double_up_to_the_longest(base in 1_u64..1_000, factor in 1_u64..50, retry in 1_u32..40, drawn in 0.0..1.0_f64) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(base * factor));
            let backoff = Backoff { base, max };
            let longest = backoff.wait(retry, 1.0);
            prop_assert!(longest <= max && longest >= base.min(max));
            prop_assert!(backoff.wait(retry, drawn) <= longest);
            prop_assert!(backoff.wait(retry + 1, 1.0) >= longest);
            prop_assert!(longest == max || longest == base * (1 << (retry - 1)));
            prop_assert_eq!(backoff.wait(retry, 0.0), Duration::ZERO);
        }
    }
}
