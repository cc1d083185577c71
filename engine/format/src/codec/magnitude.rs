//! The largest of some values, and the nearest whole number to one.

/// All bits of an `f32` but its sign.
const MAGNITUDE: u32 = 0x7FFF_FFFF;
/// Added to a number below 2^21, it leaves the nearest whole one in the low bits, ties to even.
const WHOLE: f32 = 12_582_912.0;

/// The value at that index of a row is larger than its codec can store.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooLarge(pub(super) usize);

impl TooLarge {
    /// The largest of `values`, the first of which is at `start` of its row.
    #[cold]
    pub(super) fn largest_of(values: &[f32], start: usize) -> Self {
        let most = largest(values);
        let place = values.iter().position(|value| value.abs() >= most);
        Self(start + place.unwrap_or(0))
    }
}

/// The largest magnitude of `values`; NaN if one of them is.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    // As whole numbers, magnitudes have the same order, and compilers may take them in any order.
    let magnitudes = values.iter().map(|value| value.to_bits() & MAGNITUDE);
    f32::from_bits(magnitudes.fold(0, u32::max))
}

/// The nearest whole number to one from -2^21 to 2^21, ties to even, as a byte in two's complement.
#[inline(always)]
pub(super) fn whole(value: f32) -> u8 {
    let [low, ..] = (value + WHOLE).to_bits().to_le_bytes();
    low
}
