//! How the rows of a table are encoded, by the types and shapes of its tensors of values and scales.

use engram_format::{RowCodec, ScaleType};
use safetensors::Dtype;

use crate::{
    error::CheckpointError,
    layouts::{Scales, TableTensors},
    named::find,
    spellings::{SCALE, TABLE_SCALE, WEIGHT},
    tensors::{Tensor, TensorFiles},
};

/// Values that share a scale in NVFP4 and in MXFP4.
const NVFP4_GROUP: u64 = 16;
const MXFP4_GROUP: u64 = 32;

/// The codec of a table's rows.
pub(crate) struct Encoding<'a> {
    pub(crate) codec: RowCodec,
    /// The tensors of scales in row order, where each row has its own.
    pub(crate) scales: Vec<&'a Tensor>,
}

/// What a row of `width` values has of the elements of `values`: those of four bits come two in a byte.
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
                scales: Vec::new(),
            })
        };
        match values.dtype {
            Dtype::F32 => return plain(RowCodec::F32 { width }),
            Dtype::F16 => return plain(RowCodec::F16 { width }),
            Dtype::BF16 => return plain(RowCodec::Bf16 { width }),
            Dtype::F8_E4M3 | Dtype::I8 | Dtype::U8 => {}
            dtype => {
                let expected =
                    "F32, F16, BF16 or F8_E4M3, or with scales I8, or U8 for FP4 or INT4";
                return Err(files.fault(values, "dtype", dtype, expected));
            }
        }
        let scales = find_scales(files, tensors, prefix)?;
        let Some(&first) = scales.first() else {
            if values.dtype == Dtype::F8_E4M3 && tensors.scales == Scales::None {
                return plain(RowCodec::Fp8 { width });
            }
            return Err(files.missing(&scale_name(tensors)));
        };
        check_alike(files, &scales)?;
        if values.dtype == Dtype::F8_E4M3 && first.shape.iter().product::<u64>() == 1 {
            let scale_bits = read_same_scale(files, &scales)?.to_bits();
            return plain(RowCodec::Fp8Scaled { width, scale_bits });
        }
        let codec = match values.dtype {
            Dtype::F8_E4M3 => fp8(files, first, width)?,
            Dtype::I8 => {
                let group = group(files, first, width)?;
                let scale = scale_type(files, first, "F32, F16 or BF16")?;
                RowCodec::Int8 {
                    width,
                    group,
                    scale,
                }
            }
            _ => four_bits(files, tensors, prefix, first)?,
        };
        Ok(Self { codec, scales })
    }
}

/// Name of the tensor with the scales of a whole table.
fn scale_name(tensors: &TableTensors) -> String {
    match &tensors.scales {
        Scales::Rows { name, .. } | Scales::Named { name } | Scales::Single { name } => {
            name.clone()
        }
        Scales::None => scale_of(tensors.whole.as_ref().unwrap_or(&tensors.values[0].name)),
    }
}

/// Name of the tensor with the scales of the values in the tensor `name`.
fn scale_of(name: &str) -> String {
    format!("{}{SCALE}", name.strip_suffix(WEIGHT).unwrap_or(name))
}

/// The tensors of scales in row order: that of the whole table, or one beside each tensor of values. None if there are
/// none.
///
/// # Errors
/// Scales beside some tensors of values alone.
fn find_scales<'a>(
    files: &'a TensorFiles,
    tensors: &TableTensors,
    prefix: &str,
) -> Result<Vec<&'a Tensor>, CheckpointError> {
    let whole = find(files, prefix, &scale_name(tensors))?;
    let is_of_first_part = tensors.whole.is_none() && tensors.values.len() > 1;
    if !(whole.is_empty() || is_of_first_part && tensors.scales == Scales::None) {
        return Ok(whole);
    }
    let mut scales = Vec::new();
    for values in &tensors.values {
        scales.push(find(files, prefix, &scale_of(&values.name))?);
    }
    let is_missing = |found: &Vec<&Tensor>| found.is_empty();
    match scales.iter().position(is_missing) {
        Some(place) if !scales.iter().all(is_missing) => {
            Err(files.missing(&scale_of(&tensors.values[place].name)))
        }
        _ => Ok(scales.concat()),
    }
}

/// Checks that tensors of scales differ in their rows alone.
fn check_alike(files: &TensorFiles, scales: &[&Tensor]) -> Result<(), CheckpointError> {
    let first = scales[0];
    for tensor in scales {
        if tensor.dtype != first.dtype {
            let expected = format!("{}, as its siblings", first.dtype);
            return Err(files.fault(tensor, "dtype", tensor.dtype, expected));
        }
        if tensor.shape.get(1..) != first.shape.get(1..) {
            let expected = format!("as that of its siblings, {:?}", first.shape);
            return Err(files.fault(tensor, "shape", format!("{:?}", tensor.shape), expected));
        }
    }
    Ok(())
}

/// The one scale of a table, which all of `scales` must have.
fn read_same_scale(files: &TensorFiles, scales: &[&Tensor]) -> Result<f32, CheckpointError> {
    let first = read_scale(files, scales[0])?;
    for tensor in scales {
        let scale = read_scale(files, tensor)?;
        if scale.to_bits() != first.to_bits() {
            let expected = format!("{first}, as its siblings");
            return Err(files.fault(tensor, "value", scale, expected));
        }
    }
    Ok(first)
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

/// Values of four bits with scales of groups: NVFP4, which has a scale of the whole table as well, MXFP4, or INT4 with
/// scales that are numbers of 16 or 32 bits.
fn four_bits(
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
            let scales = find(files, prefix, &name)?;
            if scales.is_empty() {
                return Err(files.missing(&name));
            }
            let scale_bits = read_same_scale(files, &scales)?.to_bits();
            (NVFP4_GROUP, RowCodec::Nvfp4 { width, scale_bits })
        }
        Dtype::F8_E8M0 | Dtype::U8 => (MXFP4_GROUP, RowCodec::Mxfp4 { width }),
        _ => {
            let expected = "F8_E4M3 for NVFP4, F8_E8M0 for MXFP4, or F32, F16 or BF16 for INT4";
            return Ok(RowCodec::Int4 {
                width,
                scale: scale_type(files, scales, expected)?,
                group: group(files, scales, width)?,
            });
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
