//! GGML's `IQ4_NL`: as `Q4_0`, but the codes name values that lie denser about zero.

use half::f16;

use super::{
    encode::{self, first_largest, half_scale, nibble_halves},
    interface::{Codec, NanPlace, blocks, check_blocks, scale_not_finite},
    lanes::{LANES, Simd},
    magnitude::TooLarge,
};
use crate::error::FormatError;

/// Values of a block.
const BLOCK_VALUES: u32 = 32;
/// Bytes of a block.
const BLOCK_BYTES: usize = 18;
/// GGML's values of the codes.
const TABLE: [f32; LANES] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// Blocks of smaller values are stored as zeros.
const LEAST: f32 = 1e-15;
/// Scales that are tried: one first, and those that make the largest value -127, and up to seven more and less.
const TRIES: usize = 16;

/// The nearest code, the upper one where two are as near.
#[inline(always)]
fn nearest(value: f32) -> u8 {
    let above = TABLE
        .windows(2)
        .map(|pair| value >= f32::midpoint(pair[0], pair[1]));
    above.map(u8::from).sum()
}

/// The value of the nearest code.
#[inline(always)]
fn nearest_value(value: f32) -> f32 {
    let step = |named, pair: &[f32]| {
        if value >= f32::midpoint(pair[0], pair[1]) {
            pair[1]
        } else {
            named
        }
    };
    TABLE.windows(2).fold(TABLE[0], step)
}

/// The scale under which the values are nearest to those of codes, weighted by their squares: each of the scales that
/// are tried gives codes, and for these there is a best scale by least squares.
#[inline(always)]
fn fit(values: &[f32; 32]) -> f32 {
    let largest = first_largest(values);
    if largest.abs() < LEAST {
        return 0.0;
    }
    let mut inverses = [0.0; TRIES];
    inverses[0] = 1.0 / (-largest / TABLE[0]);
    for (inverse, more) in inverses[1..].iter_mut().zip(-7_i16..) {
        *inverse = (f32::from(more) + TABLE[0]) / largest;
    }
    // What the values and the codes of each try have in common, and the codes' own size; the tries side by side, as
    // each of them needs its sums in order.
    let (mut common, mut own) = ([0.0; TRIES], [0.0; TRIES]);
    for &value in values {
        let weight = value * value;
        for tried in 0..TRIES {
            let named = nearest_value(inverses[tried] * value);
            let product = weight * named;
            common[tried] += product * value;
            own[tried] += product * named;
        }
    }
    let mut scale = if own[0] > 0.0 {
        common[0] / own[0]
    } else {
        0.0
    };
    let mut best = scale * common[0];
    for (&common, &own) in common[1..].iter().zip(&own[1..]) {
        if own > 0.0 && common * common > best * own {
            scale = common / own;
            best = scale * common;
        }
    }
    scale
}

/// [`super::RowCodec::Iq4Nl`].
#[derive(Clone, Copy)]
pub(super) struct Iq4Nl {
    pub(super) width: u32,
}

impl Codec for Iq4Nl {
    fn id(self) -> u32 {
        14
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [(self.width / BLOCK_VALUES) as usize * BLOCK_BYTES, 0]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_blocks(self.width, BLOCK_VALUES, "a multiple of 32")
    }

    fn find_nan(self, values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        scale_not_finite::<BLOCK_BYTES, 1>(values)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        blocks(row, out, |block: &[u8; BLOCK_BYTES], out: &mut [T; 32]| {
            let &[a, b, ref bytes @ ..] = block;
            let scale = f16::from_le_bytes([a, b]).to_f32();
            let [low, high] = [simd.low_nibbles(bytes), simd.high_nibbles(bytes)];
            for (codes, out) in [low, high].into_iter().zip(out.as_chunks_mut().0) {
                simd.put(simd.times(simd.look_up(&TABLE, codes), scale), out, &round);
            }
        });
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        encode::blocks(values, row, |values, block: &mut [u8; BLOCK_BYTES]| {
            let scale = fit(values);
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let (stored, codes) = block.split_at_mut(2);
            half_scale(scale, stored)?;
            nibble_halves(values, codes, |value| nearest(value * inverse));
            Some(())
        })
    }
}
