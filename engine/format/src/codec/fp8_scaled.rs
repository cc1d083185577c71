//! FP8 E4M3 values under one scale for the whole table.

use super::{
    fp8::{e4m3, nan_e4m3},
    interface::{Codec, NanPlace, check_scale, convert},
    lanes::Simd,
};
use crate::error::FormatError;

/// [`super::RowCodec::Fp8Scaled`].
#[derive(Clone, Copy)]
pub(super) struct Fp8Scaled {
    pub(super) width: u32,
    pub(super) scale_bits: u32,
}

impl Codec for Fp8Scaled {
    fn id(self) -> u32 {
        5
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [self.width as usize, 0]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_scale(self.scale_bits)
    }

    fn find_nan(self, values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        nan_e4m3(values)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, _simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let scale = f32::from_bits(self.scale_bits);
        convert(row, out, |[code]| round(e4m3(code) * scale));
    }
}
