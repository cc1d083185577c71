//! The tensors of a table, checked against what the configuration says of them.

use engram_format::{HashRule, LayerId, Plane, RowCodec, Scheme, Segment};
use safetensors::Dtype;

use crate::{
    error::CheckpointError,
    layouts::{Family, Scales, TableTensors},
    tensors::{Tensor, TensorFiles},
};

/// Where the rows of one table lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// The model's layer id.
    pub layer: LayerId,
    /// How rows are encoded.
    pub codec: RowCodec,
    /// Values, then scales where they have their own tensor.
    pub planes: Vec<Plane>,
}

/// The table of the layer at `index` of `scheme`, and how its rows are encoded.
pub(crate) fn locate(
    files: &TensorFiles,
    family: &Family,
    scheme: &Scheme,
    index: usize,
) -> Result<SourceTable, CheckpointError> {
    let layer = &scheme.layers[index];
    let tensors = family.table_tensors(scheme, index);
    let codec_fault = |cause| CheckpointError::Codec {
        layer: layer.id,
        cause,
    };
    // Tensors without width could claim any number of rows.
    let width = tensors.width;
    RowCodec::F32 { width }.validate().map_err(codec_fault)?;
    let values = tensors
        .values
        .iter()
        .map(|tensor| files.get(&tensor.name))
        .collect::<Result<Vec<_>, _>>()?;

    let rows = values
        .iter()
        .map(|tensor| check_shape(files, tensor, tensors.width, values[0].dtype))
        .collect::<Result<Vec<_>, _>>()?;
    let (found, expected) = (
        rows.iter().sum(),
        tensors.values.iter().map(|t| t.rows).sum(),
    );
    if found != expected {
        return Err(CheckpointError::RowCount {
            layer: layer.id,
            found,
            expected,
        });
    }
    for ((tensor, rows), expected) in values.iter().zip(rows).zip(&tensors.values) {
        if rows != expected.rows {
            return Err(files.fault(tensor, "rows", rows, expected.rows));
        }
    }
    let (codec, scales) = codec(files, &tensors, values[0])?;
    codec.validate().map_err(codec_fault)?;
    let [value_bytes, scale_bytes] = codec.plane_bytes().map(|bytes| bytes as u64);
    let mut planes = vec![plane(&values, value_bytes)];
    if let Some(scales) = scales {
        let rows = scales.shape[0];
        if rows != layer.row_count {
            return Err(files.fault(scales, "rows", rows, layer.row_count));
        }
        planes.push(plane(&[scales], scale_bytes));
    }
    Ok(SourceTable {
        layer: layer.id,
        codec,
        planes,
    })
}

/// Rows of a tensor of values, which must be `[rows, width]`.
fn check_shape(
    files: &TensorFiles,
    tensor: &Tensor,
    width: u32,
    dtype: Dtype,
) -> Result<u64, CheckpointError> {
    let &[rows, found] = tensor.shape.as_slice() else {
        return Err(files.fault(
            tensor,
            "shape",
            format!("{:?}", tensor.shape),
            format!("[rows, {width}]"),
        ));
    };
    if found != u64::from(width) {
        return Err(files.fault(tensor, "width", found, width));
    }
    if tensor.dtype != dtype {
        return Err(files.fault(
            tensor,
            "dtype",
            tensor.dtype,
            format!("{dtype}, as its siblings"),
        ));
    }
    Ok(rows)
}

/// The codec of the rows, and the tensor of scales where each row has its own.
fn codec<'a>(
    files: &'a TensorFiles,
    tensors: &TableTensors,
    values: &Tensor,
) -> Result<(RowCodec, Option<&'a Tensor>), CheckpointError> {
    let width = tensors.width;
    let codec = match (values.dtype, &tensors.scales) {
        (Dtype::F32, _) => RowCodec::F32 { width },
        (Dtype::F16, _) => RowCodec::F16 { width },
        (Dtype::BF16, _) => RowCodec::Bf16 { width },
        (Dtype::F8_E4M3, Scales::Single { name }) => RowCodec::Fp8Scaled {
            width,
            scale_bits: read_scale(files, files.get(name)?)?.to_bits(),
        },
        (Dtype::F8_E4M3, Scales::Rows { name, .. }) => {
            let scales = files.get(name)?;
            // Some converters store the scale bytes as plain integers.
            if !matches!(scales.dtype, Dtype::F8_E8M0 | Dtype::U8) {
                return Err(files.fault(scales, "dtype", scales.dtype, "F8_E8M0"));
            }
            let groups = match scales.shape.as_slice() {
                &[_, groups] if groups > 0 && u64::from(width).is_multiple_of(groups) => groups,
                shape => {
                    let expected = format!("[rows, a divisor of {width}]");
                    return Err(files.fault(scales, "shape", format!("{shape:?}"), expected));
                }
            };
            let groups = u32::try_from(groups).expect("it divides the width");
            let codec = RowCodec::Fp8Ue8m0 {
                width,
                group: width / groups,
            };
            return Ok((codec, Some(scales)));
        }
        (dtype, _) => {
            return Err(files.fault(
                values,
                "dtype",
                dtype,
                "F32, F16, BF16, or F8_E4M3 with scales",
            ));
        }
    };
    Ok((codec, None))
}

fn read_scale(files: &TensorFiles, tensor: &Tensor) -> Result<f32, CheckpointError> {
    if tensor.shape.iter().product::<u64>() != 1 {
        return Err(files.fault(tensor, "shape", format!("{:?}", tensor.shape), "one scale"));
    }
    let bytes = files.read(tensor)?;
    match (tensor.dtype, bytes.as_slice()) {
        (Dtype::F32, &[a, b, c, d]) => Ok(f32::from_le_bytes([a, b, c, d])),
        (Dtype::BF16, &[a, b]) => Ok(f32::from_le_bytes([0, 0, a, b])),
        (dtype, _) => Err(files.fault(tensor, "dtype", dtype, "F32 or BF16")),
    }
}

fn plane(tensors: &[&Tensor], row_bytes: u64) -> Plane {
    let mut first_row = 0;
    let segments = tensors.iter().map(|tensor| {
        let segment = Segment {
            tensor: tensor.name.clone(),
            source: tensor.source,
            offset: tensor.offset,
            first_row,
            row_count: tensor.shape[0],
        };
        first_row += tensor.shape[0];
        segment
    });
    Plane {
        row_bytes,
        segments: segments.collect(),
    }
}

/// Qwen's checkpoints carry the constants of their hash; ours must be the same.
pub(crate) fn check_stored_constants(
    files: &TensorFiles,
    scheme: &Scheme,
) -> Result<(), CheckpointError> {
    for (index, layer) in scheme.layers.iter().enumerate() {
        let HashRule::XorMultiply { multipliers } = &layer.hash else {
            continue;
        };
        let offsets: Vec<u64> = scheme
            .columns(index)
            .map(|column| column.first_row)
            .collect();
        let constants = [
            ("layer_multipliers", multipliers),
            ("ngram_heads_vocab_sizes", &layer.buckets),
            ("ngram_heads_offsets", &offsets),
        ];
        for (name, expected) in constants {
            let name = format!("layers.{}.ple.ple_embedding.{name}", layer.id);
            let Some(tensor) = files.find(&name) else {
                continue;
            };
            if tensor.dtype != Dtype::I64 || tensor.bytes != 8 * expected.len() as u64 {
                let shape = format!("{} {:?}", tensor.dtype, tensor.shape);
                return Err(files.fault(
                    tensor,
                    "shape",
                    shape,
                    format!("I64 [{}]", expected.len()),
                ));
            }
            let bytes = files.read(tensor)?;
            let stored: Vec<u64> = bytes
                .as_chunks()
                .0
                .iter()
                .map(|&word| u64::from_le_bytes(word))
                .collect();
            if &stored != expected {
                return Err(files.fault(
                    tensor,
                    "values",
                    format!("{stored:?}"),
                    format!("{expected:?}"),
                ));
            }
        }
    }
    Ok(())
}
