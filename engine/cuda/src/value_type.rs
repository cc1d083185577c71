//! The values that rows are decoded to.

use engram::{RowCodec, bf16, f16};

/// The type of the values that a device decodes rows to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
}

impl ValueType {
    /// Bytes of a value.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Decodes whole rows on the processor with the kernels' results: little-endian values, one row after another.
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows.
    pub fn decode(self, codec: RowCodec, rows: &[u8]) -> Vec<u8> {
        let count = rows.len() / codec.row_bytes() * codec.width();
        match self {
            Self::F32 => {
                let mut values = vec![0.0; count];
                codec.decode_f32(rows, &mut values);
                values.into_iter().flat_map(f32::to_le_bytes).collect()
            }
            Self::F16 => {
                let mut values = vec![f16::ZERO; count];
                codec.decode_f16(rows, &mut values);
                values.into_iter().flat_map(f16::to_le_bytes).collect()
            }
            Self::Bf16 => {
                let mut values = vec![bf16::ZERO; count];
                codec.decode_bf16(rows, &mut values);
                values.into_iter().flat_map(bf16::to_le_bytes).collect()
            }
        }
    }
}
