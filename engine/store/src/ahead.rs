//! Looking ahead in a batch.

use std::{
    array,
    ops::{Index, IndexMut, Range},
};

/// Rows of a block: as many cache lines as keep memory busy while another block is copied.
const BLOCK: usize = 16;

/// Takes the places `0..len` of a batch through `STAGES` stages in blocks. Each turn has a block for every
/// stage, the one that the stage before had in the turn before; so what a stage sets off, such as a
/// prefetch, has time to happen.
///
/// Prefetches should come in a loop of their own: each holds up the processor until it knows the
/// address's page, and only neighbours in the instruction stream are looked up at the same time.
pub(crate) fn turns<const STAGES: usize>(
    len: usize,
) -> impl Iterator<Item = [Range<usize>; STAGES]> {
    (0..len.div_ceil(BLOCK) + STAGES - 1).map(move |turn| {
        array::from_fn(|stage| {
            let start = |turn: usize| len.min(turn.saturating_sub(stage) * BLOCK);
            start(turn)..start(turn + 1)
        })
    })
}

/// Places that stages can be apart: three blocks' at most, and a power of two is found faster.
const KEPT: usize = 4 * BLOCK;

/// What one stage leaves for the next two, by place in the batch.
#[derive(Debug)]
pub(crate) struct Left<T>([T; KEPT]);

impl<T: Copy> Left<T> {
    pub(crate) fn new(nothing: T) -> Self {
        Self([nothing; KEPT])
    }
}

impl<T> Index<usize> for Left<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: usize) -> &T {
        &self.0[place % KEPT]
    }
}

impl<T> IndexMut<usize> for Left<T> {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.0[place % KEPT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_every_place_in_order_a_block_after_the_one_before() {
        for len in 0..5 * BLOCK {
            let mut done = [0; 3];
            let mut left = Left::new(usize::MAX);
            for stages in turns::<3>(len) {
                for (stage, places) in stages.into_iter().enumerate() {
                    assert_eq!(places.start, done[stage]);
                    done[stage] = places.end;
                    for place in places {
                        if stage == 0 {
                            left[place] = place;
                        } else {
                            let before = len.min((place / BLOCK + 2) * BLOCK);
                            assert_eq!((done[stage - 1], left[place]), (before, place));
                        }
                    }
                }
            }
            assert_eq!(done, [len; 3]);
        }
    }
}
