//! Values that are the upper half of a binary32, one after another.

use half::bf16;

use super::{
    encode,
    interface::{Codec, NanPlace, convert, nan_value},
    lanes::Simd,
    magnitude::{TooLarge, largest},
};

/// [`super::RowCodec::Bf16`].
#[derive(Clone, Copy)]
pub(super) struct Bfloat16 {
    pub(super) width: u32,
}

impl Codec for Bfloat16 {
    fn id(self) -> u32 {
        3
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [2 * self.width as usize, 0]
    }

    fn find_nan(self, values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        nan_value(values, |b| bf16::from_le_bytes(b).is_nan())
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, _simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        convert(row, out, |b| round(bf16::from_le_bytes(b).to_f32()));
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        encode::convert(values, row, |value| bf16::from_f32(value).to_le_bytes());
        // The largest value is the first to become infinite.
        if bf16::from_f32(largest(values)).is_infinite() {
            return Err(TooLarge::largest_of(values, 0));
        }
        Ok(())
    }
}
