//! How the values of a row are stored, and their exact decoding: one file for each codec.

mod bfloat16;
mod float16;
mod float32;
mod fp8;
mod fp8_scaled;
mod fp8_ue8m0;
mod interface;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::error::FormatError;
use bfloat16::Bfloat16;
use float16::Float16;
use float32::Float32;
use fp8_scaled::Fp8Scaled;
use fp8_ue8m0::Fp8Ue8m0;
use interface::Codec;

pub use interface::NanPlace;

const MAX_WIDTH: u32 = 1 << 20;

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

/// Evaluates the expression once for the codec that `$row_codec` is, with `$codec` of that codec's own type, so that
/// loops in it are compiled for each codec. A new codec is a file, a variant of [`RowCodec`] and a line here.
macro_rules! with_codec {
    ($row_codec:expr, $codec:ident => $value:expr) => {
        with_codec!($row_codec, $codec => $value;
            F32 { width } => Float32,
            F16 { width } => Float16,
            Bf16 { width } => Bfloat16,
            Fp8Ue8m0 { width, group } => Fp8Ue8m0,
            Fp8Scaled { width, scale_bits } => Fp8Scaled,
        )
    };
    ($row_codec:expr, $codec:ident => $value:expr; $($variant:ident { $($field:ident),* } => $type:ident,)*) => {
        match $row_codec {
            $(RowCodec::$variant { $($field),* } => {
                let $codec = $type { $($field),* };
                $value
            })*
        }
    };
}

impl RowCodec {
    /// What a manifest calls this codec.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 { .. } => "f32",
            Self::F16 { .. } => "f16",
            Self::Bf16 { .. } => "bf16",
            Self::Fp8Ue8m0 { .. } => "fp8_e4m3_ue8m0",
            Self::Fp8Scaled { .. } => "fp8_e4m3_scaled",
        }
    }

    /// Values a row.
    pub fn width(self) -> usize {
        with_codec!(self, codec => codec.width() as usize)
    }

    /// Bytes a row.
    pub fn row_bytes(self) -> usize {
        let [values, scales] = self.plane_bytes();
        values + scales
    }

    /// Bytes that a row takes from the checkpoint's tensor of values and from that of scales.
    pub fn plane_bytes(self) -> [usize; 2] {
        with_codec!(self, codec => codec.plane_bytes())
    }

    /// The number of this codec in a shard header.
    pub fn id(self) -> u32 {
        with_codec!(self, codec => codec.id())
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// A width of 0 or above 2^20, a group that does not divide it, or a scale that is not finite.
    pub fn validate(self) -> Result<(), FormatError> {
        let width = self.width() as u64;
        if width == 0 || width > u64::from(MAX_WIDTH) {
            return Err(FormatError::Codec {
                field: "width",
                found: width,
                expected: "1 to 1048576",
            });
        }
        with_codec!(self, codec => codec.validate())
    }

    /// The first value of `row` that is not a number: its index among the values, or among the scales for a scale code
    /// of 255.
    ///
    /// # Panics
    /// If `row` is not [`Self::row_bytes`] long.
    pub fn find_nan(self, row: &[u8]) -> Option<NanPlace> {
        assert_eq!(row.len(), self.row_bytes(), "one row");
        let (values, scales) = row.split_at(self.plane_bytes()[0]);
        with_codec!(self, codec => codec.find_nan(values, scales))
    }

    /// Decodes whole rows, one after another.
    ///
    /// ```
    /// use engram_format::RowCodec;
    ///
    /// // Two rows of two bfloat16 values, little-endian.
    /// let rows = [0x80, 0x3F, 0x20, 0xC1, 0x00, 0x40, 0x00, 0x00];
    /// let mut values = [0.0; 4];
    /// RowCodec::Bf16 { width: 2 }.decode_f32(&rows, &mut values);
    /// assert_eq!(values, [1.0, -10.0, 2.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows, or `out` does not have [`Self::width`] values for each of them.
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

    fn decode<T>(self, rows: &[u8], out: &mut [T], round: impl Fn(f32) -> T + Copy) {
        let (row_bytes, width) = (self.row_bytes(), self.width());
        assert!(
            rows.len().is_multiple_of(row_bytes),
            "{} bytes are no whole number of rows of {row_bytes} bytes",
            rows.len()
        );
        let count = rows.len() / row_bytes;
        assert_eq!(
            out.len(),
            count * width,
            "{count} rows of {width} values do not match the output"
        );
        let rows = rows
            .chunks_exact(row_bytes)
            .zip(out.chunks_exact_mut(width));
        with_codec!(self, codec => rows.for_each(|(row, out)| codec.decode_row(row, out, round)));
    }
}

#[cfg(test)]
mod tests {
    use super::{fp8::e4m3, *};

    #[test]
    fn names_are_those_of_manifests() {
        let width = 8;
        for codec in [
            RowCodec::F32 { width },
            RowCodec::F16 { width },
            RowCodec::Bf16 { width },
            RowCodec::Fp8Ue8m0 { width, group: 4 },
            RowCodec::Fp8Scaled {
                width,
                scale_bits: 0,
            },
        ] {
            assert_eq!(serde_json::to_value(codec).unwrap()["name"], codec.name());
        }
    }

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
