//! FP8 E4M3 values without scales.

use super::{
    encode,
    fp8::{E4M3_ROUNDS_TO_MOST, e4m3, nan_e4m3, to_e4m3},
    interface::{Codec, NanPlace, convert},
    lanes::Simd,
    magnitude::{TooLarge, largest},
};

/// [`super::RowCodec::Fp8`].
#[derive(Clone, Copy)]
pub(super) struct Fp8Plain {
    pub(super) width: u32,
}

impl Codec for Fp8Plain {
    fn id(self) -> u32 {
        6
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [self.width as usize, 0]
    }

    fn find_nan(self, values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        nan_e4m3(values)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, _simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        convert(row, out, |[code]| round(e4m3(code)));
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        if largest(values) > E4M3_ROUNDS_TO_MOST {
            return Err(TooLarge::largest_of(values, 0));
        }
        encode::convert(values, row, |value| [to_e4m3(value)]);
        Ok(())
    }
}
