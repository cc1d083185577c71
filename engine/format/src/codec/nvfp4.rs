//! NVFP4 as checkpoints have it: E2M1 values, neighbours in one byte, then one E4M3 scale for each 16 of them, under
//! one scale for the whole table.

use super::{
    fp4::E2M1,
    fp8::{e4m3, nan_e4m3},
    interface::{Codec, NanPlace, check_blocks, check_scale},
    lanes::Simd,
};
use crate::error::FormatError;

/// Values that share a scale.
const GROUP: u32 = 16;

/// [`super::RowCodec::Nvfp4`].
#[derive(Clone, Copy)]
pub(super) struct Nvfp4 {
    pub(super) width: u32,
    pub(super) scale_bits: u32,
}

impl Codec for Nvfp4 {
    fn id(self) -> u32 {
        10
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [self.width as usize / 2, (self.width / GROUP) as usize]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_blocks(self.width, GROUP, "a multiple of 16")?;
        check_scale(self.scale_bits)
    }

    fn find_nan(self, _values: &[u8], scales: &[u8]) -> Option<NanPlace> {
        nan_e4m3(scales).map(NanPlace::of_scale)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let (values, scales) = row.split_at(self.width as usize / 2);
        let table_scale = f32::from_bits(self.scale_bits);
        let groups = values.as_chunks().0.iter().zip(out.as_chunks_mut().0);
        for ((bytes, out), &code) in groups.zip(scales) {
            let values = simd.look_up(&E2M1, simd.nibble_pairs(*bytes));
            // The first product is exact, so only the second rounds.
            let values = simd.times(simd.times(values, e4m3(code)), table_scale);
            simd.put(values, out, &round);
        }
    }
}
