//! GGML's `Q8_0`: blocks of a half-precision scale and 32 signed bytes.

use half::f16;

use super::{
    encode::{self, half_scale},
    interface::{Codec, NanPlace, blocks, check_blocks, scale_not_finite},
    lanes::Simd,
    magnitude::{TooLarge, largest, whole},
};
use crate::error::FormatError;

/// Values of a block.
const BLOCK_VALUES: u32 = 32;
/// Bytes of a block.
const BLOCK_BYTES: usize = 34;

/// [`super::RowCodec::Q8_0`].
#[derive(Clone, Copy)]
pub(super) struct Q8_0 {
    pub(super) width: u32,
}

impl Codec for Q8_0 {
    fn id(self) -> u32 {
        12
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
            let &[a, b, ref codes @ ..] = block;
            let scale = f16::from_le_bytes([a, b]).to_f32();
            blocks(codes, out, |bytes, out| {
                simd.put(simd.times(simd.integers(bytes), scale), out, &round);
            });
        });
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        encode::blocks(values, row, |values, block: &mut [u8; BLOCK_BYTES]| {
            let values: &[f32; 32] = values;
            let scale = largest(values) / 127.0;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let (stored, codes) = block.split_at_mut(2);
            half_scale(scale, stored)?;
            encode::convert(values, codes, |value| [whole((value * inverse).round())]);
            Some(())
        })
    }
}
