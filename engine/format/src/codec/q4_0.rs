//! GGML's `Q4_0`: blocks of a half-precision scale and 32 nibbles, the first 16 values in the low ones.

use half::f16;

use super::{
    encode::{self, first_largest, half_scale, nibble_halves},
    interface::{Codec, NanPlace, blocks, check_blocks, scale_not_finite},
    lanes::{LANES, Simd},
    magnitude::{TooLarge, whole},
};
use crate::error::FormatError;

/// Values of a block.
const BLOCK_VALUES: u32 = 32;
/// Bytes of a block.
const BLOCK_BYTES: usize = 18;
/// Codes less eight.
const TABLE: [f32; LANES] = [
    -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0,
];

/// [`super::RowCodec::Q4_0`].
#[derive(Clone, Copy)]
pub(super) struct Q4_0 {
    pub(super) width: u32,
}

impl Codec for Q4_0 {
    fn id(self) -> u32 {
        13
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
            let values: &[f32; 32] = values;
            let scale = first_largest(values) / -8.0;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let (stored, codes) = block.split_at_mut(2);
            half_scale(scale, stored)?;
            nibble_halves(values, codes, |value| {
                whole((value * inverse + 8.5).trunc().min(15.0))
            });
            Some(())
        })
    }
}
