//! GGML's NVFP4: blocks of four scales and four times 16 E2M1 nibbles, the first 8 values of each in the low ones,
//! under one scale for the whole table.

use super::{
    encode::{largest_scaled, nibble_halves},
    fp4::{E2M1_DOUBLED, E2M1_MOST, to_e2m1_of_ggml},
    fp8::{E4M3_MOST, to_ue4m3, ue4m3},
    interface::{Codec, NanPlace, blocks, check_blocks, check_scale},
    lanes::Simd,
    magnitude::TooLarge,
};
use crate::error::FormatError;

/// Values of a block.
const BLOCK_VALUES: u32 = 64;
/// Bytes of a block.
const BLOCK_BYTES: usize = 36;

/// [`super::RowCodec::Nvfp4Gguf`].
#[derive(Clone, Copy)]
pub(super) struct Nvfp4Gguf {
    pub(super) width: u32,
    pub(super) scale_bits: u32,
}

impl Codec for Nvfp4Gguf {
    fn id(self) -> u32 {
        16
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [(self.width / BLOCK_VALUES) as usize * BLOCK_BYTES, 0]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_blocks(self.width, BLOCK_VALUES, "a multiple of 64")?;
        check_scale(self.scale_bits)
    }

    fn find_nan(self, _values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        None
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        let table_scale = f32::from_bits(self.scale_bits);
        blocks(row, out, |block: &[u8; BLOCK_BYTES], out: &mut [T; 64]| {
            let (scales, bytes) = block.split_at(4);
            let groups = bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0);
            for ((bytes, out), &code) in groups.zip(scales) {
                let values = simd.look_up(&E2M1_DOUBLED, simd.nibble_halves(*bytes));
                // The first product is exact, so only the second rounds.
                let values = simd.times(simd.times(values, 0.5 * ue4m3(code)), table_scale);
                simd.put(values, out, &round);
            }
        });
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        let table_scale = f32::from_bits(self.scale_bits);
        let blocks = values.as_chunks::<64>().0.iter();
        let blocks = blocks.zip(row.as_chunks_mut::<BLOCK_BYTES>().0);
        for (index, (values, block)) in blocks.enumerate() {
            let (scales, codes) = block.split_at_mut(4);
            let groups = values.as_chunks::<16>().0.iter().zip(scales);
            for (group, ((values, scale), codes)) in
                groups.zip(codes.as_chunks_mut::<8>().0).enumerate()
            {
                let start = 64 * index + 16 * group;
                let most = largest_scaled(values, start)?;
                let wanted = if most == 0.0 {
                    0.0
                } else {
                    most / table_scale.abs() / E2M1_MOST
                };
                if wanted > E4M3_MOST {
                    return Err(TooLarge::largest_of(values, start));
                }
                *scale = to_ue4m3(wanted);
                let scale = 0.5 * ue4m3(*scale);
                nibble_halves(values, codes, |value| {
                    to_e2m1_of_ggml(value / table_scale, scale)
                });
            }
        }
        Ok(())
    }
}
