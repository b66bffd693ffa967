//! What keeps the sockets of one address of UDP open, one a worker. The kernel chooses among them by the addresses of both ends, over as
//! many as there are: if one closed before the others, it would choose anew, and take flows that speak to workers that do not know them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// One reason to keep the sockets of an address open: a worker that still takes new flows there, or has some, has one.
#[derive(Debug)]
pub struct Hold(Arc<Group>);

/// The sockets of an address.
#[derive(Debug)]
pub struct Group {
    holds: AtomicUsize,
    /// Workers that would close theirs.
    waiting: Mutex<Vec<Waker>>,
}

impl Hold {
    /// The first one of an address.
    #[expect(clippy::new_without_default, reason = "each is one more reason, which is no default")]
    pub fn new() -> Hold {
        Hold(Arc::new(Group { holds: AtomicUsize::new(1), waiting: Mutex::default() }))
    }

    /// Tells, as long as it can be upgraded, that sockets of the address may still be open.
    pub fn remains(&self) -> Weak<Group> {
        Arc::downgrade(&self.0)
    }

    /// The sockets. Whoever has one of them keeps this until it is closed.
    pub(crate) fn group(&self) -> Arc<Group> {
        Arc::clone(&self.0)
    }
}

impl Clone for Hold {
    fn clone(&self) -> Hold {
        self.0.holds.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(&self.0))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.holds.fetch_sub(1, Ordering::SeqCst) == 1 {
            let waiting = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Group {
    /// Ready when nothing holds the sockets open any more.
    pub(crate) fn poll_free(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever lets go as the last one comes for it afterwards.
        if self.holds.load(Ordering::SeqCst) == 0 {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_last_one_who_lets_go_wakes_those_who_wait() {
        let hold = Hold::new();
        let (group, remains) = (hold.group(), hold.remains());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        let other = hold.clone();
        drop(hold);
        assert!(group.poll_free(cx).is_pending() && group.poll_free(cx).is_pending());
        assert_eq!(group.waiting.lock().expect("whole").len(), 1, "nobody waits twice");
        assert!(!woken.0.load(Ordering::SeqCst));
        drop(other);
        assert!(woken.0.load(Ordering::SeqCst));
        assert!(group.poll_free(cx).is_ready() && group.waiting.lock().expect("whole").is_empty());
        assert!(remains.upgrade().is_some());
        drop(group);
        assert!(remains.upgrade().is_none(), "the last socket has closed");
    }
}
