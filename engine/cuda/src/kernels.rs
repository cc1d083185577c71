//! The calls of the kernels in `kernels/rows.cu`, which has the same structures.

use engram::{RowCodec, bf16, f16};

use crate::error::{DeviceError, expect};

/// The kernels, which the driver compiles for the device at hand.
pub(crate) const PTX: &str = include_str!("../kernels/rows.ptx");

/// Bits of a row's place in an entry of the table of hot rows.
pub(crate) const PLACE_BITS: u32 = 28;

/// The values that a device makes of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
}

impl Output {
    /// Bytes of a value.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Decodes whole rows on the processor, as kernels do: little-endian values, one row after another.
    ///
    /// # Panics
    /// If `rows` is no whole number of rows.
    pub fn decode(self, codec: RowCodec, rows: &[u8]) -> Vec<u8> {
        let count = rows.len() / codec.row_bytes() * codec.width();
        let bytes = |of: &mut dyn Iterator<Item = [u8; 2]>| of.flatten().collect();
        match self {
            Self::F32 => {
                let mut values = vec![0.0; count];
                codec.decode_f32(rows, &mut values);
                values.into_iter().flat_map(f32::to_le_bytes).collect()
            }
            Self::F16 => {
                let mut values = vec![f16::ZERO; count];
                codec.decode_f16(rows, &mut values);
                bytes(&mut values.into_iter().map(f16::to_le_bytes))
            }
            Self::Bf16 => {
                let mut values = vec![bf16::ZERO; count];
                codec.decode_bf16(rows, &mut values);
                bytes(&mut values.into_iter().map(bf16::to_le_bytes))
            }
        }
    }
}

/// A [`RowCodec`] as kernels know it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codec {
    kind: u32,
    width: u32,
    group: u32,
    scale_bits: u32,
}

impl From<RowCodec> for Codec {
    fn from(codec: RowCodec) -> Self {
        let (width, group, scale_bits) = match codec {
            RowCodec::F32 { width } | RowCodec::F16 { width } | RowCodec::Bf16 { width } => {
                (width, width, 0)
            }
            RowCodec::Fp8Ue8m0 { width, group } => (width, group, 0),
            RowCodec::Fp8Scaled { width, scale_bits } => (width, width, scale_bits),
        };
        Self {
            kind: codec.id(),
            width,
            group,
            scale_bits,
        }
    }
}

/// Rows at addresses, `[rows]`; zero stands for a row of zeros.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decode {
    pub(crate) addresses: u64,
    pub(crate) out: u64,
    pub(crate) rows: u32,
    pub(crate) step: u32,
    pub(crate) codec: Codec,
}

/// A column whose shard a device can read.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MappedColumn {
    pub(crate) first_row: u64,
    /// Of the shard; zero where the column is not in memory.
    pub(crate) address: u64,
}

/// Rows by their ids, `[rows]`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gather {
    pub(crate) ids: u64,
    pub(crate) columns: u64,
    pub(crate) hot_entries: u64,
    pub(crate) hot_rows: u64,
    pub(crate) out: u64,
    pub(crate) rows: u32,
    pub(crate) step: u32,
    pub(crate) column_count: u32,
    pub(crate) hot_mask: u32,
    pub(crate) hot_stride: u32,
    pub(crate) header_bytes: u32,
    pub(crate) group_records: u32,
    pub(crate) group_bytes: u32,
    pub(crate) stride: u32,
    pub(crate) codec: Codec,
}

/// What a device can be told to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    Decode(Decode, RowCodec, Output),
    Gather(Gather, RowCodec, Output),
    /// Nothing, for so many nanoseconds.
    Spin(u64),
}

impl Kernel {
    pub(crate) const NAMES: [&str; 7] = [
        "decode_f32",
        "decode_f16",
        "decode_bf16",
        "gather_f32",
        "gather_f16",
        "gather_bf16",
        "spin",
    ];

    /// Its index in [`Self::NAMES`].
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Decode(_, _, output) => *output as usize,
            Self::Gather(_, _, output) => 3 + *output as usize,
            Self::Spin(_) => 6,
        }
    }

    /// Threads it takes.
    pub(crate) fn threads(&self) -> u64 {
        let parts = |codec: &RowCodec, step: u32| codec.width() as u64 / u64::from(step);
        match self {
            Self::Decode(call, codec, _) => u64::from(call.rows) * parts(codec, call.step),
            Self::Gather(call, codec, _) => u64::from(call.rows) * parts(codec, call.step),
            Self::Spin(_) => 1,
        }
    }
}

/// Values that a thread makes of rows of `codec` at multiples of `align` bytes: eight, where it can read them at once.
pub(crate) fn step(codec: RowCodec, align: usize) -> u32 {
    let group = match codec {
        RowCodec::Fp8Ue8m0 { group, .. } => group,
        _ => 8,
    };
    let eights = codec.width().is_multiple_of(8) && group.is_multiple_of(8);
    if eights && align.is_multiple_of(8) {
        8
    } else {
        1
    }
}

/// Checks that a pass has rows, and fewer threads than a kernel can tell apart.
pub(crate) fn check_threads(rows: usize, codec: RowCodec, step: u32) -> Result<(), DeviceError> {
    let threads = rows.saturating_mul(codec.width() / step as usize);
    expect(
        rows > 0 && u32::try_from(threads).is_ok(),
        "rows of a pass",
        rows,
        "1 or more, values of less than 2^32 threads",
    )
}

#[cfg(test)]
mod tests;
