//! Lists of rules merged into one ascending order.

/// The rules that some ascending lists name, each once, in ascending order.
///
/// Lists stay where they are in the index. Tables in which more of them overlap than have room here cost an allocation.
#[derive(Debug)]
pub(super) struct Candidates<'t> {
    from: u32,
    few: [&'t [u32]; ROOM],
    used: usize,
    more: Vec<&'t [u32]>,
}

/// An exact host, two wildcards and every host, each with an exact path, a prefix and every path.
const ROOM: usize = 12;

impl<'t> Candidates<'t> {
    /// No lists yet; rules before `from` are left out.
    pub(super) fn starting(from: u32) -> Candidates<'t> {
        Candidates { from, few: [&[]; ROOM], used: 0, more: Vec::new() }
    }

    /// Adds an ascending list.
    pub(super) fn add(&mut self, list: &'t [u32]) {
        let list = if self.from == 0 { list } else { &list[list.partition_point(|ordinal| *ordinal < self.from)..] };
        if list.is_empty() {
            return;
        }
        match self.few.get_mut(self.used) {
            Some(place) => {
                *place = list;
                self.used += 1;
            }
            None => self.more.push(list),
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let lists = self.few[..self.used].iter().chain(&self.more);
        let first = lists.filter_map(|list| list.first().copied()).min()?;
        for list in self.few[..self.used].iter_mut().chain(&mut self.more) {
            if let Some((head, rest)) = list.split_first()
                && *head == first
            {
                *list = rest;
            }
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_merged_without_duplicates() {
        let mut candidates = Candidates::starting(0);
        for list in [&[1, 4, 9][..], &[], &[0, 4], &[9], &[2]] {
            candidates.add(list);
        }
        assert_eq!(candidates.collect::<Vec<_>>(), [0, 1, 2, 4, 9]);
    }

    #[test]
    fn a_search_is_resumed_where_it_stood() {
        let mut candidates = Candidates::starting(4);
        candidates.add(&[1, 4, 9]);
        candidates.add(&[0, 3]);
        assert_eq!(candidates.collect::<Vec<_>>(), [4, 9]);
    }

    #[test]
    fn more_lists_than_there_is_room_for_are_merged_too() {
        let lists: Vec<[u32; 2]> = (0..3 * ROOM as u32).map(|n| [n, n + 1]).collect();
        let mut candidates = Candidates::starting(0);
        lists.iter().rev().for_each(|list| candidates.add(list));
        assert_eq!(candidates.collect::<Vec<_>>(), (0..=3 * ROOM as u32).collect::<Vec<_>>());
    }
}
