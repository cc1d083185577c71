//! How the values of a row are stored, their exact decoding, and encoding by each format's usual rule: one file for
//! each codec.

// What a codec calls must be compiled into a function for the processor that there is.
#![expect(
    clippy::inline_always,
    reason = "a call would be of code for any processor"
)]

mod bfloat16;
mod encode;
mod float16;
mod float32;
mod fp4;
mod fp8;
mod fp8_grouped;
mod fp8_plain;
mod fp8_scaled;
mod fp8_ue8m0;
mod int4;
mod int8;
mod interface;
mod iq4_nl;
mod k_quants;
mod lanes;
mod magnitude;
mod mxfp4;
mod mxfp4_gguf;
mod nvfp4;
mod nvfp4_gguf;
mod q4_0;
mod q4_k;
mod q5_k;
mod q8_0;
mod scale;
mod simd;

use std::fmt;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::error::{EncodeError, FormatError};
use bfloat16::Bfloat16;
use float16::Float16;
use float32::Float32;
use fp8_grouped::Fp8Grouped;
use fp8_plain::Fp8Plain;
use fp8_scaled::Fp8Scaled;
use fp8_ue8m0::Fp8Ue8m0;
use int4::Int4;
use int8::Int8;
use interface::Codec;
use iq4_nl::Iq4Nl;
use mxfp4::Mxfp4;
use mxfp4_gguf::Mxfp4Gguf;
use nvfp4::Nvfp4;
use nvfp4_gguf::Nvfp4Gguf;
use q4_0::Q4_0;
use q4_k::Q4K;
use q5_k::Q5K;
use q8_0::Q8_0;

pub use interface::NanPlace;
pub use scale::ScaleType;

const MAX_WIDTH: u32 = 1 << 20;

/// The encoding of a row's values (FORMAT.md, "Row codecs").
///
/// Rows keep the checkpoint's bytes; what is decoded to `f32` is the exact value, rounded once where it has more
/// digits. NaN codes and scale code 255 decode to NaN and scale code 0 to 2^-127, as PyTorch reads `float8_e4m3fn` and
/// `float8_e8m0fnu`; blocks of GGML's decode as GGML reads them.
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
    /// FP8 E4M3 values without scales.
    #[serde(rename = "fp8_e4m3")]
    Fp8 {
        /// Values a row.
        width: u32,
    },
    /// FP8 E4M3 values, then one scale for each group of consecutive values.
    #[serde(rename = "fp8_e4m3_grouped")]
    Fp8Grouped {
        /// Values a row.
        width: u32,
        /// Values that share a scale; divides `width`, and is the same for one scale a row.
        group: u32,
        /// How scales are stored.
        scale: ScaleType,
    },
    /// Signed bytes, then one scale for each group of consecutive values.
    Int8 {
        /// Values a row.
        width: u32,
        /// Values that share a scale; divides `width`, and is the same for one scale a row.
        group: u32,
        /// How scales are stored.
        scale: ScaleType,
    },
    /// Nibbles in two's complement, the first of two neighbours in the low one, then one scale for each group of
    /// consecutive values.
    Int4 {
        /// Values a row.
        width: u32,
        /// Values that share a scale; a multiple of 16 that divides `width`, and is the same for one scale a row.
        group: u32,
        /// How scales are stored.
        scale: ScaleType,
    },
    /// FP4 E2M1 values, the first of two neighbours in the low nibble, then one E4M3 scale for each 16 of them, under
    /// one scale for the whole table.
    Nvfp4 {
        /// Values a row; a multiple of 16.
        width: u32,
        /// The table's scale, as the bits of an `f32`.
        scale_bits: u32,
    },
    /// FP4 E2M1 values, the first of two neighbours in the low nibble, then one UE8M0 scale for each 32 of them.
    Mxfp4 {
        /// Values a row; a multiple of 32.
        width: u32,
    },
    /// GGML's `Q8_0`: 32 signed bytes under a binary16 scale.
    #[serde(rename = "q8_0")]
    Q8_0 {
        /// Values a row; a multiple of 32.
        width: u32,
    },
    /// GGML's `Q4_0`: 32 nibbles, less eight, under a binary16 scale.
    #[serde(rename = "q4_0")]
    Q4_0 {
        /// Values a row; a multiple of 32.
        width: u32,
    },
    /// GGML's `IQ4_NL`: 32 nibbles that name values of a table, under a binary16 scale.
    Iq4Nl {
        /// Values a row; a multiple of 32.
        width: u32,
    },
    /// GGML's MXFP4: blocks of a scale and 32 E2M1 values, in GGML's order.
    Mxfp4Gguf {
        /// Values a row; a multiple of 32.
        width: u32,
    },
    /// GGML's NVFP4: blocks of four scales and 64 E2M1 values, in GGML's order, under one scale for the whole table.
    Nvfp4Gguf {
        /// Values a row; a multiple of 64.
        width: u32,
        /// The table's scale, as the bits of an `f32`.
        scale_bits: u32,
    },
    /// GGML's `Q4_K`: 256 values of four bits in eight groups.
    #[serde(rename = "q4_k")]
    Q4K {
        /// Values a row; a multiple of 256.
        width: u32,
    },
    /// GGML's `Q5_K`: 256 values of five bits in eight groups.
    #[serde(rename = "q5_k")]
    Q5K {
        /// Values a row; a multiple of 256.
        width: u32,
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
            Fp8 { width } => Fp8Plain,
            Fp8Grouped { width, group, scale } => Fp8Grouped,
            Int8 { width, group, scale } => Int8,
            Int4 { width, group, scale } => Int4,
            Nvfp4 { width, scale_bits } => Nvfp4,
            Mxfp4 { width } => Mxfp4,
            Q8_0 { width } => Q8_0,
            Q4_0 { width } => Q4_0,
            Iq4Nl { width } => Iq4Nl,
            Mxfp4Gguf { width } => Mxfp4Gguf,
            Nvfp4Gguf { width, scale_bits } => Nvfp4Gguf,
            Q4K { width } => Q4K,
            Q5K { width } => Q5K,
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
            Self::Fp8 { .. } => "fp8_e4m3",
            Self::Fp8Grouped { .. } => "fp8_e4m3_grouped",
            Self::Int8 { .. } => "int8",
            Self::Int4 { .. } => "int4",
            Self::Nvfp4 { .. } => "nvfp4",
            Self::Mxfp4 { .. } => "mxfp4",
            Self::Q8_0 { .. } => "q8_0",
            Self::Q4_0 { .. } => "q4_0",
            Self::Iq4Nl { .. } => "iq4_nl",
            Self::Mxfp4Gguf { .. } => "mxfp4_gguf",
            Self::Nvfp4Gguf { .. } => "nvfp4_gguf",
            Self::Q4K { .. } => "q4_k",
            Self::Q5K { .. } => "q5_k",
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
    /// A width of 0 or above 2^20 or of no whole blocks, a group that does not divide it, or a scale that is not
    /// finite.
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

    /// The first value of `row` that is not a number, by its index, or the first scale that is not finite: zero times
    /// an infinite one is not a number either.
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

    /// Encodes whole rows, one after another, by the usual rule of each format:
    ///
    /// - F16, BF16 and FP8: to nearest, ties to even, as `ml_dtypes` and PyTorch. What is too large for F16, BF16 or
    ///   FP8 without scales is an error, not infinite and not cut off.
    /// - Scales of FP8, INT8 and INT4: the largest value of the group over 448, 127 or 7, and codes to nearest, ties to
    ///   even (symmetric round-to-nearest). A scale is the nearest of its type, and never zero; those of a byte, E4M3
    ///   and UE8M0, are the next that is as much, as DeepSeek's are.
    /// - A table's scale is the codec's ([`Self::with_table_scale`] finds one).
    /// - `mxfp4`: the OCP Microscaling standard. The largest value comes to between 4 and 8; what is above 6 becomes 6.
    /// - `nvfp4`: a scale of E4M3 for each 16, the largest over 6 and the table's scale, as NVIDIA's `ModelOpt`.
    /// - GGML's types: its reference quantizers, to the bit; of `iq4_nl` the one that its tools use, without
    ///   importance.
    ///
    /// The same values give the same bytes on every processor. What was decoded is encoded to the same values again,
    /// apart from `iq4_nl`, `q4_k` and `q5_k`, which search a compromise anew, from scales in E4M3, and from the last
    /// digit of those in F32.
    ///
    /// ```
    /// use engram_format::{RowCodec, ScaleType};
    ///
    /// let codec = RowCodec::Int8 { width: 2, group: 2, scale: ScaleType::F16 };
    /// let mut row = [0; 4];
    /// codec.encode(&[-254.0, 128.9], &mut row)?;
    /// assert_eq!(row, [0x81, 64, 0x00, 0x40]); // -127 and 64, times 2
    /// # Ok::<(), engram_format::EncodeError>(())
    /// ```
    ///
    /// # Errors
    /// A value that is not a number or infinite, or one that is too large; rows from that on are not all written.
    ///
    /// # Panics
    /// If `values` are no whole rows, or `rows` does not have [`Self::row_bytes`] for each of them.
    pub fn encode(self, values: &[f32], rows: &mut [u8]) -> Result<(), EncodeError> {
        let (row_bytes, width) = (self.row_bytes(), self.width());
        assert!(
            values.len().is_multiple_of(width),
            "{} values are no whole number of rows of {width}",
            values.len()
        );
        let count = values.len() / width;
        assert_eq!(
            rows.len(),
            count * row_bytes,
            "{count} rows of {row_bytes} bytes do not match the output"
        );
        with_codec!(self, codec => simd::encode_rows(codec, values, rows))
    }

    /// The scale that all rows of a table share; none if the codec has no such scale.
    pub fn table_scale(self) -> Option<f32> {
        match self {
            Self::Fp8Scaled { scale_bits, .. }
            | Self::Nvfp4 { scale_bits, .. }
            | Self::Nvfp4Gguf { scale_bits, .. } => Some(f32::from_bits(scale_bits)),
            _ => None,
        }
    }

    /// This codec with the usual scale for a table whose largest magnitude is `largest`: it becomes the largest value
    /// that there is, 448 of FP8, 6 · 448 of NVFP4, and 6 · 240 of GGML's, whose quantizer knows no scale between 240
    /// and 448. The scale is 1 if all values are zero. A codec without a table's scale stays as it is.
    #[must_use]
    pub fn with_table_scale(mut self, largest: f32) -> Self {
        let (scale_bits, most) = match &mut self {
            Self::Fp8Scaled { scale_bits, .. } => (scale_bits, 448.0),
            Self::Nvfp4 { scale_bits, .. } => (scale_bits, 6.0 * 448.0),
            Self::Nvfp4Gguf { scale_bits, .. } => (scale_bits, 6.0 * 240.0),
            _ => return self,
        };
        let scale = if largest == 0.0 { 1.0 } else { largest / most };
        *scale_bits = scale.max(f32::MIN_POSITIVE).to_bits();
        self
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
        with_codec!(self, codec => simd::decode_rows(codec, rows, out, round));
    }
}

/// In words, such as `256 values in FP8 (E4M3) with a scale in UE8M0 for every 32`.
impl fmt::Display for RowCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.width();
        write!(f, "{width} values in ")?;
        let grouped = |f: &mut fmt::Formatter<'_>, values, group, scale: ScaleType| {
            if usize::try_from(group) == Ok(width) {
                write!(f, "{values} with a scale in {scale} for the row")
            } else {
                write!(f, "{values} with a scale in {scale} for every {group}")
            }
        };
        let scaled = |f: &mut fmt::Formatter<'_>, values, scale_bits| {
            let scale = f32::from_bits(scale_bits);
            write!(f, "{values} with the scale {scale} for the whole table")
        };
        match *self {
            Self::F32 { .. } => f.write_str("F32"),
            Self::F16 { .. } => f.write_str("F16"),
            Self::Bf16 { .. } => f.write_str("BF16"),
            Self::Fp8Ue8m0 { group, .. } => grouped(f, "FP8 (E4M3)", group, ScaleType::Ue8m0),
            Self::Fp8Scaled { scale_bits, .. } => scaled(f, "FP8 (E4M3)", scale_bits),
            Self::Fp8 { .. } => f.write_str("FP8 (E4M3)"),
            Self::Fp8Grouped { group, scale, .. } => grouped(f, "FP8 (E4M3)", group, scale),
            Self::Int8 { group, scale, .. } => grouped(f, "INT8", group, scale),
            Self::Int4 { group, scale, .. } => grouped(f, "INT4", group, scale),
            Self::Nvfp4 { scale_bits, .. } => scaled(f, "NVFP4", scale_bits),
            Self::Mxfp4 { .. } => f.write_str("MXFP4"),
            Self::Q8_0 { .. } => f.write_str("GGML's Q8_0"),
            Self::Q4_0 { .. } => f.write_str("GGML's Q4_0"),
            Self::Iq4Nl { .. } => f.write_str("GGML's IQ4_NL"),
            Self::Mxfp4Gguf { .. } => f.write_str("GGML's MXFP4"),
            Self::Nvfp4Gguf { scale_bits, .. } => scaled(f, "GGML's NVFP4", scale_bits),
            Self::Q4K { .. } => f.write_str("GGML's Q4_K"),
            Self::Q5K { .. } => f.write_str("GGML's Q5_K"),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod encode_tests;
