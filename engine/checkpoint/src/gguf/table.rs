//! The tensor of a table: its codec, and where its rows lie.

use engram_format::{LayerId, Plane, RowCodec, Segment};

use super::{
    error::GgufError,
    files::GgufFiles,
    header::GgufTensor,
    tensor_type::{F32, I8, NVFP4, READ, TensorType, type_name},
};
use crate::{
    error::CheckpointError,
    locate::{MAX_PADDING_ROWS, SourceTable},
};

/// Values that share a scale in records of FP8 values and scales.
const FP8_GROUP: u64 = 32;

/// A tensor that holds a table.
pub(super) struct TableTensor<'a> {
    files: &'a GgufFiles,
    source: u32,
    tensor: &'a GgufTensor,
    pub(super) codec: RowCodec,
    /// Rows, padding among them.
    pub(super) rows: u64,
}

impl<'a> TableTensor<'a> {
    /// The tensor `name`. Where `fp8_records` are known, a tensor of bytes holds rows of FP8 values and their scales.
    pub(super) fn find(
        files: &'a GgufFiles,
        name: &str,
        fp8_records: bool,
    ) -> Result<Self, CheckpointError> {
        let (source, tensor) = files.get(name)?;
        let (row, rows) = match *tensor.shape.as_slice() {
            [row, rows] | [row, rows, 1] | [row, rows, 1, 1] if rows > 0 => (row, rows),
            _ => {
                let found = format!("{:?}", tensor.shape);
                return Err(fault(
                    files,
                    tensor,
                    "shape",
                    found,
                    "[values of a row, rows]",
                ));
            }
        };
        let expected = || {
            let records = if fp8_records {
                ", or I8 for FP8 records"
            } else {
                ""
            };
            format!("{READ}{records}")
        };
        let codec = match TensorType::find(tensor.type_id) {
            Some(known) if known.id == I8 && fp8_records => fp8_codec(files, tensor, row)?,
            Some(known) => {
                let width = u32::try_from(row).unwrap_or(u32::MAX);
                let scale = if known.id == NVFP4 {
                    table_scale(files, name)?
                } else {
                    1.0
                };
                known.codec(width, scale).ok_or_else(|| {
                    files.fault(GgufError::TensorType {
                        name: name.into(),
                        found: known.name.into(),
                        expected: expected(),
                    })
                })?
            }
            None => {
                return Err(files.fault(GgufError::TensorType {
                    name: name.into(),
                    found: type_name(tensor.type_id),
                    expected: expected(),
                }));
            }
        };
        Ok(Self {
            files,
            source,
            tensor,
            codec,
            rows,
        })
    }

    /// The rows of `layer`: `row_count` of the tensor's, of which the rest is padding. `expected` is the sum of the
    /// columns.
    pub(super) fn place(
        &self,
        layer: LayerId,
        expected: u64,
        row_count: u64,
    ) -> Result<SourceTable, CheckpointError> {
        if self.rows < expected || self.rows - expected > MAX_PADDING_ROWS {
            return Err(CheckpointError::RowCount {
                layer,
                found: self.rows,
                expected,
            });
        }
        let codec = self.codec;
        codec
            .validate()
            .map_err(|cause| CheckpointError::Codec { layer, cause })?;
        Ok(SourceTable {
            layer,
            codec,
            planes: vec![Plane {
                row_bytes: codec.row_bytes() as u64,
                segments: vec![Segment {
                    tensor: self.tensor.name.clone(),
                    source: self.source,
                    offset: self.tensor.offset,
                    first_row: 0,
                    row_count,
                }],
            }],
            padding_rows: self.rows - row_count,
        })
    }

    /// An error about the tensor.
    pub(super) fn fault(
        &self,
        field: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> CheckpointError {
        fault(self.files, self.tensor, field, found, expected)
    }
}

fn fault(
    files: &GgufFiles,
    tensor: &GgufTensor,
    field: &'static str,
    found: impl ToString,
    expected: impl ToString,
) -> CheckpointError {
    files.fault(GgufError::Tensor {
        name: tensor.name.clone(),
        field,
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

/// Rows of `row` bytes that hold FP8 values, then a UE8M0 scale for each 32 of them.
fn fp8_codec(
    files: &GgufFiles,
    tensor: &GgufTensor,
    row: u64,
) -> Result<RowCodec, CheckpointError> {
    let groups = row / (FP8_GROUP + 1);
    let width = u32::try_from(groups * FP8_GROUP).ok();
    match width {
        Some(width) if row.is_multiple_of(FP8_GROUP + 1) && width > 0 => {
            Ok(RowCodec::Fp8Ue8m0 { width, group: 32 })
        }
        _ => {
            let expected = "a multiple of 33: 32 values and their scale";
            Err(fault(files, tensor, "bytes of a row", row, expected))
        }
    }
}

/// The scale of an NVFP4 table, which has a tensor of its own; 1 where there is none.
fn table_scale(files: &GgufFiles, name: &str) -> Result<f32, CheckpointError> {
    let stem = name.strip_suffix(".weight").unwrap_or(name);
    let Some((source, tensor)) = files.find(&format!("{stem}.scale")) else {
        return Ok(1.0);
    };
    if tensor.type_id != F32 || tensor.shape.iter().product::<u64>() != 1 {
        let found = format!("{} {:?}", type_name(tensor.type_id), tensor.shape);
        return Err(fault(files, tensor, "kind", found, "F32 [1]"));
    }
    let mut bytes = [0; 4];
    files.read(source, tensor, &mut bytes)?;
    let scale = f32::from_le_bytes(bytes);
    if scale.is_finite() {
        return Ok(scale);
    }
    Err(fault(files, tensor, "value", scale, "a finite number"))
}
