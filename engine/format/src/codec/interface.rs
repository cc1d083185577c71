//! What every codec has to tell, and loops that they share.

use crate::error::FormatError;

/// One way to store the values of a row.
pub(super) trait Codec: Copy {
    /// Its number in a shard header.
    fn id(self) -> u32;

    /// Values a row.
    fn width(self) -> u32;

    /// Bytes that a row takes from the checkpoint's tensor of values and from that of scales.
    fn plane_bytes(self) -> [usize; 2];

    /// Checks every parameter but the width.
    fn validate(self) -> Result<(), FormatError> {
        Ok(())
    }

    /// The first code of a row that is not a number.
    fn find_nan(self, values: &[u8], scales: &[u8]) -> Option<NanPlace>;

    /// Decodes one row, each value through `round`. Both slices are one row long.
    fn decode_row<T>(self, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T);
}

/// Where a row holds a code that is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanPlace {
    /// Index among the row's values.
    Value(usize),
    /// Index among the row's scales.
    Scale(usize),
}

/// The first value of `N` bytes that is not a number.
pub(super) fn nan_value<const N: usize>(
    bytes: &[u8],
    is_nan: impl Fn([u8; N]) -> bool,
) -> Option<NanPlace> {
    let values = bytes.as_chunks::<N>().0;
    // A pass without early exit runs over whole vectors; rows hardly ever hold a NaN.
    let any = values.iter().fold(false, |any, &value| any | is_nan(value));
    let index = any.then(|| values.iter().position(|&value| is_nan(value)))?;
    index.map(NanPlace::Value)
}

/// Decodes values of `N` bytes, as many as `out` has.
#[inline]
pub(super) fn convert<T, const N: usize>(
    bytes: &[u8],
    out: &mut [T],
    decode: impl Fn([u8; N]) -> T,
) {
    for (&value, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = decode(value);
    }
}
