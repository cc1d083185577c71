//! IEEE binary32 values, one after another.

use super::{
    encode,
    interface::{Codec, NanPlace, convert, nan_value},
    lanes::Simd,
    magnitude::TooLarge,
};

/// [`super::RowCodec::F32`].
#[derive(Clone, Copy)]
pub(super) struct Float32 {
    pub(super) width: u32,
}

impl Codec for Float32 {
    fn id(self) -> u32 {
        1
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [4 * self.width as usize, 0]
    }

    fn find_nan(self, values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        nan_value(values, |b| f32::from_le_bytes(b).is_nan())
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, _simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        convert(row, out, |b| round(f32::from_le_bytes(b)));
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        encode::convert(values, row, f32::to_le_bytes);
        Ok(())
    }
}
