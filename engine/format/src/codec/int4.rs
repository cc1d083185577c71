//! Signed nibbles, neighbours in one byte, then one scale for each group of consecutive values, or for the row.

use super::{
    encode::{Scaling, nibble_pairs, scaled_groups},
    interface::{Codec, NanPlace, blocks, check_group},
    lanes::{LANES, Simd},
    magnitude::{TooLarge, whole},
    scale::ScaleType,
};
use crate::error::FormatError;

/// Two's complement.
const TABLE: [f32; LANES] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0,
];

/// Code of the largest value of a group; -8 is not made, so that signs are alike.
const MOST: f32 = 7.0;

/// [`super::RowCodec::Int4`].
#[derive(Clone, Copy)]
pub(super) struct Int4 {
    pub(super) width: u32,
    pub(super) group: u32,
    pub(super) scale: ScaleType,
}

impl Codec for Int4 {
    fn id(self) -> u32 {
        9
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        let groups = (self.width / self.group) as usize;
        [self.width as usize / 2, groups * self.scale.bytes()]
    }

    fn validate(self) -> Result<(), FormatError> {
        const EXPECTED: &str = "a multiple of 16 that divides the width";
        check_group(self.width, self.group, 16, EXPECTED)
    }

    fn find_nan(self, _values: &[u8], scales: &[u8]) -> Option<NanPlace> {
        self.scale.not_finite(scales)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let (values, scales) = row.split_at(self.width as usize / 2);
        let group = self.group as usize;
        let groups = values
            .chunks_exact(group / 2)
            .zip(out.chunks_exact_mut(group));
        for (index, (values, out)) in groups.enumerate() {
            let scale = self.scale.get(scales, index);
            blocks(values, out, |bytes, out| {
                let values = simd.look_up(&TABLE, simd.nibble_pairs(*bytes));
                simd.put(simd.times(values, scale), out, &round);
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
            nibble_pairs(values, codes, |value| {
                whole((value / scale).clamp(-MOST, MOST))
            });
        })
    }
}
