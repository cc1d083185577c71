//! The tensors of a table, checked against what the configuration says of them.

use engram_format::{HashRule, LayerId, Plane, RowCodec, Scheme, Segment};
use safetensors::Dtype;

use crate::{
    encoding::{Encoding, stored_width},
    error::CheckpointError,
    layouts::TableTensors,
    named::{find, get},
    tensors::{Tensor, TensorFiles},
};

/// The most rows of a table that are taken for padding. Models pad to multiples far below it.
pub(crate) const MAX_PADDING_ROWS: u64 = 1 << 16;
/// Bytes of padding that are read at a time.
const PART_BYTES: usize = 1 << 20;

/// Where the rows of one table lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// The model's layer id.
    pub layer: LayerId,
    /// How rows are encoded.
    pub codec: RowCodec,
    /// Values, then scales where they have their own tensor. Rows that hold both are one plane.
    pub planes: Vec<Plane>,
    /// Rows at the end of its tensors, all zero, that no column reads. `planes` leave them out.
    pub padding_rows: u64,
}

impl SourceTable {
    /// Bytes of a row in each of the planes.
    #[expect(clippy::missing_panics_doc, reason = "memory holds a row")]
    pub fn part_bytes(&self) -> Vec<usize> {
        let bytes = |plane: &Plane| usize::try_from(plane.row_bytes).expect("memory holds a row");
        self.planes.iter().map(bytes).collect()
    }
}

/// The table of the layer at `index` of `scheme`, whose `tensors` have names that begin with `prefix`, and how its rows
/// are encoded.
pub(crate) fn locate(
    files: &TensorFiles,
    scheme: &Scheme,
    index: usize,
    tensors: &TableTensors,
    prefix: &str,
) -> Result<SourceTable, CheckpointError> {
    let layer = &scheme.layers[index];
    let codec_fault = |cause| CheckpointError::Codec {
        layer: layer.id,
        cause,
    };
    // Tensors without width could claim any number of rows.
    let width = tensors.width;
    RowCodec::F32 { width }.validate().map_err(codec_fault)?;
    let values = Values::find(files, tensors, prefix)?;
    let first = values.tensors[0];
    for tensor in &values.tensors {
        check_shape(files, tensor, stored_width(first, width), first.dtype)?;
    }
    let Encoding { codec, scales } = Encoding::find(files, tensors, prefix, first)?;
    codec.validate().map_err(codec_fault)?;
    let [value_bytes, scale_bytes] = codec.plane_bytes().map(|bytes| bytes as u64);
    let rows = values.place(files, layer.id, value_bytes)?;
    let found = rows.padding + rows.used.iter().map(|(_, rows)| rows).sum::<u64>();
    if let Some(expected) = tensors.padded_rows
        && found != expected
    {
        return Err(files.fault(
            first,
            "rows",
            found,
            format!("{expected}, by the configuration"),
        ));
    }
    let mut planes = vec![plane(&rows.used, value_bytes)];
    if let Some(scales) = scales {
        let found = scales.shape[0];
        let with_padding = layer.row_count + rows.padding;
        if found != with_padding && found != layer.row_count {
            return Err(files.fault(scales, "rows", found, with_padding));
        }
        planes.push(plane(&[(scales, layer.row_count)], scale_bytes));
    }
    Ok(SourceTable {
        layer: layer.id,
        codec,
        planes,
        padding_rows: rows.padding,
    })
}

/// The tensors that hold the values of a table.
struct Values<'a> {
    tensors: Vec<&'a Tensor>,
    /// Rows of each by the configuration.
    expected: Vec<u64>,
    /// Whether rows go on from one tensor to the next, or each tensor is a column.
    continuous: bool,
}

/// Where the rows of a table lie, without its padding.
struct UsedRows<'a> {
    used: Vec<(&'a Tensor, u64)>,
    padding: u64,
}

impl<'a> Values<'a> {
    fn find(
        files: &'a TensorFiles,
        tensors: &TableTensors,
        prefix: &str,
    ) -> Result<Self, CheckpointError> {
        let rows = tensors.values.iter().map(|tensor| tensor.rows);
        if let Some(whole) = &tensors.whole
            && let Some(tensor) = find(files, prefix, whole)?
        {
            let part = &tensors.values[0].name;
            if let Some(part) = find(files, prefix, part)? {
                return Err(files.ambiguous(whole, vec![tensor.name.clone(), part.name.clone()]));
            }
            return Ok(Self {
                tensors: vec![tensor],
                expected: vec![rows.sum()],
                continuous: true,
            });
        }
        let named = tensors
            .values
            .iter()
            .map(|tensor| get(files, prefix, &tensor.name));
        Ok(Self {
            tensors: named.collect::<Result<_, _>>()?,
            expected: rows.collect(),
            continuous: tensors.whole.is_some(),
        })
    }

    /// Checks the number of rows. There may be more than the configuration says, at the end, where they are zero:
    /// vocabularies are padded to a multiple, and no column reads them.
    fn place(
        &self,
        files: &TensorFiles,
        layer: LayerId,
        row_bytes: u64,
    ) -> Result<UsedRows<'a>, CheckpointError> {
        let rows = self.tensors.iter().map(|tensor| tensor.shape[0]);
        let (found, expected) = (rows.clone().sum(), self.expected.iter().sum());
        if found < expected || found - expected > MAX_PADDING_ROWS {
            return Err(CheckpointError::RowCount {
                layer,
                found,
                expected,
            });
        }
        let mut used = Vec::new();
        let mut left = expected;
        for ((tensor, rows), expected_here) in self.tensors.iter().zip(rows).zip(&self.expected) {
            let wanted = if self.continuous {
                left
            } else {
                *expected_here
            };
            if rows < wanted && !self.continuous {
                return Err(files.fault(tensor, "rows", rows, wanted));
            }
            let taken = rows.min(wanted);
            left -= taken;
            if let Some(row) = first_other(files, tensor, taken * row_bytes)? {
                return Err(CheckpointError::NoPadding {
                    layer,
                    found,
                    expected,
                    tensor: tensor.name.clone(),
                    row: row / row_bytes,
                });
            }
            if taken > 0 {
                used.push((*tensor, taken));
            }
        }
        Ok(UsedRows {
            used,
            padding: found - expected,
        })
    }
}

/// Place of the first byte of `tensor` from `start` on that is not zero.
fn first_other(
    files: &TensorFiles,
    tensor: &Tensor,
    start: u64,
) -> Result<Option<u64>, CheckpointError> {
    let mut at = start;
    while at < tensor.bytes {
        let bytes = files.read_part(tensor, at, PART_BYTES)?;
        if let Some(place) = bytes.iter().position(|&byte| byte != 0) {
            return Ok(Some(at + place as u64));
        }
        at += bytes.len() as u64;
    }
    Ok(None)
}

/// Checks that a tensor of values is `[rows, width]`.
fn check_shape(
    files: &TensorFiles,
    tensor: &Tensor,
    width: u32,
    dtype: Dtype,
) -> Result<(), CheckpointError> {
    let &[_, found] = tensor.shape.as_slice() else {
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
    Ok(())
}

fn plane(tensors: &[(&Tensor, u64)], row_bytes: u64) -> Plane {
    let mut first_row = 0;
    let segments = tensors.iter().map(|&(tensor, row_count)| {
        let segment = Segment {
            tensor: tensor.name.clone(),
            source: tensor.source,
            offset: tensor.offset,
            first_row,
            row_count,
        };
        first_row += row_count;
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
    prefix: &str,
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
            let Some(tensor) = files.resolve(&format!("{prefix}{name}"))? else {
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
