//! Looking ahead in a batch.

/// An iterator that draws `2 * N` items before it gives out the first, and then `N` at a time, so that
/// what drawing one sets off, such as a prefetch, has time to happen.
///
/// Drawn one by one, prefetches would wait for one another: each holds up the processor until it knows
/// the address's page, and only neighbours in the instruction stream are looked up at the same time.
#[derive(Debug)]
pub(crate) struct Ahead<I: Iterator, const N: usize> {
    items: I,
    drawn: [[Option<I::Item>; N]; 2],
    turn: usize,
}

impl<I: Iterator, const N: usize> Ahead<I, N> {
    #[inline]
    pub(crate) fn new(mut items: I) -> Self {
        let mut draw = || std::array::from_fn(|_| items.next());
        Self {
            drawn: [draw(), draw()],
            items,
            turn: 0,
        }
    }
}

impl<I: Iterator, const N: usize> Iterator for Ahead<I, N> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        let (half, place) = (self.turn / N, self.turn % N);
        if place == 0 && self.drawn[half][0].is_none() {
            return None;
        }
        let item = self.drawn[half][place].take();
        self.turn = (self.turn + 1) % (2 * N);
        if place + 1 == N {
            self.drawn[half] = std::array::from_fn(|_| self.items.next());
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn items_keep_their_order_and_are_drawn_early() {
        for count in 0..20 {
            let drawn = Cell::new(0);
            let items = (0..count).inspect(|_| drawn.set(drawn.get() + 1));
            for (index, item) in Ahead::<_, 4>::new(items).enumerate() {
                assert_eq!(item, index);
                assert_eq!(drawn.get(), (8 + (index + 1) / 4 * 4).min(count));
            }
            assert_eq!(drawn.get(), count);
        }
    }
}
