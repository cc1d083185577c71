//! FP8 E4M3 values under one scale for the whole table.

use super::{
    encode::{self, largest_scaled},
    fp8::{E4M3_ROUNDS_TO_MOST, e4m3, nan_e4m3, to_e4m3},
    interface::{Codec, NanPlace, check_scale, convert},
    lanes::Simd,
    magnitude::TooLarge,
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

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        let scale = f32::from_bits(self.scale_bits);
        let most = largest_scaled(values, 0)?;
        if most == 0.0 {
            row.fill(0);
            return Ok(());
        }
        if most / scale.abs() > E4M3_ROUNDS_TO_MOST {
            return Err(TooLarge::largest_of(values, 0));
        }
        encode::convert(values, row, |value| [to_e4m3(value / scale)]);
        Ok(())
    }
}
