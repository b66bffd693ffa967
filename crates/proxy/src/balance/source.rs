//! Source address, as HAProxy's `source`: the client's address is hashed over the servers by weight. It needs no table, but
//! when servers come or leave nearly every client moves.
//!
//! Where the chosen server may not be used the hash is hashed again, until it meets one that may: those whose server is
//! well stay where they are, and the others spread over the rest by weight.

use super::Member;
use base::xxh64::{hash, scale};

/// Where each server's part of the numbers ends.
#[derive(Debug)]
pub struct Parts {
    ends: Box<[u64]>,
}

impl Parts {
    /// The parts of these members.
    pub fn of(members: &[Member]) -> Parts {
        let mut end = 0;
        let ends = members.iter().map(|member| {
            end += u64::from(member.weight());
            end
        });
        Parts { ends: ends.collect() }
    }

    /// The servers in the order in which this hash meets them, again and again; none if there is none.
    pub(super) fn from(&self, first: u64) -> impl Iterator<Item = usize> {
        let total = self.ends.last().copied().unwrap_or(0);
        let next = |last: &u64| Some(hash(*last, b"again"));
        let hashes = std::iter::successors((total > 0).then_some(first), next);
        hashes.map(move |hash| self.ends.partition_point(|end| *end <= scale(hash, total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::members;

    const CLIENTS: u64 = 100_000;

    fn chosen(parts: &Parts, allowed: impl Fn(usize) -> bool) -> Vec<usize> {
        let client = |number: u64| hash(0, &number.to_be_bytes());
        (0..CLIENTS)
            .map(|number| parts.from(client(number)).find(|number| allowed(*number)).expect("a server"))
            .collect()
    }

    #[test]
    fn clients_spread_by_weight_over_those_that_are_left() {
        let parts = Parts::of(&members(&[1, 2, 0, 5]));
        let (all, left) = (chosen(&parts, |_| true), chosen(&parts, |number| number != 3));
        let share = |chosen: &[usize], wanted: usize| {
            chosen.iter().filter(|number| **number == wanted).count() as f64 / CLIENTS as f64
        };
        for (number, wanted) in [0.125, 0.25, 0.0, 0.625].into_iter().enumerate() {
            assert!((share(&all, number) - wanted).abs() < 0.01, "{number}");
        }
        for (number, wanted) in [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0].into_iter().enumerate() {
            assert!((share(&left, number) - wanted).abs() < 0.01, "{number}");
        }
        assert!(all.iter().zip(&left).all(|(was, is)| *was == 3 || was == is));
    }

    #[test]
    fn without_weight_there_is_nobody() {
        assert_eq!(Parts::of(&members(&[0, 0])).from(7).next(), None);
        assert_eq!(Parts::of(&[]).from(7).next(), None);
    }
}
