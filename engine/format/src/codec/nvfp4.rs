//! NVFP4 as checkpoints have it: E2M1 values, neighbours in one byte, then one E4M3 scale for each 16 of them, under
//! one scale for the whole table.

use super::{
    encode::{largest_scaled, nibble_pairs},
    fp4::{E2M1, E2M1_MOST, to_e2m1},
    fp8::{E4M3_ROUNDS_TO_MOST, e4m3, nan_e4m3, to_e4m3},
    interface::{Codec, NanPlace, check_blocks, check_scale},
    lanes::Simd,
    magnitude::TooLarge,
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

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        let table_scale = f32::from_bits(self.scale_bits);
        let (codes, scales) = row.split_at_mut(self.width as usize / 2);
        let groups = values.as_chunks::<16>().0.iter().zip(scales);
        for (index, ((values, scale), codes)) in
            groups.zip(codes.as_chunks_mut::<8>().0).enumerate()
        {
            let start = GROUP as usize * index;
            let most = largest_scaled(values, start)?;
            if most == 0.0 {
                (*scale, *codes) = (0, [0; 8]);
                continue;
            }
            let wanted = most / E2M1_MOST / table_scale.abs();
            if wanted > E4M3_ROUNDS_TO_MOST {
                return Err(TooLarge::largest_of(values, start));
            }
            *scale = to_e4m3(wanted).max(1);
            let scale = e4m3(*scale) * table_scale;
            nibble_pairs(values, codes, |value| to_e2m1(value / scale));
        }
        Ok(())
    }
}
