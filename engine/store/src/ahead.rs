//! Looking ahead in a batch.

/// An iterator that draws `N` items before it gives out the first, so that what drawing one sets off,
/// such as a prefetch, has time to happen.
#[derive(Debug)]
pub(crate) struct Ahead<I: Iterator, const N: usize> {
    items: I,
    drawn: [Option<I::Item>; N],
    turn: usize,
}

impl<I: Iterator, const N: usize> Ahead<I, N> {
    #[inline]
    pub(crate) fn new(mut items: I) -> Self {
        Self {
            drawn: std::array::from_fn(|_| items.next()),
            items,
            turn: 0,
        }
    }
}

impl<I: Iterator, const N: usize> Iterator for Ahead<I, N> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        let item = std::mem::replace(&mut self.drawn[self.turn], self.items.next());
        self.turn = (self.turn + 1) % N;
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
            for (index, item) in Ahead::<_, 8>::new(items).enumerate() {
                assert_eq!(item, index);
                assert_eq!(drawn.get(), (index + 9).min(count));
            }
            assert_eq!(drawn.get(), count);
        }
    }
}
