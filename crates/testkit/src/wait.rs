//! How a test waits: for an event, with a deadline.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long anything may take that should happen at once. Only a failing test ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so that only looking shows.
///
/// # Panics
/// It is not in time.
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "in time: {what}");
        std::thread::yield_now();
    }
}

/// A value that several threads change, and for whose changes a test can wait.
#[derive(Debug, Default)]
pub struct Shared<T> {
    value: Mutex<T>,
    changed: Condvar,
}

/// Something that happens once.
#[derive(Clone, Debug, Default)]
pub struct Signal(Arc<Raised>);

#[derive(Debug, Default)]
struct Raised {
    is: Shared<bool>,
    /// Tasks that wait for it.
    told: Notify,
}

impl<T> Shared<T> {
    /// A value to share.
    pub fn new(value: T) -> Shared<T> {
        Shared { value: Mutex::new(value), changed: Condvar::new() }
    }

    /// Looks at the value, or changes it; whoever waits looks again.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let result = work(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `look` finds what it wants.
    ///
    /// # Panics
    /// It is not there in time; `what` says what was missing.
    pub fn until<R>(&self, what: &str, look: impl FnMut(&mut T) -> Option<R>) -> R {
        match self.within(PATIENCE, look) {
            Some(found) => found,
            None => panic!("{what} did not come within {PATIENCE:?}"),
        }
    }

    /// Waits for at most `time` until `look` finds what it wants.
    pub fn within<R>(&self, time: Duration, mut look: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        let deadline = Instant::now() + time;
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&mut value) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            value = self.changed.wait_timeout(value, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A panic in another thread is that thread's failure; the value is still whole.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signal {
    /// Something that has not happened yet.
    pub fn new() -> Signal {
        Signal::default()
    }

    /// It happens.
    pub fn raise(&self) {
        self.0.is.with(|raised| *raised = true);
        self.0.told.notify_waiters();
    }

    /// Whether it has happened.
    pub fn is_raised(&self) -> bool {
        self.0.is.with(|raised| *raised)
    }

    /// Waits until it has happened.
    ///
    /// # Panics
    /// It does not happen in time.
    pub fn wait(&self) {
        self.0.is.until("a signal", |raised| raised.then_some(()));
    }

    /// The same for a task, which holds up no other.
    pub(crate) async fn raised(&self) {
        let told = self.0.told.notified();
        // It may happen between the look and the wait: this one is told from here on.
        tokio::pin!(told);
        told.as_mut().enable();
        if !self.is_raised() {
            told.await;
        }
    }
}
