//! GGML's `Q4_K`: blocks of 256 nibbles; 32 low ones and then 32 high ones of 32 bytes are two groups.

use super::{
    encode,
    interface::{Codec, NanPlace, blocks, check_blocks, scale_not_finite},
    k_quants::{self, BLOCK_VALUES, HEAD_BYTES, Search, scales},
    lanes::{LANES, Simd},
    magnitude::TooLarge,
};
use crate::error::FormatError;

/// Bytes of a block.
const BLOCK_BYTES: usize = HEAD_BYTES + 128;
/// Codes as they are.
const TABLE: [f32; LANES] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
];

/// As GGML searches it.
const SEARCH: Search = Search {
    most: 15.0,
    first: -1.0,
    tries: 20,
};

/// [`super::RowCodec::Q4K`].
#[derive(Clone, Copy)]
pub(super) struct Q4K {
    pub(super) width: u32,
}

impl Codec for Q4K {
    fn id(self) -> u32 {
        17
    }

    fn width(self) -> u32 {
        self.width
    }

    fn plane_bytes(self) -> [usize; 2] {
        [(self.width / BLOCK_VALUES) as usize * BLOCK_BYTES, 0]
    }

    fn validate(self) -> Result<(), FormatError> {
        check_blocks(self.width, BLOCK_VALUES, "a multiple of 256")
    }

    fn find_nan(self, values: &[u8], _scales: &[u8]) -> Option<NanPlace> {
        scale_not_finite::<BLOCK_BYTES, 2>(values)
    }

    #[inline(always)]
    fn decode_row<S: Simd, T>(self, simd: S, row: &[u8], out: &mut [T], round: impl Fn(f32) -> T) {
        blocks(row, out, |block: &[u8; BLOCK_BYTES], out: &mut [T; 256]| {
            let (head, bytes) = block
                .split_first_chunk()
                .expect("a block begins with its scales");
            let [scales, mins] = scales(head);
            let bytes = bytes.as_chunks::<32>().0.iter();
            for (pair, (bytes, out)) in bytes.zip(out.as_chunks_mut::<64>().0).enumerate() {
                let (low_out, high_out) = out.split_at_mut(32);
                let bytes = bytes.as_chunks().0.iter();
                let low_out = low_out.as_chunks_mut().0;
                let outs = low_out.iter_mut().zip(high_out.as_chunks_mut().0);
                // Products are exact, so only the differences round.
                let value = |codes, group| {
                    let values = simd.times(simd.look_up(&TABLE, codes), scales[group]);
                    simd.minus(values, mins[group])
                };
                for (bytes, (low_out, high_out)) in bytes.zip(outs) {
                    simd.put(value(simd.low_nibbles(bytes), 2 * pair), low_out, &round);
                    simd.put(
                        value(simd.high_nibbles(bytes), 2 * pair + 1),
                        high_out,
                        &round,
                    );
                }
            }
        });
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        encode::blocks(values, row, |values, block: &mut [u8; BLOCK_BYTES]| {
            let (head, bytes) = block.split_first_chunk_mut()?;
            let codes = k_quants::encode(&SEARCH, values, head)?;
            for (pair, bytes) in bytes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                for (codes, out) in codes.iter().zip(bytes) {
                    *out = codes[2 * pair] | codes[2 * pair + 1] << 4;
                }
            }
            Some(())
        })
    }
}
