//! What every codec has to tell, and loops that they share.

use half::f16;

use super::{lanes::Simd, magnitude::TooLarge};
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
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T);

    /// Encodes one row of finite values. Both slices are one row long.
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge>;
}

/// The rows one by one, compiled into the caller for the processor that it is for.
#[inline(always)]
pub(super) fn each_row<C: Codec, S: Simd, T>(
    codec: C,
    simd: S,
    rows: &[u8],
    out: &mut [T],
    round: impl Fn(f32) -> T + Copy,
) {
    let [values, scales] = codec.plane_bytes();
    let rows = rows.chunks_exact(values + scales);
    for (row, out) in rows.zip(out.chunks_exact_mut(codec.width() as usize)) {
        codec.decode_row(simd, row, out, round);
    }
}

/// Where a row holds a code that is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanPlace {
    /// Index among the row's values.
    Value(usize),
    /// Index among the row's scales; of a block with two, its minimum's is the second.
    Scale(usize),
}

impl NanPlace {
    /// The place of a scale, where scales were searched as values.
    pub(super) fn of_scale(self) -> Self {
        let (Self::Value(index) | Self::Scale(index)) = self;
        Self::Scale(index)
    }
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
#[inline(always)]
pub(super) fn convert<T, const N: usize>(
    bytes: &[u8],
    out: &mut [T],
    decode: impl Fn([u8; N]) -> T,
) {
    for (&value, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = decode(value);
    }
}

/// Decodes blocks of `BYTES` bytes to `VALUES` values each.
#[inline(always)]
pub(super) fn blocks<T, const BYTES: usize, const VALUES: usize>(
    row: &[u8],
    out: &mut [T],
    decode: impl Fn(&[u8; BYTES], &mut [T; VALUES]),
) {
    let blocks = row.as_chunks::<BYTES>().0.iter();
    for (block, out) in blocks.zip(out.as_chunks_mut::<VALUES>().0) {
        decode(block, out);
    }
}

/// Checks that rows are whole blocks of `block` values.
pub(super) fn check_blocks(
    width: u32,
    block: u32,
    expected: &'static str,
) -> Result<(), FormatError> {
    if width.is_multiple_of(block) {
        return Ok(());
    }
    Err(FormatError::Codec {
        field: "width",
        found: width.into(),
        expected,
    })
}

/// Checks that groups of `group` values, which is a multiple of `least`, make rows of `width`.
pub(super) fn check_group(
    width: u32,
    group: u32,
    least: u32,
    expected: &'static str,
) -> Result<(), FormatError> {
    if group != 0 && group.is_multiple_of(least) && width.is_multiple_of(group) {
        return Ok(());
    }
    Err(FormatError::Codec {
        field: "group",
        found: group.into(),
        expected,
    })
}

/// The first of `SCALES` half-precision scales at the start of each block of `BYTES` bytes that is not finite: a code
/// of zero under an infinite scale is not a number either.
pub(super) fn scale_not_finite<const BYTES: usize, const SCALES: usize>(
    row: &[u8],
) -> Option<NanPlace> {
    let blocks = row.as_chunks::<BYTES>().0;
    let mut scales = blocks
        .iter()
        .flat_map(|block| &block.as_chunks().0[..SCALES]);
    let index = scales.position(|&scale| !f16::from_le_bytes(scale).is_finite());
    index.map(NanPlace::Scale)
}

/// Checks the scale of a whole table.
pub(super) fn check_scale(scale_bits: u32) -> Result<(), FormatError> {
    if f32::from_bits(scale_bits).is_finite() {
        return Ok(());
    }
    Err(FormatError::Codec {
        field: "scale_bits",
        found: scale_bits.into(),
        expected: "the bits of a finite f32",
    })
}
