//! FP8 E4M3 values, then one UE8M0 scale for each group of consecutive values.

use super::{
    encode::{self, Scaling, scaled_groups},
    fp8::{E4M3_MOST, e4m3, nan_e4m3, nan_ue8m0, to_e4m3, ue8m0},
    interface::{Codec, NanPlace, check_group, convert},
    lanes::Simd,
    magnitude::TooLarge,
    scale::ScaleType,
};
use crate::error::FormatError;

/// [`super::RowCodec::Fp8Ue8m0`].
#[derive(Clone, Copy)]
pub(super) struct Fp8Ue8m0 {
    pub(super) width: u32,
    pub(super) group: u32,
}

impl Codec for Fp8Ue8m0 {
    fn id(self) -> u32 {
        4
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [self.width as usize, (self.width / self.group) as usize]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_group(self.width, self.group, 1, "a divisor of the width")
    }

    fn find_nan(self, values: &[u8], scales: &[u8]) -> Option<NanPlace> {
        nan_e4m3(values).or_else(|| nan_ue8m0(scales))
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, _simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let (values, scales) = row.split_at(self.width as usize);
        let group = self.group as usize;
        let groups = values.chunks_exact(group).zip(out.chunks_exact_mut(group));
        for ((values, out), &code) in groups.zip(scales) {
            let scale = ue8m0(code);
            convert(values, out, |[code]| round(e4m3(code) * scale));
        }
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        let scaling = Scaling {
            group: self.group,
            scale: ScaleType::Ue8m0,
            most: E4M3_MOST,
        };
        scaled_groups(scaling, values, row, |values, scale, codes| {
            encode::convert(values, codes, |value| [to_e4m3(value / scale)]);
        })
    }
}
