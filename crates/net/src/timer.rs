//! One coarse timer wheel a worker: a deadline costs a store, not an entry in a tree.
//!
//! Deadlines are kept in steps of ten milliseconds and never fire early. A timer that moves its deadline to a later
//! moment, as every request does, only stores it: the wheel looks at the timer when the earlier moment comes, and
//! puts it back.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

/// The timers of one worker.
#[derive(Debug)]
pub struct Timers {
    start: Instant,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Moments at which a slot wants to be looked at. A slot may have several; all but its `visit` are stale.
    visits: BinaryHeap<Reverse<(u32, u32)>>,
    /// When the driver wakes next; `NEVER` while it has nothing to wait for.
    next: u32,
    driver: Option<Waker>,
}

#[derive(Debug)]
struct Slot {
    deadline: u32,
    visit: u32,
    waker: Option<Waker>,
}

/// One deadline, which can be moved as often as one likes.
#[derive(Debug)]
pub struct Timer {
    slot: u32,
    home: Rc<Timers>,
}

const STEP: Duration = Duration::from_millis(10);
const NEVER: u32 = u32::MAX;

impl Timers {
    /// A wheel without timers. Its `drive` must run on the worker.
    pub fn new() -> Rc<Timers> {
        let state = State { next: NEVER, ..State::default() };
        Rc::new(Timers { start: Instant::now(), state: RefCell::new(state) })
    }

    /// A new timer that is not armed.
    pub fn timer(self: &Rc<Timers>) -> Timer {
        let mut state = self.state.borrow_mut();
        let empty = Slot { deadline: NEVER, visit: NEVER, waker: None };
        let slot = match state.free.pop() {
            Some(slot) => {
                state.slots[slot as usize] = empty;
                slot
            }
            None => {
                state.slots.push(empty);
                (state.slots.len() - 1) as u32
            }
        };
        drop(state);
        Timer { slot, home: Rc::clone(self) }
    }

    /// Wakes everybody who waits with a timer, whatever its deadline: something else has changed.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> =
            self.state.borrow_mut().slots.iter_mut().filter_map(|slot| slot.waker.take()).collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Wakes the owners of expired timers, for ever.
    pub async fn drive(self: Rc<Timers>) {
        let mut sleep: std::pin::Pin<&mut Sleep> = pin!(sleep_until(self.start.into()));
        poll_fn(|cx| {
            loop {
                let next = self.fire(cx.waker());
                if next == NEVER {
                    return Poll::<()>::Pending;
                }
                sleep.as_mut().reset((self.start + STEP * next).into());
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Wakes what is due and answers when to look again.
    fn fire(&self, driver: &Waker) -> u32 {
        let now = self.steps(Instant::now());
        let mut due = Vec::new();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        while let Some(Reverse((moment, number))) = state.visits.peek().copied() {
            if moment > now {
                break;
            }
            state.visits.pop();
            let slot = &mut state.slots[number as usize];
            if slot.visit != moment {
                continue;
            }
            slot.visit = NEVER;
            if slot.deadline <= now {
                due.extend(slot.waker.take());
            } else if slot.deadline != NEVER {
                slot.visit = slot.deadline;
                state.visits.push(Reverse((slot.deadline, number)));
            }
        }
        state.next = state.visits.peek().map_or(NEVER, |Reverse((moment, _))| *moment);
        if !state.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            state.driver = Some(driver.clone());
        }
        for waker in due {
            waker.wake();
        }
        state.next
    }

    /// The step in which a moment lies.
    fn steps(&self, moment: Instant) -> u32 {
        u32::try_from(moment.saturating_duration_since(self.start).as_millis() / STEP.as_millis()).unwrap_or(NEVER - 1)
    }
}

impl Timer {
    /// Sets the deadline to `after` from `now`.
    pub fn arm(&self, now: Instant, after: Duration) {
        // One step more: the step that has begun counts for nothing.
        let steps = u32::try_from(after.as_millis().div_ceil(STEP.as_millis())).unwrap_or(NEVER / 2).min(NEVER / 2);
        let deadline = self.home.steps(now).saturating_add(steps + 1).min(NEVER - 1);
        let mut state = self.home.state.borrow_mut();
        let state = &mut *state;
        let slot = &mut state.slots[self.slot as usize];
        slot.deadline = deadline;
        if deadline < slot.visit {
            slot.visit = deadline;
            state.visits.push(Reverse((deadline, self.slot)));
            if deadline < state.next
                && let Some(driver) = &state.driver
            {
                driver.wake_by_ref();
            }
        }
    }

    /// Takes the deadline back.
    pub fn disarm(&self) {
        self.home.state.borrow_mut().slots[self.slot as usize].deadline = NEVER;
    }

    /// Ready once the deadline has passed; pending for ever while there is none.
    pub fn poll_expired(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.home.state.borrow_mut();
        let slot = &mut state.slots[self.slot as usize];
        if slot.deadline != NEVER && slot.visit == NEVER && slot.deadline <= self.home.steps(Instant::now()) {
            return Poll::Ready(());
        }
        if !slot.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut state = self.home.state.borrow_mut();
        let slot = &mut state.slots[self.slot as usize];
        slot.deadline = NEVER;
        slot.waker = None;
        // A visit that is still in the heap would find the slot's next owner; it finds a `visit` that differs.
        slot.visit = NEVER;
        state.free.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build_local(Default::default());
        runtime.expect("a runtime").block_on(test);
    }

    #[test]
    fn a_timer_fires_after_its_deadline_and_not_before() {
        run(async {
            let timers = Timers::new();
            tokio::task::spawn_local(Rc::clone(&timers).drive());
            let timer = timers.timer();
            let begin = Instant::now();
            timer.arm(begin, Duration::from_secs(3600));
            timer.arm(begin, Duration::from_millis(30));
            poll_fn(|cx| timer.poll_expired(cx)).await;
            assert!(begin.elapsed() >= Duration::from_millis(30));
        });
    }

    #[test]
    fn a_later_deadline_replaces_an_earlier_one() {
        run(async {
            let timers = Timers::new();
            tokio::task::spawn_local(Rc::clone(&timers).drive());
            let timer = timers.timer();
            let begin = Instant::now();
            timer.arm(begin, Duration::from_millis(20));
            timer.arm(begin, Duration::from_millis(60));
            poll_fn(|cx| timer.poll_expired(cx)).await;
            assert!(begin.elapsed() >= Duration::from_millis(60));
        });
    }

    #[test]
    fn a_slot_that_is_used_again_does_not_fire_for_its_former_owner() {
        run(async {
            let timers = Timers::new();
            tokio::task::spawn_local(Rc::clone(&timers).drive());
            let begin = Instant::now();
            let first = timers.timer();
            first.arm(begin, Duration::from_millis(20));
            drop(first);
            let second = timers.timer();
            second.arm(begin, Duration::from_millis(80));
            poll_fn(|cx| second.poll_expired(cx)).await;
            assert!(begin.elapsed() >= Duration::from_millis(80));
        });
    }
}
