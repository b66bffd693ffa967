//! Every key of the schema is shown by its effect: on the wire, in the log or in state.
//!
//! Each case starts the real program with the key set and sees what would not be without it. A key without a case fails
//! [`every_key_has_a_case`], and so does a case of a key that is gone. Levels share one description of their keys:
//! the cases in [`levels`] and [`endings`] run at each level that has them.

mod bandwidth;
mod canary;
mod capture;
mod compress;
mod endings;
mod filter;
mod forward;
mod health;
mod levels;
mod listeners;
mod matching;
mod mirror;
mod nat;
mod policies;
mod pools;
mod process;
mod quota;
mod tcp;
mod tls;
mod udp;
mod users;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use testkit::{Tidegate, failure_of};

use crate::support::{BINARY, get};

/// Keys, by the names that [`config::all_keys`] gives them, and a run of the program that shows the effect of each.
type Case = (&'static [&'static str], fn());

/// Those whose cases are tests of their own, with their friends, are not shown here again.
const AREAS: [&[Case]; 21] = [
    health::CASES,
    process::CASES,
    listeners::CASES,
    levels::CASES,
    endings::CASES,
    canary::CASES,
    capture::CASES,
    bandwidth::CASES,
    quota::CASES,
    matching::CASES,
    policies::CASES,
    mirror::CASES,
    compress::CASES,
    filter::CASES,
    pools::CASES,
    tls::CASES,
    nat::CASES,
    tcp::CASES,
    udp::CASES,
    forward::CASES,
    users::CASES,
];

/// Cases that run at a time in each area: most of them only wait.
const AT_ONCE: usize = 6;

#[test]
fn every_key_has_a_case() {
    let cases: Vec<&str> =
        AREAS.iter().flat_map(|area| area.iter()).flat_map(|(keys, _)| keys.iter().copied()).collect();
    let keys = config::all_keys();
    let missing: Vec<_> = keys.iter().filter(|key| !cases.contains(&key.as_str())).collect();
    assert!(missing.is_empty(), "keys whose effect no case shows: {missing:#?}");
    let gone: Vec<_> = cases.iter().filter(|case| !keys.iter().any(|key| key == *case)).collect();
    assert!(gone.is_empty(), "cases of no key: {gone:#?}");
}

#[test]
fn health() {
    show(health::CASES);
}

#[test]
fn process() {
    show(process::CASES);
}

#[test]
fn listeners() {
    show(listeners::CASES);
}

#[test]
fn levels() {
    show(levels::CASES);
}

#[test]
fn endings() {
    show(endings::CASES);
}

#[test]
fn canaries() {
    show(canary::CASES);
}

#[test]
fn bandwidths() {
    show(bandwidth::CASES);
}

#[test]
fn quotas() {
    show(quota::CASES);
}

#[test]
fn captures() {
    show(capture::CASES);
}

#[test]
fn matching() {
    show(matching::CASES);
}

#[test]
fn mirrors() {
    show(mirror::CASES);
}

#[test]
fn compression() {
    show(compress::CASES);
}

#[test]
fn filters() {
    show(filter::CASES);
}

#[test]
fn policies() {
    show(policies::CASES);
}

#[test]
fn pools() {
    show(pools::CASES);
}

#[test]
fn nat() {
    show(nat::CASES);
}

fn show(cases: &'static [Case]) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((keys, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(case).is_err() {
                        failed.lock().expect("a list").push(keys);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("a list");
    assert!(failed.is_empty(), "keys without the effect that they should have: {failed:#?}");
}

/// The status of a plain request and the fault in its access line.
fn fate(tidegate: &Tidegate, path: &str) -> (u16, String) {
    let status = tidegate.client().ask(get(path, "")).status;
    (status, fault(tidegate, path))
}

/// The fault in the access line of the request for this path.
fn fault(tidegate: &Tidegate, path: &str) -> String {
    tidegate.log_of(path)["fault"].as_str().unwrap_or_default().to_owned()
}

/// A configuration is refused with these words: of a key with a single working word, that is the effect.
fn assert_refused(config: &str, words: &str) {
    let (code, said) = failure_of(BINARY, config);
    assert!(code == Some(2) && said.contains(words), "{code:?}: {said}");
}
