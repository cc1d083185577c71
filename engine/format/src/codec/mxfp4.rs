//! MXFP4 as checkpoints have it: E2M1 values, neighbours in one byte, then one UE8M0 scale for each 32 of them.

use super::{
    encode::nibble_pairs,
    fp4::{E2M1, E2M1_EXPONENT, to_e2m1},
    fp8::{exponent_code, nan_ue8m0, ue8m0},
    interface::{Codec, NanPlace, blocks, check_blocks},
    lanes::Simd,
    magnitude::{TooLarge, largest},
};
use crate::error::FormatError;

/// Values that share a scale.
const GROUP: u32 = 32;

/// [`super::RowCodec::Mxfp4`].
#[derive(Clone, Copy)]
pub(super) struct Mxfp4 {
    pub(super) width: u32,
}

impl Codec for Mxfp4 {
    fn id(self) -> u32 {
        11
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [self.width as usize / 2, (self.width / GROUP) as usize]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_blocks(self.width, GROUP, "a multiple of 32")
    }

    fn find_nan(self, _values: &[u8], scales: &[u8]) -> Option<NanPlace> {
        nan_ue8m0(scales)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let (values, scales) = row.split_at(self.width as usize / 2);
        let groups = values
            .as_chunks::<16>()
            .0
            .iter()
            .zip(out.as_chunks_mut::<32>().0);
        for ((values, out), &code) in groups.zip(scales) {
            let scale = ue8m0(code);
            blocks(values, out, |bytes, out| {
                let values = simd.look_up(&E2M1, simd.nibble_pairs(*bytes));
                simd.put(simd.times(values, scale), out, &round);
            });
        }
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        let (codes, scales) = row.split_at_mut(self.width as usize / 2);
        let groups = values.as_chunks::<32>().0.iter().zip(scales);
        for ((values, scale), codes) in groups.zip(codes.as_chunks_mut::<16>().0) {
            // The largest value comes to between 4 and 8, as the standard says.
            *scale = exponent_code(largest(values), E2M1_EXPONENT);
            let scale = ue8m0(*scale);
            nibble_pairs(values, codes, |value| to_e2m1(value / scale));
        }
        Ok(())
    }
}
