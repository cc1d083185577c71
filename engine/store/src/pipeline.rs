//! Software pipelining over the rows of a batch.

use std::{
    array,
    ops::{Index, IndexMut, Range},
};

/// Rows of a block: as many cache lines as keep memory busy while another block is copied.
const BLOCK: usize = 16;

/// Takes the places `0..len` of a list through `STAGES` stages, a block of places at a time. Each step of
/// the iterator has one block for every stage: the block that the stage before had one step earlier. So
/// what a stage begins, such as a prefetch, has time to happen before the next stage needs it.
///
/// Prefetches should be in a loop of their own: each holds up the processor until the page of its address
/// is found, and only prefetches that follow one another closely are translated at the same time.
pub(crate) fn stages<const STAGES: usize>(
    len: usize,
) -> impl Iterator<Item = [Range<usize>; STAGES]> {
    (0..len.div_ceil(BLOCK) + STAGES - 1).map(move |step| {
        array::from_fn(|stage| {
            let start = |step: usize| len.min(step.saturating_sub(stage) * BLOCK);
            start(step)..start(step + 1)
        })
    })
}

/// Places that are between their first and last stage: three blocks at most. A power of two, since the
/// remainder is found faster.
const PLACES: usize = 4 * BLOCK;

/// What a stage leaves for the ones after it, for each place that is between its first and last stage.
#[derive(Debug)]
pub(crate) struct Window<T>([T; PLACES]);

impl<T: Copy> Window<T> {
    pub(crate) fn new(initial: T) -> Self {
        Self([initial; PLACES])
    }
}

impl<T> Index<usize> for Window<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: usize) -> &T {
        &self.0[place % PLACES]
    }
}

impl<T> IndexMut<usize> for Window<T> {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.0[place % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_every_place_in_order_a_block_after_the_one_before() {
        for len in 0..5 * BLOCK {
            let mut done = [0; 3];
            let mut window = Window::new(usize::MAX);
            for blocks in stages::<3>(len) {
                for (stage, places) in blocks.into_iter().enumerate() {
                    assert_eq!(places.start, done[stage]);
                    done[stage] = places.end;
                    for place in places {
                        if stage == 0 {
                            window[place] = place;
                        } else {
                            let before = len.min((place / BLOCK + 2) * BLOCK);
                            assert_eq!((done[stage - 1], window[place]), (before, place));
                        }
                    }
                }
            }
            assert_eq!(done, [len; 3]);
        }
    }
}
