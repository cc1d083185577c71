//! GGML's `Q5_K`: as `Q4_K`, with a fifth bit of each code in a place of its own.

use super::{
    encode,
    interface::{Codec, NanPlace, blocks, check_blocks, scale_not_finite},
    k_quants::{self, BLOCK_VALUES, HEAD_BYTES, Search, scales},
    lanes::{LANES, Simd},
    magnitude::TooLarge,
};
use crate::error::FormatError;

/// Values of a group, and bytes of the fifth bits: one byte has those of one value of each group.
const GROUP: usize = 32;
/// Bytes of a block.
const BLOCK_BYTES: usize = HEAD_BYTES + GROUP + 128;

/// As GGML searches it.
const SEARCH: Search = Search {
    most: 31.0,
    first: -0.5,
    tries: 15,
};

/// [`super::RowCodec::Q5K`].
#[derive(Clone, Copy)]
pub(super) struct Q5K {
    pub(super) width: u32,
}

impl Codec for Q5K {
    fn id(self) -> u32 {
        18
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
            let (head, rest) = block
                .split_first_chunk()
                .expect("a block begins with its scales");
            let (fifth_bits, bytes) = rest.split_at(GROUP);
            let [scales, mins] = scales(head);
            for (group, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
                // Two groups share 32 bytes: the low nibbles, then the high ones.
                let shift = 4 * (group % 2);
                let bytes = &bytes[group / 2 * GROUP..][..GROUP];
                let halves = bytes
                    .as_chunks::<LANES>()
                    .0
                    .iter()
                    .zip(fifth_bits.as_chunks().0);
                for ((bytes, fifth_bits), out) in halves.zip(out.as_chunks_mut().0) {
                    let fifth_bits: &[u8; LANES] = fifth_bits;
                    let code =
                        |at: usize| bytes[at] >> shift & 0xF | (fifth_bits[at] >> group & 1) << 4;
                    let codes = std::array::from_fn(code);
                    // The product is exact, so only the difference rounds.
                    let values = simd.times(simd.integers(&codes), scales[group]);
                    simd.put(simd.minus(values, mins[group]), out, &round);
                }
            }
        });
    }

    #[inline(always)]
    fn encode_row(self, values: &[f32], row: &mut [u8]) -> Result<(), TooLarge> {
        encode::blocks(values, row, |values, block: &mut [u8; BLOCK_BYTES]| {
            let (head, rest) = block.split_first_chunk_mut()?;
            let codes = k_quants::encode(&SEARCH, values, head)?;
            let (fifth_bits, bytes) = rest.split_at_mut(GROUP);
            for (codes, out) in codes.iter().zip(fifth_bits) {
                let bits = codes.iter().enumerate();
                *out = bits.fold(0, |bits, (group, code)| bits | (code >> 4) << group);
            }
            for (pair, bytes) in bytes.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
                for (codes, out) in codes.iter().zip(bytes) {
                    *out = codes[2 * pair] & 0xF | codes[2 * pair + 1] << 4;
                }
            }
            Some(())
        })
    }
}
