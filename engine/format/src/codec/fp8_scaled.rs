//! FP8 E4M3 values under one scale for the whole table.

use super::{
    fp8::{e4m3, nan_e4m3},
    interface::{Codec, NanPlace, convert},
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
        if f32::from_bits(self.scale_bits).is_finite() {
            return Ok(());
        }
        Err(FormatError::Codec {
            field: "scale_bits",
            found: self.scale_bits.into(),
            expected: "the bits of a finite f32",
        })
    }

    fn find_nan(self, values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        nan_e4m3(values)
    }

    #[inline]
    fn decode_row<T>(self, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let scale = f32::from_bits(self.scale_bits);
        convert(row, out, |[code]| round(e4m3(code) * scale));
    }
}
