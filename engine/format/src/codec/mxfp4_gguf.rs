//! GGML's MXFP4: blocks of an exponent and 32 E2M1 nibbles, the first 16 values in the low ones.

use super::{
    fp4::E2M1_DOUBLED,
    interface::{Codec, NanPlace, blocks, check_blocks},
    lanes::Simd,
};
use crate::error::FormatError;

/// Values of a block.
const BLOCK_VALUES: u32 = 32;
/// Bytes of a block.
const BLOCK_BYTES: usize = 17;

/// 2^(code - 128), as GGML reads it: no code is a NaN.
#[inline(always)]
fn scale(code: u8) -> f32 {
    f32::from_bits(match code {
        // These two are subnormal.
        0 => 1 << 21,
        1 => 1 << 22,
        _ => u32::from(code - 1) << 23,
    })
}

/// [`super::RowCodec::Mxfp4Gguf`].
#[derive(Clone, Copy)]
pub(super) struct Mxfp4Gguf {
    pub(super) width: u32,
}

impl Codec for Mxfp4Gguf {
    fn id(self) -> u32 {
        15
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

    fn find_nan(self, _values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        None
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        blocks(row, out, |block: &[u8; BLOCK_BYTES], out: &mut [T; 32]| {
            let &[code, ref bytes @ ..] = block;
            let [low, high] = [simd.low_nibbles(bytes), simd.high_nibbles(bytes)];
            for (codes, out) in [low, high].into_iter().zip(out.as_chunks_mut().0) {
                let values = simd.look_up(&E2M1_DOUBLED, codes);
                simd.put(simd.times(values, scale(code)), out, &round);
            }
        });
    }
}
