//! GGML's `IQ4_NL`: as `Q4_0`, but the codes name values that lie denser about zero.

use half::f16;

use super::{
    interface::{Codec, NanPlace, blocks, check_blocks, scale_not_finite},
    lanes::{LANES, Simd},
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
}
