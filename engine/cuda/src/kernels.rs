//! The calls of the kernels in `kernels/rows.cu` and `kernels/codecs.cuh`, which have the same structures.

use engram::{RowCodec, ScaleType, ValueType};

use crate::error::DeviceError;

/// The kernels, which the driver compiles for the GPU.
pub(crate) const PTX: &str = include_str!("../kernels/rows.ptx");

/// A [`RowCodec`] as kernels know it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codec {
    kind: u32,
    width: u32,
    group: u32,
    scale_bits: u32,
    scale_type: u32,
}

impl From<RowCodec> for Codec {
    fn from(codec: RowCodec) -> Self {
        let scale_bits = match codec {
            RowCodec::Fp8Scaled { scale_bits, .. }
            | RowCodec::Nvfp4 { scale_bits, .. }
            | RowCodec::Nvfp4Gguf { scale_bits, .. } => scale_bits,
            _ => 0,
        };
        let scale_type = match codec {
            RowCodec::Fp8Grouped { scale, .. }
            | RowCodec::Int8 { scale, .. }
            | RowCodec::Int4 { scale, .. } => match scale {
                ScaleType::F32 => 0,
                ScaleType::F16 => 1,
                ScaleType::Bf16 => 2,
                ScaleType::E4m3 => 3,
                ScaleType::Ue8m0 => 4,
            },
            _ => 0,
        };
        Self {
            kind: codec.id(),
            width: u32::try_from(codec.width()).expect("a codec has at most 2^20 values"),
            group: group(codec),
            scale_bits,
            scale_type,
        }
    }
}

/// Values of `codec` that share a scale of a length of its own; eight where blocks have a fixed length, all of which
/// are multiples of eight. Every variant is named, so that a new one is an error here until codecs.cuh has it.
fn group(codec: RowCodec) -> u32 {
    match codec {
        RowCodec::Fp8Ue8m0 { group, .. }
        | RowCodec::Fp8Grouped { group, .. }
        | RowCodec::Int8 { group, .. }
        | RowCodec::Int4 { group, .. } => group,
        RowCodec::F32 { .. }
        | RowCodec::F16 { .. }
        | RowCodec::Bf16 { .. }
        | RowCodec::Fp8 { .. }
        | RowCodec::Fp8Scaled { .. }
        | RowCodec::Nvfp4 { .. }
        | RowCodec::Mxfp4 { .. }
        | RowCodec::Q8_0 { .. }
        | RowCodec::Q4_0 { .. }
        | RowCodec::Iq4Nl { .. }
        | RowCodec::Mxfp4Gguf { .. }
        | RowCodec::Nvfp4Gguf { .. }
        | RowCodec::Q4K { .. }
        | RowCodec::Q5K { .. } => 8,
    }
}

/// Argument of the kernels that decode rows at given addresses, `[rows]`; address zero stands for a row of zeros.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decode {
    pub(crate) addresses: u64,
    pub(crate) out: u64,
    pub(crate) rows: u32,
    /// Values per thread.
    pub(crate) step: u32,
    pub(crate) codec: Codec,
}

/// A column whose shard a device can read.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MappedColumn {
    pub(crate) first_row: u64,
    /// Address of the shard; zero where the column is not in memory.
    pub(crate) address: u64,
}

/// Argument of the kernels that find rows by their ids, `[rows]`, and decode them.
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

/// A kernel and its argument.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    Decode(Decode, RowCodec, ValueType),
    Gather(Gather, RowCodec, ValueType),
    /// Does nothing for so many nanoseconds.
    #[cfg(feature = "bench")]
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
            Self::Decode(_, _, value_type) => *value_type as usize,
            Self::Gather(_, _, value_type) => 3 + *value_type as usize,
            #[cfg(feature = "bench")]
            Self::Spin(_) => 6,
        }
    }

    /// Threads that it runs in.
    pub(crate) fn threads(&self) -> u64 {
        let threads_per_row = |codec: &RowCodec, step: u32| codec.width() as u64 / u64::from(step);
        match self {
            Self::Decode(call, codec, _) => {
                u64::from(call.rows) * threads_per_row(codec, call.step)
            }
            Self::Gather(call, codec, _) => {
                u64::from(call.rows) * threads_per_row(codec, call.step)
            }
            #[cfg(feature = "bench")]
            Self::Spin(_) => 1,
        }
    }
}

/// Consecutive values that a thread decodes, of rows of `codec` at multiples of `align` bytes: eight where they share
/// what they are scaled by, and words can be read at once where the kernel reads words, else one.
pub(crate) fn values_per_thread(codec: RowCodec, align: usize) -> u32 {
    let reads_words = matches!(
        codec,
        RowCodec::F32 { .. }
            | RowCodec::F16 { .. }
            | RowCodec::Bf16 { .. }
            | RowCodec::Fp8Ue8m0 { .. }
            | RowCodec::Fp8Scaled { .. }
    );
    let eights = codec.width().is_multiple_of(8) && group(codec).is_multiple_of(8);
    if eights && (!reads_words || align.is_multiple_of(8)) {
        8
    } else {
        1
    }
}

/// Checks that passes may have `max_rows` rows: at least one, and no more than a kernel has threads for.
pub(crate) fn check_max_rows(
    max_rows: usize,
    codec: RowCodec,
    step: u32,
) -> Result<(), DeviceError> {
    if max_rows == 0 {
        return Err(DeviceError::ZeroMaxRows);
    }
    let max = u32::MAX as usize / (codec.width() / step as usize).max(1);
    if max_rows > max {
        let found = max_rows;
        return Err(DeviceError::MaxRowsTooLarge { found, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
