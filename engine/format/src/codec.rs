//! How the values of a row are stored, and their exact decoding.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::error::FormatError;

const WIDTH_LIMIT: u32 = 1 << 20;

/// The encoding of a row's values (FORMAT.md, "Row codecs").
///
/// Rows keep the checkpoint's bytes; decoding to `f32` is exact for every codec but for overflow to
/// infinity under the largest scales. NaN codes and scale code 255 decode to NaN and scale code 0 to
/// 2^-127, as PyTorch reads `float8_e4m3fn` and `float8_e8m0fnu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum RowCodec {
    /// IEEE binary32.
    F32 {
        /// Values a row.
        width: u32,
    },
    /// IEEE binary16.
    F16 {
        /// Values a row.
        width: u32,
    },
    /// The upper half of binary32.
    Bf16 {
        /// Values a row.
        width: u32,
    },
    /// FP8 E4M3 values, then one UE8M0 scale for each group of consecutive values.
    #[serde(rename = "fp8_e4m3_ue8m0")]
    Fp8Ue8m0 {
        /// Values a row.
        width: u32,
        /// Values that share a scale; divides `width`.
        group: u32,
    },
    /// FP8 E4M3 values under one scale for the whole table.
    #[serde(rename = "fp8_e4m3_scaled")]
    Fp8Scaled {
        /// Values a row.
        width: u32,
        /// The scale, as the bits of an `f32`.
        scale_bits: u32,
    },
}

impl RowCodec {
    /// Values a row.
    pub const fn width(self) -> usize {
        match self {
            Self::F32 { width }
            | Self::F16 { width }
            | Self::Bf16 { width }
            | Self::Fp8Ue8m0 { width, .. }
            | Self::Fp8Scaled { width, .. } => width as usize,
        }
    }

    /// Bytes a row.
    pub const fn row_bytes(self) -> usize {
        let [values, scales] = self.plane_bytes();
        values + scales
    }

    /// Bytes that a row takes from the checkpoint's tensor of values and from that of scales.
    pub const fn plane_bytes(self) -> [usize; 2] {
        let width = self.width();
        match self {
            Self::F32 { .. } => [4 * width, 0],
            Self::F16 { .. } | Self::Bf16 { .. } => [2 * width, 0],
            Self::Fp8Ue8m0 { group, .. } => [width, width / group as usize],
            Self::Fp8Scaled { .. } => [width, 0],
        }
    }

    /// The number of this codec in a shard header.
    pub const fn id(self) -> u32 {
        match self {
            Self::F32 { .. } => 1,
            Self::F16 { .. } => 2,
            Self::Bf16 { .. } => 3,
            Self::Fp8Ue8m0 { .. } => 4,
            Self::Fp8Scaled { .. } => 5,
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// A width of 0 or above 2^20, a group that does not divide it, or a scale that is not finite.
    pub fn validate(self) -> Result<(), FormatError> {
        let fault = |field, found, expected| {
            Err(FormatError::Codec {
                field,
                found,
                expected,
            })
        };
        let width = self.width() as u64;
        if width == 0 || width > u64::from(WIDTH_LIMIT) {
            return fault("width", width, "1 to 1048576");
        }
        match self {
            Self::Fp8Ue8m0 { width, group } if group == 0 || !width.is_multiple_of(group) => {
                fault("group", group.into(), "a divisor of the width")
            }
            Self::Fp8Scaled { scale_bits, .. } if !f32::from_bits(scale_bits).is_finite() => {
                fault("scale_bits", scale_bits.into(), "the bits of a finite f32")
            }
            _ => Ok(()),
        }
    }

    /// The first value of `row` that is not a number: its index among the values, or among the
    /// scales for a scale code of 255.
    ///
    /// # Panics
    /// If `row` is not [`Self::row_bytes`] long.
    pub fn find_nan(self, row: &[u8]) -> Option<NanPlace> {
        assert_eq!(row.len(), self.row_bytes(), "one row");
        let (values, scales) = row.split_at(self.plane_bytes()[0]);
        let value = match self {
            Self::F32 { .. } => position(values, |b| f32::from_le_bytes(b).is_nan()),
            Self::F16 { .. } => position(values, |b| f16::from_le_bytes(b).is_nan()),
            Self::Bf16 { .. } => position(values, |b| bf16::from_le_bytes(b).is_nan()),
            Self::Fp8Ue8m0 { .. } | Self::Fp8Scaled { .. } => {
                position(values, |[b]| b & 0x7F == 0x7F)
            }
        };
        let scale = || {
            scales
                .iter()
                .position(|&code| code == 0xFF)
                .map(NanPlace::Scale)
        };
        value.map(NanPlace::Value).or_else(scale)
    }

    /// Decodes whole rows, one after another.
    ///
    /// # Panics
    /// If `rows` is no whole number of rows, or `out` has not [`Self::width`] values for each.
    pub fn decode_f32(self, rows: &[u8], out: &mut [f32]) {
        self.decode(rows, out, |value| value);
    }

    /// Decodes whole rows to bfloat16, rounding to nearest even where a value has more digits.
    ///
    /// # Panics
    /// As [`Self::decode_f32`].
    pub fn decode_bf16(self, rows: &[u8], out: &mut [bf16]) {
        self.decode(rows, out, bf16::from_f32);
    }

    /// As [`Self::decode_bf16`], to IEEE binary16: values of 65,520 and more become infinite.
    ///
    /// # Panics
    /// As [`Self::decode_f32`].
    pub fn decode_f16(self, rows: &[u8], out: &mut [f16]) {
        self.decode(rows, out, f16::from_f32);
    }

    fn decode<T: Copy>(self, rows: &[u8], out: &mut [T], round: impl Fn(f32) -> T + Copy) {
        let (row_bytes, width) = (self.row_bytes(), self.width());
        assert!(
            rows.len().is_multiple_of(row_bytes),
            "whole rows of {row_bytes} bytes"
        );
        assert_eq!(
            out.len() / width,
            rows.len() / row_bytes,
            "a row of {width} values for each row"
        );
        assert!(
            out.len().is_multiple_of(width),
            "whole rows of {width} values"
        );
        for (row, out) in rows
            .chunks_exact(row_bytes)
            .zip(out.chunks_exact_mut(width))
        {
            match self {
                Self::F32 { .. } => convert(row, out, |b| round(f32::from_le_bytes(b))),
                Self::F16 { .. } => convert(row, out, |b| round(f16::from_le_bytes(b).to_f32())),
                Self::Bf16 { .. } => convert(row, out, |b| round(bf16::from_le_bytes(b).to_f32())),
                Self::Fp8Scaled { scale_bits, .. } => {
                    let scale = f32::from_bits(scale_bits);
                    convert(row, out, |[b]| round(e4m3(b) * scale));
                }
                Self::Fp8Ue8m0 { group, .. } => {
                    let (values, scales) = row.split_at(width);
                    let groups = values
                        .chunks_exact(group as usize)
                        .zip(out.chunks_exact_mut(group as usize));
                    for ((values, out), &code) in groups.zip(scales) {
                        let scale = ue8m0(code);
                        convert(values, out, |[b]| round(e4m3(b) * scale));
                    }
                }
            }
        }
    }
}

/// Where a row holds a code that is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanPlace {
    /// Index among the row's values.
    Value(usize),
    /// Index among the row's scales.
    Scale(usize),
}

fn position<const N: usize>(bytes: &[u8], is_nan: impl Fn([u8; N]) -> bool) -> Option<usize> {
    let values = bytes.as_chunks::<N>().0;
    // A pass without early exit runs over whole vectors; rows hardly ever hold a NaN.
    let any = values.iter().fold(false, |any, &value| any | is_nan(value));
    any.then(|| values.iter().position(|&value| is_nan(value)))?
}

#[inline]
fn convert<T, const N: usize>(bytes: &[u8], out: &mut [T], decode: impl Fn([u8; N]) -> T) {
    for (&value, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = decode(value);
    }
}

/// E4M3 without infinities: sign, four exponent bits of bias 7, three mantissa bits.
#[inline]
fn e4m3(code: u8) -> f32 {
    let magnitude = u32::from(code & 0x7F);
    let value = match magnitude {
        // Subnormal: a multiple of 2^-9.
        0..8 => f32::from(code & 0x7F) * (1.0 / 512.0),
        0x7F => f32::NAN,
        _ => f32::from_bits((magnitude << 20) + (120 << 23)),
    };
    f32::from_bits(value.to_bits() | u32::from(code & 0x80) << 24)
}

/// UE8M0: a power of two of bias 127.
#[inline]
fn ue8m0(code: u8) -> f32 {
    match code {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(code) << 23),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in double precision.
    fn by_definition(value: u8, scale: u8) -> f64 {
        let (exponent, mantissa) = (i32::from(value >> 3 & 0xF), f64::from(value & 7));
        let sign = if value & 0x80 == 0 { 1.0 } else { -1.0 };
        if value & 0x7F == 0x7F || scale == 255 {
            return f64::NAN;
        }
        let magnitude = if exponent == 0 {
            mantissa * 2_f64.powi(-9)
        } else {
            (1.0 + mantissa / 8.0) * 2_f64.powi(exponent - 7)
        };
        sign * magnitude * 2_f64.powi(i32::from(scale) - 127)
    }

    #[test]
    fn every_pair_of_value_and_scale_decodes_exactly() {
        let codec = RowCodec::Fp8Ue8m0 {
            width: 256,
            group: 256,
        };
        let mut row: Vec<u8> = (0..=255).chain([0]).collect();
        for scale in 0..=255 {
            row[256] = scale;
            let mut floats = [0.0; 256];
            let mut halves = [bf16::ZERO; 256];
            codec.decode_f32(&row, &mut floats);
            codec.decode_bf16(&row, &mut halves);
            for value in 0..=255_u8 {
                let exact = by_definition(value, scale);
                let (float, half) = (floats[usize::from(value)], halves[usize::from(value)]);
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "overflow to infinity is meant"
                )]
                let rounded = exact as f32;
                if exact.is_nan() {
                    assert!(float.is_nan() && half.is_nan(), "{value:02x} {scale}");
                    continue;
                }
                assert_eq!(float.to_bits(), rounded.to_bits(), "{value:02x} {scale}");
                if rounded.is_finite() {
                    assert_eq!(
                        f64::from(float).to_bits(),
                        exact.to_bits(),
                        "{value:02x} {scale}"
                    );
                }
                // Four significant bits survive bfloat16 unless it underflows to a subnormal.
                if rounded.is_normal() {
                    assert_eq!(
                        half.to_f32().to_bits(),
                        rounded.to_bits(),
                        "{value:02x} {scale}"
                    );
                } else {
                    assert_eq!(half, bf16::from_f64(exact), "{value:02x} {scale}");
                }
            }
        }
    }

    #[test]
    fn published_values_decode() {
        let codes = [
            0x00, 0x01, 0x07, 0x08, 0x30, 0x38, 0x3C, 0x40, 0x7E, 0x81, 0xB8, 0xFE,
        ];
        let values = [
            0.0,
            0.001_953_125,
            0.013_671_875,
            0.015_625,
            0.5,
            1.0,
            1.5,
            2.0,
            448.0,
            -0.001_953_125,
            -1.0,
            -448.0,
        ];
        assert_eq!(codes.map(e4m3), values);
    }

    #[test]
    fn other_codecs_decode() {
        let mut out = [0.0; 2];
        RowCodec::F32 { width: 2 }.decode_f32(&[0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC1], &mut out);
        assert_eq!(out, [1.0, -10.0]);
        RowCodec::Bf16 { width: 2 }.decode_f32(&[0x80, 0x3F, 0x20, 0xC1], &mut out);
        assert_eq!(out, [1.0, -10.0]);
        RowCodec::F16 { width: 2 }.decode_f32(&[0, 0x3C, 0, 0xC9], &mut out);
        assert_eq!(out, [1.0, -10.0]);
        let scale_bits = 0.25_f32.to_bits();
        RowCodec::Fp8Scaled {
            width: 2,
            scale_bits,
        }
        .decode_f32(&[0x38, 0xC0], &mut out);
        assert_eq!(out, [0.25, -0.5]);
    }

    #[test]
    fn nans_are_found_where_they_are() {
        let codec = RowCodec::Fp8Ue8m0 { width: 4, group: 2 };
        assert_eq!(codec.find_nan(&[0, 1, 0x7E, 3, 0, 254]), None);
        assert_eq!(
            codec.find_nan(&[0, 1, 0xFF, 3, 0, 255]),
            Some(NanPlace::Value(2))
        );
        assert_eq!(
            codec.find_nan(&[0, 1, 2, 3, 0, 255]),
            Some(NanPlace::Scale(1))
        );
        assert_eq!(
            RowCodec::Bf16 { width: 2 }.find_nan(&[0, 0, 0xC0, 0x7F]),
            Some(NanPlace::Value(1))
        );
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert!(RowCodec::F32 { width: 0 }.validate().is_err());
        assert!(
            RowCodec::Fp8Ue8m0 {
                width: 256,
                group: 0
            }
            .validate()
            .is_err()
        );
        assert!(
            RowCodec::Fp8Ue8m0 {
                width: 250,
                group: 32
            }
            .validate()
            .is_err()
        );
        let scale_bits = f32::NAN.to_bits();
        assert!(
            RowCodec::Fp8Scaled {
                width: 1,
                scale_bits
            }
            .validate()
            .is_err()
        );
        assert!(
            RowCodec::Fp8Ue8m0 {
                width: 256,
                group: 32
            }
            .validate()
            .is_ok()
        );
    }
}
