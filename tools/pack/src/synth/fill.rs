//! Made-up contents of a tensor: random, but numbers of a trained table's size.

use anyhow::{Result, bail};
use engram_checkpoint::Dtype;
use engram_format::Digest;
use engram_kit::random::splitmix64;

/// Contents of one tensor, by offset.
pub(super) struct Fill {
    key: u64,
    word: fn(u64) -> u64,
}

impl Fill {
    /// # Errors
    /// An element type that no Engram block has.
    pub(super) fn new(seed: u64, name: &str, dtype: Dtype) -> Result<Self> {
        let word = match dtype {
            Dtype::F8_E4M3 => e4m3,
            Dtype::F8_E8M0 => e8m0,
            Dtype::BF16 => bf16,
            Dtype::F32 => f32,
            other => bail!("no contents for tensors of type {other}"),
        };
        let name = Digest::of(name.as_bytes()).0;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "half of the digest is enough"
        )]
        let key = splitmix64(seed) ^ name as u64;
        Ok(Self { key, word })
    }

    /// The tensor's bytes from `offset`, a multiple of eight, on.
    pub(super) fn write(&self, offset: u64, out: &mut [u8]) {
        for (index, word) in (offset / 8..).zip(out.chunks_mut(8)) {
            let bytes = (self.word)(splitmix64(self.key ^ index)).to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }
}

/// Any codes but NaN: clearing the lowest bit where all seven are set gives 448.
fn e4m3(word: u64) -> u64 {
    let magnitudes = word & 0x7F7F_7F7F_7F7F_7F7F;
    let full = (magnitudes + 0x0101_0101_0101_0101) >> 7 & 0x0101_0101_0101_0101;
    word & !full
}

/// Scales from 2^-16 to 2^-1.
fn e8m0(word: u64) -> u64 {
    (word & 0x0F0F_0F0F_0F0F_0F0F) + 0x6F6F_6F6F_6F6F_6F6F
}

/// Magnitudes from 2^-7 up to 2.
fn bf16(word: u64) -> u64 {
    word & 0x83FF_83FF_83FF_83FF | 0x3C00_3C00_3C00_3C00
}

/// Magnitudes from 2^-7 up to 2.
fn f32(word: u64) -> u64 {
    word & 0x83FF_FFFF_83FF_FFFF | 0x3C00_0000_3C00_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_format::RowCodec;

    #[test]
    fn every_value_is_a_number() {
        let mut row = [0; 256];
        for (dtype, codec) in [
            (
                Dtype::F8_E4M3,
                RowCodec::Fp8Scaled {
                    width: 256,
                    scale_bits: 0,
                },
            ),
            (Dtype::BF16, RowCodec::Bf16 { width: 128 }),
            (Dtype::F32, RowCodec::F32 { width: 64 }),
        ] {
            let fill = Fill::new(7, "tensor", dtype).unwrap();
            let mut seen = [false; 256];
            for offset in 0..2_000 {
                fill.write(256 * offset, &mut row);
                assert_eq!(codec.find_nan(&row), None, "{dtype}");
                row.iter().for_each(|&byte| seen[usize::from(byte)] = true);
            }
            if dtype == Dtype::F8_E4M3 {
                let missing: Vec<_> = (0..=255)
                    .filter(|&code: &u8| !seen[usize::from(code)])
                    .collect();
                assert_eq!(missing, [0x7F, 0xFF]);
            }
        }
        let scales = Fill::new(7, "tensor", Dtype::F8_E8M0).unwrap();
        scales.write(0, &mut row);
        assert!(row.iter().all(|code| (111..127).contains(code)));
    }

    #[test]
    fn contents_depend_on_seed_and_name_but_not_on_chunks() {
        let read = |seed, name, offset| {
            let mut bytes = [0; 16];
            Fill::new(seed, name, Dtype::F32)
                .unwrap()
                .write(offset, &mut bytes);
            bytes
        };
        assert_eq!(read(1, "a", 0)[8..], read(1, "a", 8)[..8]);
        assert_ne!(read(1, "a", 0), read(2, "a", 0));
        assert_ne!(read(1, "a", 0), read(1, "b", 0));
    }
}
