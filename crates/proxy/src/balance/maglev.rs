//! Maglev hashing: [`base::maglev`] fills the table, here it is asked.

use base::maglev;

use super::Member;

/// Which server each of [`maglev::PLACES`] belongs to.
#[derive(Debug)]
pub struct Table {
    places: Box<[u16]>,
}

impl Table {
    /// The table of these members; without any place if none has weight. Members beyond the 65,535th get nothing.
    pub fn of(members: &[Member]) -> Table {
        Table { places: maglev::places(members.iter().map(|member| (member.identity(), member.weight()))) }
    }

    /// The servers from the place of this hash on; without end unless there is none at all.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = base::xxh64::scale(hash, self.places.len() as u64) as usize;
        let (before, after) = self.places.split_at(start);
        after.iter().chain(before).map(|number| usize::from(*number))
    }
}

#[cfg(test)]
mod tests {
    use base::maglev::PLACES;
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
            (head, base::xxh64::hash(0, &bytes)),
            (vec![1, 2, 0, 2, 2, 2, 2, 1, 0, 2, 2, 0, 1, 1, 1, 2], 6_535_633_487_310_410_883)
        );
    }
}
