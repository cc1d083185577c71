//! FP8 E4M3 values without scales.

use super::{
    fp8::{e4m3, nan_e4m3},
    interface::{Codec, NanPlace, convert},
    lanes::Simd,
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
}
