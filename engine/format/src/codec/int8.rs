//! Signed bytes, then one scale for each group of consecutive values, or for the row.

use super::{
    encode::{self, Scaling, scaled_groups},
    interface::{Codec, NanPlace, check_group, convert},
    lanes::Simd,
    magnitude::{TooLarge, whole},
    scale::ScaleType,
};
use crate::error::FormatError;

/// Code of the largest value of a group; -128 is not made, so that signs are alike.
const MOST: f32 = 127.0;

/// [`super::RowCodec::Int8`].
#[derive(Clone, Copy)]
pub(super) struct Int8 {
    pub(super) width: u32,
    pub(super) group: u32,
    pub(super) scale: ScaleType,
}

impl Codec for Int8 {
    fn id(self) -> u32 {
        8
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        let groups = (self.width / self.group) as usize;
        [self.width as usize, groups * self.scale.bytes()]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_group(self.width, self.group, 1, "a divisor of the width")
    }

    fn find_nan(self, _values: &[u8], scales: &[u8]) -> Option<NanPlace> {
        self.scale.not_finite(scales)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, _simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let (values, scales) = row.split_at(self.width as usize);
        let group = self.group as usize;
        let groups = values.chunks_exact(group).zip(out.chunks_exact_mut(group));
        for (index, (values, out)) in groups.enumerate() {
            let scale = self.scale.get(scales, index);
            convert(values, out, |[code]| {
                round(f32::from(code.cast_signed()) * scale)
            });
        }
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        let scaling = Scaling {
            group: self.group,
            scale: self.scale,
            most: MOST,
        };
        scaled_groups(scaling, values, row, |values, scale, codes| {
            encode::convert(values, codes, |value| {
                [whole((value / scale).clamp(-MOST, MOST))]
            });
        })
    }
}
