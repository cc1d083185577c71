//! A cache that gives up the row not used for the longest time, for all sizes at once.

use std::collections::HashMap;

use engram::RowId;

/// For each look-up, how many different rows of all columns were asked for since the last time that this
/// one was: a cache that keeps so many and one more has it (Mattson and others, 1970). The rows of `seed`, which
/// differ, come before all look-ups.
pub(super) fn distances(seed: &[RowId], asked: &[Vec<RowId>]) -> Vec<Vec<Option<usize>>> {
    let positions = asked.first().map_or(0, Vec::len);
    let mut last: HashMap<RowId, usize> = seed.iter().copied().zip(0..).collect();
    let mut newest = Counts::new(seed.len() + positions * asked.len());
    (0..seed.len()).for_each(|at| newest.add(at, true));
    let mut found = vec![Vec::with_capacity(positions); asked.len()];
    let mut now = seed.len();
    for position in 0..positions {
        for (column, found) in asked.iter().zip(&mut found) {
            let before = last.insert(column[position], now);
            found.push(before.map(|before| {
                newest.add(before, false);
                newest.after(before)
            }));
            newest.add(now, true);
            now += 1;
        }
    }
    found
}

/// A Fenwick tree: which look-ups are the last ones of their row.
struct Counts {
    sums: Vec<usize>,
    all: usize,
}

impl Counts {
    fn new(len: usize) -> Self {
        Self {
            sums: vec![0; len + 1],
            all: 0,
        }
    }

    fn add(&mut self, at: usize, is_last: bool) {
        let mut index = at + 1;
        while index < self.sums.len() {
            if is_last {
                self.sums[index] += 1;
            } else {
                self.sums[index] -= 1;
            }
            index += index & index.wrapping_neg();
        }
        self.all = if is_last { self.all + 1 } else { self.all - 1 };
    }

    /// How many are after `at`.
    fn after(&self, at: usize) -> usize {
        let mut index = at + 1;
        let mut upto = 0;
        while index > 0 {
            upto += self.sums[index];
            index &= index - 1;
        }
        self.all - upto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_stack() {
        let asked = |rows: &[u64]| rows.iter().map(|&row| RowId(row)).collect::<Vec<_>>();
        let columns = [asked(&[1, 2, 1, 1, 3]), asked(&[10, 11, 10, 12, 11])];
        let found = distances(&[], &columns);
        assert_eq!(found[0], [None, None, Some(3), Some(1), None]);
        assert_eq!(found[1], [None, None, Some(3), None, Some(4)]);
        let found = distances(&asked(&[9, 2, 12, 10]), &columns);
        assert_eq!(found[0], [None, Some(3), Some(3), Some(1), None]);
        assert_eq!(found[1], [Some(1), None, Some(3), Some(4), Some(4)]);
    }
}
