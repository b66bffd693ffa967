//! Deadlines of microseconds, for the few that need them: one descriptor of the kernel's a worker (`timerfd`), and a system call whenever
//! the earliest deadline changes. Everything else uses the [wheel](crate::timer), whose steps are coarse and cost nothing.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The alarms of one worker.
#[derive(Debug)]
pub struct Alarms {
    clock: AsyncFd<OwnedFd>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Moments at which a slot wants to be looked at. A slot may have several; all but its `visit` are stale.
    visits: BinaryHeap<Reverse<(Instant, usize)>>,
    /// For when the clock is set.
    set: Option<Instant>,
}

#[derive(Debug, Default)]
struct Slot {
    deadline: Option<Instant>,
    visit: Option<Instant>,
    waker: Option<Waker>,
}

/// One deadline, which can be moved as often as one likes.
#[derive(Debug)]
pub struct Alarm {
    slot: usize,
    home: Rc<Alarms>,
}

impl Alarms {
    /// None yet. Their `drive` must run on the worker.
    ///
    /// # Errors
    /// There are no descriptors, or no runtime.
    pub fn new() -> io::Result<Rc<Alarms>> {
        let clock = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "what is unsound about it is a descriptor that is not owned; this one is")]
        let clock = AsyncFd::with_interest(clock, Interest::READABLE)?;
        Ok(Rc::new(Alarms { clock, state: RefCell::default() }))
    }

    /// A new alarm that is not set.
    pub fn alarm(self: &Rc<Alarms>) -> Alarm {
        let mut state = self.state.borrow_mut();
        let slot = state.free.pop().unwrap_or_else(|| {
            state.slots.push(Slot::default());
            state.slots.len() - 1
        });
        drop(state);
        Alarm { slot, home: Rc::clone(self) }
    }

    /// Wakes whose alarms are due, for ever.
    pub async fn drive(self: Rc<Alarms>) {
        // The runtime is no more when that fails.
        while let Ok(mut told) = self.clock.readable().await {
            // It is never read: setting it takes back what it has said.
            told.clear_ready();
            self.ring(Instant::now());
        }
    }

    fn ring(&self, now: Instant) {
        let mut due = Vec::new();
        let state = &mut *self.state.borrow_mut();
        state.set = None;
        while let Some(&Reverse((moment, number))) = state.visits.peek()
            && moment <= now
        {
            state.visits.pop();
            let slot = &mut state.slots[number];
            if slot.visit != Some(moment) {
                continue;
            }
            slot.visit = None;
            match slot.deadline {
                Some(deadline) if deadline > now => {
                    slot.visit = Some(deadline);
                    state.visits.push(Reverse((deadline, number)));
                }
                Some(_) => due.extend(slot.waker.take()),
                None => {}
            }
        }
        if let Some(&Reverse((moment, _))) = state.visits.peek() {
            self.set(state, moment, now);
        }
        due.into_iter().for_each(Waker::wake);
    }

    fn set(&self, state: &mut State, moment: Instant, now: Instant) {
        // Nothing at all would stop the clock.
        let left = moment.saturating_duration_since(now).max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        // It refuses only what is no time.
        let _ = timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &once);
        state.set = Some(moment);
    }
}

impl Alarm {
    /// Sets the deadline to `after` from `now`.
    pub fn set(&self, now: Instant, after: Duration) {
        let deadline = now + after;
        let state = &mut *self.home.state.borrow_mut();
        let slot = &mut state.slots[self.slot];
        slot.deadline = Some(deadline);
        if slot.visit.is_some_and(|visit| visit <= deadline) {
            return;
        }
        slot.visit = Some(deadline);
        state.visits.push(Reverse((deadline, self.slot)));
        if state.set.is_none_or(|set| deadline < set) {
            self.home.set(state, deadline, now);
        }
    }

    /// Takes the deadline back.
    pub fn unset(&self) {
        self.home.state.borrow_mut().slots[self.slot].deadline = None;
    }

    /// Ready once the deadline has passed; pending for ever while there is none.
    pub fn poll_due(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.home.state.borrow_mut();
        let slot = &mut state.slots[self.slot];
        if slot.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Poll::Ready(());
        }
        if !slot.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut state = self.home.state.borrow_mut();
        // A visit that is still in the heap finds a slot whose `visit` differs.
        state.slots[self.slot] = Slot::default();
        state.free.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Alarms>) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        runtime.expect("a runtime").block_on(async {
            let alarms = Alarms::new().expect("a clock");
            tokio::task::spawn_local(Rc::clone(&alarms).drive());
            test(alarms).await;
        });
    }

    #[test]
    fn alarms_ring_in_the_order_of_their_deadlines_and_none_before_its_own() {
        run(async |alarms| {
            let begin = Instant::now();
            let rung = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [3000, 700, 1500]
                .map(|micros| {
                    let (alarm, rung) = (alarms.alarm(), Rc::clone(&rung));
                    alarm.set(begin, Duration::from_micros(micros));
                    tokio::task::spawn_local(async move {
                        poll_fn(|cx| alarm.poll_due(cx)).await;
                        assert!(begin.elapsed() >= Duration::from_micros(micros));
                        rung.borrow_mut().push(micros);
                    })
                })
                .into();
            for task in tasks {
                task.await.expect("it rings");
            }
            assert_eq!(*rung.borrow(), [700, 1500, 3000]);
        });
    }

    #[test]
    fn a_deadline_is_moved_both_ways() {
        run(async |alarms| {
            let (alarm, begin) = (alarms.alarm(), Instant::now());
            alarm.set(begin, Duration::from_micros(300));
            alarm.set(begin, Duration::from_millis(2));
            poll_fn(|cx| alarm.poll_due(cx)).await;
            assert!(begin.elapsed() >= Duration::from_millis(2));
            alarm.set(Instant::now(), Duration::from_secs(3600));
            alarm.set(Instant::now(), Duration::from_micros(200));
            poll_fn(|cx| alarm.poll_due(cx)).await;
        });
    }

    #[test]
    fn what_was_taken_back_or_dropped_rings_for_nobody() {
        run(async |alarms| {
            let (first, second, begin) = (alarms.alarm(), alarms.alarm(), Instant::now());
            first.set(begin, Duration::from_micros(100));
            second.set(begin, Duration::from_micros(200));
            first.unset();
            drop(second);
            let third = alarms.alarm();
            third.set(begin, Duration::from_millis(3));
            poll_fn(|cx| {
                assert!(first.poll_due(cx).is_pending());
                third.poll_due(cx)
            })
            .await;
            assert!(begin.elapsed() >= Duration::from_millis(3));
        });
    }

    #[test]
    fn moving_a_deadline_keeps_one_visit() {
        run(async |alarms| {
            let (alarm, begin) = (alarms.alarm(), Instant::now());
            for micros in 0..1000 {
                alarm.set(begin, Duration::from_secs(1) + Duration::from_micros(micros));
            }
            assert_eq!(alarms.state.borrow().visits.len(), 1);
        });
    }
}
