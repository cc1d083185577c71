//! How the rows of a table are encoded, by the types and shapes of its tensors of values and scales.

use engram_format::{RowCodec, ScaleType};
use safetensors::Dtype;

use crate::{
    error::CheckpointError,
    layouts::{Scales, TableTensors},
    named::{find, get},
    spellings::{TABLE_SCALE, WEIGHT},
    tensors::{Tensor, TensorFiles},
};

/// Values that share a scale in NVFP4 and in MXFP4.
const NVFP4_GROUP: u64 = 16;
const MXFP4_GROUP: u64 = 32;

/// The codec of a table's rows.
pub(crate) struct Encoding<'a> {
    pub(crate) codec: RowCodec,
    /// Where each row has its own.
    pub(crate) scales: Option<&'a Tensor>,
}

/// What a row of `width` values has of the elements of `values`: FP4 values come two in a byte.
pub(crate) fn stored_width(values: &Tensor, width: u32) -> u32 {
    if values.dtype == Dtype::U8 {
        width / 2
    } else {
        width
    }
}

impl<'a> Encoding<'a> {
    /// The encoding of rows whose values are in tensors like `values`.
    pub(crate) fn find(
        files: &'a TensorFiles,
        tensors: &TableTensors,
        prefix: &str,
        values: &Tensor,
    ) -> Result<Self, CheckpointError> {
        let width = tensors.width;
        let plain = |codec| {
            Ok(Self {
                codec,
                scales: None,
            })
        };
        let name = match (values.dtype, &tensors.scales) {
            (Dtype::F32, _) => return plain(RowCodec::F32 { width }),
            (Dtype::F16, _) => return plain(RowCodec::F16 { width }),
            (Dtype::BF16, _) => return plain(RowCodec::Bf16 { width }),
            (Dtype::F8_E4M3, Scales::None) => return plain(RowCodec::Fp8 { width }),
            (
                Dtype::F8_E4M3 | Dtype::I8 | Dtype::U8,
                Scales::Rows { name, .. } | Scales::Single { name },
            ) => name,
            (dtype, _) => {
                let expected = "F32, F16, BF16 or F8_E4M3, or with scales I8, or U8 for FP4";
                return Err(files.fault(values, "dtype", dtype, expected));
            }
        };
        let scales = get(files, prefix, name)?;
        if values.dtype == Dtype::F8_E4M3 && scales.shape.iter().product::<u64>() == 1 {
            let scale_bits = read_scale(files, scales)?.to_bits();
            return plain(RowCodec::Fp8Scaled { width, scale_bits });
        }
        let codec = match values.dtype {
            Dtype::F8_E4M3 => fp8(files, scales, width)?,
            Dtype::I8 => {
                let group = group(files, scales, width)?;
                let scale = scale_type(files, scales, "F32, F16 or BF16")?;
                RowCodec::Int8 {
                    width,
                    group,
                    scale,
                }
            }
            _ => fp4(files, tensors, prefix, scales)?,
        };
        Ok(Self {
            codec,
            scales: Some(scales),
        })
    }
}

/// FP8 values with scales a row or group.
fn fp8(files: &TensorFiles, scales: &Tensor, width: u32) -> Result<RowCodec, CheckpointError> {
    let group = group(files, scales, width)?;
    // Some converters store the scale bytes as plain integers.
    if matches!(scales.dtype, Dtype::F8_E8M0 | Dtype::U8) {
        return Ok(RowCodec::Fp8Ue8m0 { width, group });
    }
    let scale = scale_type(files, scales, "F8_E8M0, F32, F16 or BF16")?;
    Ok(RowCodec::Fp8Grouped {
        width,
        group,
        scale,
    })
}

/// FP4 values with scales of groups: NVFP4, which has a scale of the whole table as well, or MXFP4.
fn fp4(
    files: &TensorFiles,
    tensors: &TableTensors,
    prefix: &str,
    scales: &Tensor,
) -> Result<RowCodec, CheckpointError> {
    let width = tensors.width;
    let (size, codec) = match scales.dtype {
        Dtype::F8_E4M3 => {
            let table = tensors.whole.as_ref().unwrap_or(&tensors.values[0].name);
            let name = table.strip_suffix(WEIGHT).unwrap_or(table);
            let name = format!("{name}{TABLE_SCALE}");
            let scale = find(files, prefix, &name)?.ok_or_else(|| files.missing(&name))?;
            let scale_bits = read_scale(files, scale)?.to_bits();
            (NVFP4_GROUP, RowCodec::Nvfp4 { width, scale_bits })
        }
        Dtype::F8_E8M0 | Dtype::U8 => (MXFP4_GROUP, RowCodec::Mxfp4 { width }),
        dtype => {
            let expected = "F8_E4M3 for NVFP4 or F8_E8M0 for MXFP4";
            return Err(files.fault(scales, "dtype", dtype, expected));
        }
    };
    if u64::from(group(files, scales, width)?) != size {
        let expected = format!("[rows, {}]", u64::from(width) / size);
        return Err(files.fault(scales, "shape", format!("{:?}", scales.shape), expected));
    }
    Ok(codec)
}

fn scale_type(
    files: &TensorFiles,
    scales: &Tensor,
    expected: &str,
) -> Result<ScaleType, CheckpointError> {
    match scales.dtype {
        Dtype::F32 => Ok(ScaleType::F32),
        Dtype::F16 => Ok(ScaleType::F16),
        Dtype::BF16 => Ok(ScaleType::Bf16),
        dtype => Err(files.fault(scales, "dtype", dtype, expected)),
    }
}

/// Values that share one of `scales`, which are `[rows, groups]`, or `[rows]` for one a row.
fn group(files: &TensorFiles, scales: &Tensor, width: u32) -> Result<u32, CheckpointError> {
    let groups = match *scales.shape.as_slice() {
        [_] => 1,
        [_, groups] if groups > 0 && u64::from(width).is_multiple_of(groups) => groups,
        ref shape => {
            let expected = format!("[rows, a divisor of {width}]");
            return Err(files.fault(scales, "shape", format!("{shape:?}"), expected));
        }
    };
    let groups = u32::try_from(groups).expect("it divides the width");
    Ok(width / groups)
}

fn read_scale(files: &TensorFiles, tensor: &Tensor) -> Result<f32, CheckpointError> {
    if tensor.shape.iter().product::<u64>() != 1 {
        return Err(files.fault(tensor, "shape", format!("{:?}", tensor.shape), "one scale"));
    }
    let bytes = files.read(tensor)?;
    match (tensor.dtype, bytes.as_slice()) {
        (Dtype::F32, &[a, b, c, d]) => Ok(f32::from_le_bytes([a, b, c, d])),
        (Dtype::BF16, &[a, b]) => Ok(f32::from_le_bytes([0, 0, a, b])),
        (Dtype::F16, half) => {
            let mut scale = [0.0];
            RowCodec::F16 { width: 1 }.decode_f32(half, &mut scale);
            Ok(scale[0])
        }
        (dtype, _) => Err(files.fault(tensor, "dtype", dtype, "F32, F16 or BF16")),
    }
}
