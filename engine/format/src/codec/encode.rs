//! What encoders share: loops, and the scale that is made of the largest value of a group.

use half::f16;

use super::{
    interface::Codec,
    magnitude::{TooLarge, largest},
    scale::ScaleType,
};
use crate::error::EncodeError;

/// Scaled values above this might be rounded to a row that decodes to infinity.
const MOST_SCALED: f32 = f32::from_bits(0x7E80_0000);
/// Encodes the rows one by one, compiled into the caller for the processor that it is for.
#[inline(always)]
pub(super) fn each_row<C: Codec>(
    codec: C,
    values: &[f32],
    rows: &mut [u8],
) -> Result<(), EncodeError> {
    let row_bytes = codec.plane_bytes().into_iter().sum();
    let values = values.chunks_exact(codec.width() as usize);
    for (row, (values, out)) in values.zip(rows.chunks_exact_mut(row_bytes)).enumerate() {
        if !largest(values).is_finite() {
            let value = values.iter().position(|value| !value.is_finite());
            let value = value.expect("one of them is the largest");
            let found = values[value];
            return Err(EncodeError::NotFinite { row, value, found });
        }
        if let Err(TooLarge(value)) = codec.encode_row(values, out) {
            let found = values[value];
            return Err(EncodeError::TooLarge { row, value, found });
        }
    }
    Ok(())
}

/// As [`largest`], for values that are to be stored under a scale.
#[inline(always)]
pub(super) fn largest_scaled(values: &[f32], start: usize) -> Result<f32, TooLarge> {
    let most = largest(values);
    if most > MOST_SCALED {
        return Err(TooLarge::largest_of(values, start));
    }
    Ok(most)
}

/// Encodes each of `values` to `N` bytes.
#[inline(always)]
pub(super) fn convert<const N: usize>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(f32) -> [u8; N],
) {
    for (&value, out) in values.iter().zip(out.as_chunks_mut().0) {
        *out = encode(value);
    }
}

/// Encodes blocks of `VALUES` values to `BYTES` bytes each.
#[inline(always)]
pub(super) fn blocks<const VALUES: usize, const BYTES: usize>(
    values: &[f32],
    row: &mut [u8],
    encode: impl Fn(&[f32; VALUES], &mut [u8; BYTES]) -> Option<()>,
) -> Result<(), TooLarge> {
    let blocks = values.as_chunks::<VALUES>().0.iter();
    for (index, (block, out)) in blocks.zip(row.as_chunks_mut().0).enumerate() {
        if encode(block, out).is_none() {
            return Err(TooLarge::largest_of(block, VALUES * index));
        }
    }
    Ok(())
}

/// How the largest value of a group becomes its scale.
#[derive(Clone, Copy)]
pub(super) struct Scaling {
    /// Values that share a scale.
    pub(super) group: u32,
    /// How it is stored.
    pub(super) scale: ScaleType,
    /// Code of the group's largest value.
    pub(super) most: f32,
}

/// Encodes groups of values, the codes to the front of `row` and their scales behind them. A scale is the largest value
/// of the group over its code; `encode` is given the values and the scale as it was stored.
#[inline(always)]
pub(super) fn scaled_groups(
    scaling: Scaling,
    values: &[f32],
    row: &mut [u8],
    encode: impl Fn(&[f32], f32, &mut [u8]),
) -> Result<(), TooLarge> {
    let group = scaling.group as usize;
    let groups = values.len() / group;
    let (codes, scales) = row.split_at_mut(row.len() - groups * scaling.scale.bytes());
    let codes = codes.chunks_exact_mut(codes.len() / groups);
    let scales = scales.chunks_exact_mut(scaling.scale.bytes());
    let groups = values.chunks_exact(group).zip(codes).zip(scales);
    for (index, ((values, codes), scale)) in groups.enumerate() {
        let most = largest_scaled(values, group * index)?;
        if most == 0.0 {
            codes.fill(0);
            scale.fill(0);
            continue;
        }
        let stored = scaling.scale.put(most / scaling.most, scale);
        let stored = stored.ok_or_else(|| TooLarge::largest_of(values, group * index))?;
        encode(values, stored, codes);
    }
    Ok(())
}

/// Puts nibbles to bytes as checkpoints have them: the first of two neighbours in the low one.
#[inline(always)]
pub(super) fn nibble_pairs(values: &[f32], out: &mut [u8], code: impl Fn(f32) -> u8) {
    for (&[low, high], out) in values.as_chunks().0.iter().zip(out) {
        *out = code(low) & 0xF | code(high) << 4;
    }
}

/// Puts nibbles to bytes as GGML has them: the first half of the values in the low ones.
#[inline(always)]
pub(super) fn nibble_halves(values: &[f32], out: &mut [u8], code: impl Fn(f32) -> u8) {
    let (low, high) = values.split_at(values.len() / 2);
    for ((&low, &high), out) in low.iter().zip(high).zip(out) {
        *out = code(low) & 0xF | code(high) << 4;
    }
}

/// The first of the values with the largest magnitude.
#[inline(always)]
pub(super) fn first_largest(values: &[f32; 32]) -> f32 {
    let most = largest(values);
    let first = values.iter().find(|value| value.abs() >= most);
    first.copied().unwrap_or(0.0)
}

/// Stores the scale of a block in half precision; none if it is too large for that.
#[inline(always)]
pub(super) fn half_scale(scale: f32, out: &mut [u8]) -> Option<()> {
    let stored = f16::from_f32(scale);
    out.copy_from_slice(&stored.to_le_bytes());
    stored.is_finite().then_some(())
}
