//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4):
//! every server fills a table along a permutation of its own, in turn, so that all get the same number of places, and one
//! that leaves moves few places of the others. Weights as Envoy has them: a server's turn comes as often as its weight,
//! measured by the largest, says.

use super::Member;

/// Which server each of [`PLACES`] belongs to.
#[derive(Debug)]
pub struct Table {
    places: Box<[u16]>,
}

/// A prime, as the permutations ask for. The paper's own: a hundred places for each of 655 servers keep shares within 1 %.
const PLACES: usize = 65_537;
const EMPTY: u16 = u16::MAX;

impl Table {
    /// The table of these members; without any place if none has weight. Members beyond the 65,535th get nothing.
    pub fn of(members: &[Member]) -> Table {
        let mut turns: Vec<Turn> =
            members.iter().zip(0..EMPTY).filter_map(|(member, number)| Turn::of(member, number)).collect();
        let Some(most) = turns.iter().map(|turn| turn.weight).max() else { return Table { places: Box::default() } };
        let mut places = vec![EMPTY; PLACES];
        let mut left = PLACES;
        for round in 1.. {
            for turn in &mut turns {
                if round * turn.weight < turn.due {
                    continue;
                }
                turn.due += most;
                let at = turn.next(&places);
                places[at] = turn.number;
                left -= 1;
                if left == 0 {
                    return Table { places: places.into() };
                }
            }
        }
        unreachable!("the heaviest fills a place in every round")
    }

    /// The servers from the place of this hash on; without end unless there is none at all.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = super::hash::scale(hash, self.places.len() as u64) as usize;
        let (before, after) = self.places.split_at(start);
        after.iter().chain(before).map(|number| usize::from(*number))
    }
}

/// A server on its way along its permutation.
struct Turn {
    number: u16,
    weight: u64,
    /// What its rounds must add up to before it gets its next place.
    due: u64,
    at: usize,
    skip: usize,
}

impl Turn {
    fn of(member: &Member, number: u16) -> Option<Turn> {
        let modulo = |hash: u64, by: usize| (hash % by as u64) as usize;
        let at = modulo(member.hash(0), PLACES);
        let skip = modulo(member.hash(1), PLACES - 1) + 1;
        let weight = u64::from(member.weight());
        (weight > 0).then_some(Turn { number, weight, due: 0, at, skip })
    }

    /// The next place of its permutation that is empty.
    fn next(&mut self, places: &[u16]) -> usize {
        loop {
            let at = self.at;
            self.at = (at + self.skip) % PLACES;
            if places[at] == EMPTY {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::members;

    fn shares(table: &Table, count: usize) -> Vec<f64> {
        let mut shares = vec![0.0; count];
        table.places.iter().for_each(|number| shares[usize::from(*number)] += 1.0 / PLACES as f64);
        shares
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Far within one percentage point of the weights.
        #[test]
        fn places_follow_weights(weights in prop::collection::vec(0..100_u32, 1..20)) {
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let table = Table::of(&members(&weights));
            prop_assert_eq!(table.places.is_empty(), total == 0.0);
            for (share, weight) in shares(&table, weights.len()).iter().zip(&weights).filter(|_| total > 0.0) {
                prop_assert!((share - f64::from(*weight) / total).abs() < 0.001, "{share} {weight} of {total}");
            }
        }

        /// A server that leaves moves its own places, which nobody can avoid, and few of the others: here fewer than 3 %.
        #[test]
        fn one_that_leaves_moves_little_else(count in 2..50_usize, leaver in any::<prop::sample::Index>()) {
            let all = members(&vec![1; count]);
            let leaver = leaver.index(count);
            let mut rest = all.clone();
            rest.remove(leaver);
            let (before, after) = (Table::of(&all), Table::of(&rest));
            let stays = |number: u16| usize::from(number) != leaver;
            let old = |number: u16| usize::from(number) + usize::from(usize::from(number) >= leaver);
            let pairs = before.places.iter().zip(&after.places);
            let moved = pairs.filter(|(was, is)| stays(**was) && usize::from(**was) != old(**is)).count();
            prop_assert!(moved < PLACES * 3 / 100, "{moved}");
        }
    }

    #[test]
    fn the_heaviest_and_the_lightest_weight_get_along() {
        let shares = shares(&Table::of(&members(&[65_535, 1])), 2);
        assert!(shares[0] > 0.9999 && shares[1] > 0.0, "{shares:?}");
    }

    /// The same for ever: another table would send clients of all nodes elsewhere.
    #[test]
    fn a_table_never_changes() {
        let table = Table::of(&members(&[1, 2, 3]));
        let head: Vec<usize> = table.from(0).take(16).collect();
        let bytes: Vec<u8> = table.places.iter().map(|number| *number as u8).collect();
        assert_eq!(
            (head, super::super::hash::hash(0, &bytes)),
            (vec![1, 2, 0, 2, 2, 2, 2, 1, 0, 2, 2, 0, 1, 1, 1, 2], 6_535_633_487_310_410_883)
        );
    }
}
