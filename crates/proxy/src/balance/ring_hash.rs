//! Ring hash (Karger et al., "Consistent Hashing and Random Trees", 1997; as a ring of points in Jones, "libketama", 2007):
//! every server stands at many points of a ring, and a hash belongs to the server of the next point. One that leaves moves
//! nothing but its own.

use super::Member;

/// The ring.
#[derive(Debug)]
pub struct Ring {
    /// In order; beside each the server that stands there.
    points: Box<[u64]>,
    numbers: Box<[u16]>,
}

/// Points of a server for each unit of its weight: shares are then within 10 % of the weights.
const POINTS: u64 = 1024;
/// More points than this are halved for everybody, as often as it takes; each server keeps at least one.
const MOST_POINTS: u64 = 1 << 18;

impl Ring {
    /// The ring of these members; without a point if none has weight. Members beyond the 65,536th get nothing.
    pub fn of(members: &[Member]) -> Ring {
        let total: u64 = members.iter().map(|member| u64::from(member.weight()) * POINTS).sum();
        let halvings = (0..u64::BITS).find(|by| total >> by <= MOST_POINTS).unwrap_or(0);
        let mut points = Vec::new();
        for (member, number) in members.iter().zip(0..=u16::MAX).filter(|(member, _)| member.weight() > 0) {
            let count = ((u64::from(member.weight()) * POINTS) >> halvings).max(1);
            points.extend((0..count).map(|point| (member.hash(point), number)));
        }
        points.sort_unstable();
        Ring {
            numbers: points.iter().map(|point| point.1).collect(),
            points: points.iter().map(|point| point.0).collect(),
        }
    }

    /// The servers from the first point at or behind this hash on, round to the one before it.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = self.points.partition_point(|point| *point < hash);
        let (before, after) = self.numbers.split_at(start);
        after.iter().chain(before).map(|number| usize::from(*number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::members;

    /// How much of the ring each server has.
    fn shares(ring: &Ring, count: usize) -> Vec<f64> {
        let mut shares = vec![0.0; count];
        let mut before = *ring.points.last().expect("a point");
        for (point, number) in ring.points.iter().zip(&ring.numbers) {
            shares[usize::from(*number)] += point.wrapping_sub(before) as f64 / 2.0_f64.powi(64);
            before = *point;
        }
        shares
    }

    /// At 1024 points a server, whatever the servers are called.
    #[test]
    fn shares_are_within_a_tenth_of_the_weights() {
        for weights in [&[1; 2][..], &[1; 3], &[1; 5], &[1; 10], &[1, 2, 3], &[5, 1, 1, 3]] {
            let total: u32 = weights.iter().sum();
            for (share, weight) in shares(&Ring::of(&members(weights)), weights.len()).iter().zip(weights) {
                let wanted = f64::from(*weight) / f64::from(total);
                assert!((share / wanted - 1.0).abs() < 0.1, "{share} {wanted} of {weights:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The least that is possible: what the leaver had, and nothing else.
        #[test]
        fn one_that_leaves_moves_nothing_else(
            weights in prop::collection::vec(1..4_u32, 2..20),
            leaver in any::<prop::sample::Index>(),
            hashes in prop::collection::vec(any::<u64>(), 100),
        ) {
            let all = members(&weights);
            let leaver = leaver.index(all.len());
            let mut rest = all.clone();
            rest.remove(leaver);
            let (before, after) = (Ring::of(&all), Ring::of(&rest));
            for hash in hashes {
                let was = before.from(hash).next().expect("a server");
                let is = after.from(hash).next().expect("a server");
                let is = is + usize::from(is >= leaver);
                prop_assert!(was == leaver || was == is);
                // Who is passed over leaves its clients to the same servers as who is gone.
                prop_assert_eq!(before.from(hash).find(|number| *number != leaver), Some(is));
            }
        }
    }

    #[test]
    fn a_ring_stays_small() {
        for weights in [vec![65_535; 20], vec![1; 2000], vec![1, 65_535]] {
            let ring = Ring::of(&members(&weights));
            assert!(ring.points.len() <= MOST_POINTS as usize + weights.len());
            let all: std::collections::BTreeSet<_> = ring.numbers.iter().collect();
            assert_eq!(all.len(), weights.len());
        }
        assert!(Ring::of(&members(&[0, 0])).points.is_empty());
    }

    /// The same for ever: another ring would send clients of all nodes elsewhere.
    #[test]
    fn a_ring_never_changes() {
        let ring = Ring::of(&members(&[1, 2, 3]));
        let head: Vec<usize> = ring.from(0).take(16).collect();
        let bytes: Vec<u8> = ring.numbers.iter().map(|number| *number as u8).collect();
        assert_eq!(
            (head, base::xxh64::hash(0, &bytes)),
            (vec![1, 2, 1, 2, 2, 1, 0, 1, 0, 1, 2, 1, 1, 2, 2, 1], 18_198_382_668_268_636_506)
        );
    }
}
