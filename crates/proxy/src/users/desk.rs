//! Where passwords are looked at whose hashes are slow on purpose: a queue of bounded length, and threads of control's behind it.
//!
//! A request waits for the answer; its worker does not. Who asks what another is asking already waits for the same answer, and what was
//! answered lately is not looked at again.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::secret::Secret;
use super::verdicts::{Key, Verdicts};
use crate::seal::Seal;

/// The queue, what is known, and what is counted.
#[derive(Debug)]
pub struct Desk {
    seal: Seal,
    state: Mutex<State>,
    bell: Condvar,
    verified: AtomicU64,
}

#[derive(Debug)]
struct State {
    jobs: VecDeque<Job>,
    /// Who waits for what, from when it is asked until it is answered.
    asked: FxHashMap<Key, Vec<oneshot::Sender<bool>>>,
    /// How many jobs each client has in the queue.
    clients: FxHashMap<IpAddr, usize>,
    known: Verdicts,
}

#[derive(Debug)]
struct Job {
    key: Key,
    client: IpAddr,
    secret: Arc<Secret>,
    password: Vec<u8>,
}

/// No more passwords wait than this; beyond it requests are told so.
const MOST_WAITING: usize = 256;
/// No more of them are one client's.
const MOST_OF_ONE: usize = 16;
/// No more wait for one answer.
const MOST_ALIKE: usize = 1024;
/// So many verdicts of each kind are kept.
const KNOWN: usize = 8192;

/// What the desk says when it is asked.
pub(super) enum Asked {
    /// It is known.
    Known(bool),
    /// It will be said here.
    Later(oneshot::Receiver<bool>),
    /// Too many others wait.
    Busy,
}

impl Desk {
    /// A desk whose keys are made with this seal.
    pub fn new(seal: Seal) -> Desk {
        let state = State {
            jobs: VecDeque::new(),
            asked: FxHashMap::default(),
            clients: FxHashMap::default(),
            known: Verdicts::new(KNOWN),
        };
        Desk { seal, state: Mutex::new(state), bell: Condvar::new(), verified: AtomicU64::new(0) }
    }

    /// Looks at one password after the other, for as long as the process lives. It is for threads that serve nobody else.
    pub fn work(&self) {
        loop {
            let mut state = self.lock();
            let job = loop {
                match state.jobs.pop_front() {
                    Some(job) => break job,
                    None => state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            let right = job.secret.is_of(&job.password);
            self.verified.fetch_add(1, Ordering::Relaxed);
            let mut state = self.lock();
            state.leave(job.client);
            state.known.note(job.key, right, Instant::now());
            let waiting = state.asked.remove(&job.key).unwrap_or_default();
            drop(state);
            // Whoever has gone meanwhile needs no answer.
            waiting.into_iter().for_each(|one| _ = one.send(right));
        }
    }

    /// How many passwords were looked at.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// Under which key a verdict on this password is kept.
    pub(super) fn key(&self, secret: &Secret, password: &[u8]) -> Key {
        let kept = secret.bytes();
        let length = (kept.len() as u32).to_be_bytes();
        self.seal.tag("password", &[&length[..], kept, password].concat())
    }

    /// A number for a text, which nobody can foretell.
    pub(super) fn draw(&self, text: &[u8], below: usize) -> usize {
        let tag = self.seal.tag("nobody", text);
        let number = tag.iter().take(8).fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        (number % below.max(1) as u64) as usize
    }

    /// Asks for a client's password.
    pub(super) fn ask(&self, key: Key, client: IpAddr, secret: &Arc<Secret>, password: &[u8]) -> Asked {
        let client = neighbourhood(client);
        let (say, hear) = oneshot::channel();
        let mut state = self.lock();
        if let Some(right) = state.known.find(&key, Instant::now()) {
            return Asked::Known(right);
        }
        if let Some(waiting) = state.asked.get_mut(&key) {
            if waiting.len() >= MOST_ALIKE {
                return Asked::Busy;
            }
            waiting.push(say);
            return Asked::Later(hear);
        }
        if state.jobs.len() >= MOST_WAITING || state.clients.get(&client).is_some_and(|jobs| *jobs >= MOST_OF_ONE) {
            return Asked::Busy;
        }
        state.asked.insert(key, vec![say]);
        *state.clients.entry(client).or_default() += 1;
        state.jobs.push_back(Job { key, client, secret: Arc::clone(secret), password: password.to_vec() });
        drop(state);
        self.bell.notify_one();
        Asked::Later(hear)
    }

    /// A panic in another thread leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave(&mut self, client: IpAddr) {
        if let Some(jobs) = self.clients.get_mut(&client) {
            *jobs -= 1;
            if *jobs == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

/// Who has one address of IPv6 has all of its network.
pub(crate) fn neighbourhood(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !0_u128 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn desk() -> Arc<Desk> {
        Arc::new(Desk::new(Seal::new(b"a secret of a test")))
    }

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    fn secret() -> Arc<Secret> {
        Arc::new(Secret::apr1("saltsalt$HIDXe7D36X22w1CH4M1cQ.").expect("a hash"))
    }

    fn ask(desk: &Desk, from: u32, password: &str) -> Asked {
        let secret = secret();
        let key = desk.key(&secret, password.as_bytes());
        desk.ask(key, client(from), &secret, password.as_bytes())
    }

    fn at_work(desk: &Arc<Desk>) {
        let desk = Arc::clone(desk);
        std::thread::spawn(move || desk.work());
    }

    #[test]
    fn one_look_answers_all_who_ask() {
        let desk = desk();
        let waiting: Vec<_> = (0..20).map(|n| ask(&desk, n, "open sesame")).collect();
        let wrong = ask(&desk, 1, "open");
        at_work(&desk);
        for asked in waiting {
            let Asked::Later(hear) = asked else { panic!("nothing is known yet") };
            assert_eq!(hear.blocking_recv(), Ok(true));
        }
        let Asked::Later(hear) = wrong else { panic!("nothing is known yet") };
        assert_eq!(hear.blocking_recv(), Ok(false));
        assert!(matches!(ask(&desk, 7, "open sesame"), Asked::Known(true)));
        assert!(matches!(ask(&desk, 7, "open"), Asked::Known(false)));
        assert_eq!(desk.verified(), 2);
    }

    #[test]
    fn the_queue_ends_and_one_client_has_not_all_of_it() {
        let desk = desk();
        let mut kept = Vec::new();
        for n in 0..MOST_OF_ONE {
            kept.push(ask(&desk, 1, &format!("guess {n}")));
        }
        assert!(kept.iter().all(|asked| matches!(asked, Asked::Later(_))));
        assert!(matches!(ask(&desk, 1, "one more"), Asked::Busy));
        // What is asked already costs nothing more.
        assert!(matches!(ask(&desk, 1, "guess 0"), Asked::Later(_)));
        for n in MOST_OF_ONE..MOST_WAITING {
            kept.push(ask(&desk, 2 + n as u32, &format!("guess {n}")));
        }
        assert!(kept.iter().all(|asked| matches!(asked, Asked::Later(_))));
        assert!(matches!(ask(&desk, 9999, "one more"), Asked::Busy));
        at_work(&desk);
        for asked in kept {
            let Asked::Later(hear) = asked else { panic!("nothing is known yet") };
            assert_eq!(hear.blocking_recv(), Ok(false));
        }
        assert!(matches!(ask(&desk, 1, "one more"), Asked::Later(_)));
        assert!(desk.lock().clients.len() <= 1, "who waits no more is not remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let same = |one: &str, two: &str| {
            neighbourhood(one.parse().expect("an address")) == neighbourhood(two.parse().expect("an address"))
        };
        assert!(same("2001:db8::1", "2001:db8::2:3:4:5") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("192.0.2.1", "192.0.2.2") && same("192.0.2.1", "::ffff:192.0.2.1"));
    }
}
