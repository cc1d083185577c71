//! How the scale of a row, or of a group of its values, is stored.

use std::fmt;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::{
    fp8::{E4M3_MOST, e4m3, to_e4m3, ue8m0, ue8m0_above},
    interface::NanPlace,
};

/// The number format of scales (FORMAT.md, "Row codecs").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// FP8 E4M3.
    E4m3,
    /// A power of two.
    Ue8m0,
}

/// As engineers write it, such as `UE8M0`.
impl fmt::Display for ScaleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::E4m3 => "E4M3",
            Self::Ue8m0 => "UE8M0",
        })
    }
}

impl ScaleType {
    /// Bytes of a scale.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::E4m3 | Self::Ue8m0 => 1,
        }
    }

    /// The scale at `index` of `scales`.
    #[inline(always)]
    pub(super) fn get(self, scales: &[u8], index: usize) -> f32 {
        let bytes = &scales[index * self.bytes()..][..self.bytes()];
        match (self, bytes) {
            (Self::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (Self::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (Self::E4m3, &[code]) => e4m3(code),
            (Self::Ue8m0, &[code]) => ue8m0(code),
            _ => unreachable!("a scale has the bytes of its type"),
        }
    }

    /// Stores the nearest to `scale`, which is positive, or the least that there is if that would be zero. The types of
    /// a byte have large steps: theirs is the least that is as much, so that the largest values are not cut off.
    /// Returns what was stored, or none if it is too large.
    #[inline(always)]
    pub(super) fn put(self, scale: f32, out: &mut [u8]) -> Option<f32> {
        // All but UE8M0 have zero as code 0 and the least positive scale as code 1.
        let code = match self {
            Self::F32 => scale.to_bits().max(1),
            Self::F16 => u32::from(f16::from_f32(scale).to_bits().max(1)),
            Self::Bf16 => u32::from(bf16::from_f32(scale).to_bits().max(1)),
            Self::E4m3 if scale > E4M3_MOST => return None,
            Self::E4m3 => {
                let nearest = to_e4m3(scale);
                u32::from(nearest) + u32::from(e4m3(nearest) < scale)
            }
            Self::Ue8m0 => u32::from(ue8m0_above(scale)),
        };
        out.copy_from_slice(&code.to_le_bytes()[..self.bytes()]);
        Some(self.get(out, 0)).filter(|stored| stored.is_finite())
    }

    /// The first of `scales` that is not finite: a value of zero under an infinite scale is not a number either.
    pub(super) fn not_finite(self, scales: &[u8]) -> Option<NanPlace> {
        let count = scales.len() / self.bytes();
        let index = (0..count).find(|&index| !self.get(scales, index).is_finite());
        index.map(NanPlace::Scale)
    }
}
