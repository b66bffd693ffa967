//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4):
//! every server fills a table along a permutation of its own, in turn, so that all get the same number of places, and one
//! that leaves moves few places of the others. Weights as Envoy has them: a server's turn comes as often as its weight,
//! measured by the largest, says.

use crate::xxh64::hash;

/// A prime, as the permutations ask for. The paper's own: a hundred places for each of 655 servers keep shares within 1 %.
pub const PLACES: usize = 65_537;

/// Whom a place belongs to before it is filled. No member has this number.
const EMPTY: u16 = u16::MAX;

/// What stands for a server in every table, whoever makes it: its name and its address.
pub fn identity(name: &str, address: &dyn std::fmt::Display) -> Box<[u8]> {
    format!("{name}\0{address}").into_bytes().into()
}

/// Which member, by its number in this order, each of [`PLACES`] belongs to, for members with an identity and a weight; without
/// any place if none has weight. Members beyond the 65,535th get nothing.
pub fn places<'a>(members: impl Iterator<Item = (&'a [u8], u32)>) -> Box<[u16]> {
    let mut turns: Vec<Turn> =
        members.zip(0..EMPTY).filter_map(|((identity, weight), number)| Turn::of(identity, weight, number)).collect();
    let Some(most) = turns.iter().map(|turn| turn.weight).max() else { return Box::default() };
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
                return places.into();
            }
        }
    }
    unreachable!("the heaviest fills a place in every round")
}

/// A member on its way along its permutation.
struct Turn {
    number: u16,
    weight: u64,
    /// What its rounds must add up to before it gets its next place.
    due: u64,
    at: usize,
    skip: usize,
}

impl Turn {
    fn of(identity: &[u8], weight: u32, number: u16) -> Option<Turn> {
        let modulo = |hash: u64, by: usize| (hash % by as u64) as usize;
        let at = modulo(hash(0, identity), PLACES);
        let skip = modulo(hash(1, identity), PLACES - 1) + 1;
        (weight > 0).then_some(Turn { number, weight: u64::from(weight), due: 0, at, skip })
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
    use super::*;

    fn table(weights: &[u32]) -> Box<[u16]> {
        let names: Vec<Box<[u8]>> = (0..weights.len()).map(|number| identity("s", &number)).collect();
        places(names.iter().map(|name| &**name).zip(weights.iter().copied()))
    }

    /// The same for ever: another table would send clients of all nodes elsewhere.
    #[test]
    fn a_table_never_changes() {
        let table = table(&[1, 2, 3, 0]);
        let bytes: Vec<u8> = table.iter().map(|number| *number as u8).collect();
        assert_eq!((table.len(), hash(0, &bytes)), (PLACES, 4_711_610_050_266_697_138));
        assert!(!table.contains(&3));
    }

    #[test]
    fn without_weight_there_is_no_place() {
        assert!(table(&[]).is_empty() && table(&[0, 0]).is_empty());
    }
}
