//! GGML's MXFP4: blocks of an exponent and 32 E2M1 nibbles, the first 16 values in the low ones.

use super::{
    encode::{self, nibble_halves},
    fp4::{E2M1_DOUBLED, E2M1_EXPONENT, to_e2m1_of_ggml},
    fp8::exponent_code,
    interface::{Codec, NanPlace, blocks, check_blocks},
    lanes::Simd,
    magnitude::{TooLarge, largest},
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

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        encode::blocks(values, row, |values, block: &mut [u8; BLOCK_BYTES]| {
            let values: &[f32; 32] = values;
            let [stored, codes @ ..] = block;
            *stored = exponent_code(largest(values), E2M1_EXPONENT);
            let scale = scale(*stored);
            nibble_halves(values, codes, |value| to_e2m1_of_ggml(value, scale));
            Some(())
        })
    }
}
