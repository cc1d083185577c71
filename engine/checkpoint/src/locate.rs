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
    let first = values.groups[0].tensors[0];
    for tensor in values.groups.iter().flat_map(|group| &group.tensors) {
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
    if !scales.is_empty() {
        let used = place_scales(files, &scales, &rows)?;
        planes.push(plane(&used, scale_bytes));
    }
    Ok(SourceTable {
        layer: layer.id,
        codec,
        planes,
        padding_rows: rows.padding,
    })
}

/// The tensors that hold the values of a table, in row order.
struct Values<'a> {
    groups: Vec<Group<'a>>,
}

/// Tensors whose rows go on from one to the next: those of a table, or of one of its columns.
struct Group<'a> {
    tensors: Vec<&'a Tensor>,
    /// Rows by the configuration.
    expected: u64,
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
        let expected = tensors.values.iter().map(|tensor| tensor.rows).sum();
        if let Some(whole) = &tensors.whole {
            let found = find(files, prefix, whole)?;
            if let Some(tensor) = found.first() {
                let part = find(files, prefix, &tensors.values[0].name)?;
                if let Some(part) = part.first() {
                    let names = vec![tensor.name.clone(), part.name.clone()];
                    return Err(files.ambiguous(whole, names));
                }
                return Ok(Self::of_one(found, expected));
            }
        }
        let groups = tensors.values.iter().map(|tensor| {
            Ok(Group {
                tensors: get(files, prefix, &tensor.name)?,
                expected: tensor.rows,
            })
        });
        let groups: Vec<Group<'a>> = groups.collect::<Result<_, CheckpointError>>()?;
        if tensors.whole.is_some() {
            let tensors = groups.into_iter().flat_map(|group| group.tensors);
            return Ok(Self::of_one(tensors.collect(), expected));
        }
        Ok(Self { groups })
    }

    fn of_one(tensors: Vec<&'a Tensor>, expected: u64) -> Self {
        Self {
            groups: vec![Group { tensors, expected }],
        }
    }

    /// Checks the number of rows. There may be more than the configuration says, at the end, where they are zero:
    /// vocabularies are padded to a multiple, and no column reads them.
    fn place(
        &self,
        files: &TensorFiles,
        layer: LayerId,
        row_bytes: u64,
    ) -> Result<UsedRows<'a>, CheckpointError> {
        let found = self.groups.iter().map(Group::rows).sum();
        let expected = self.groups.iter().map(|group| group.expected).sum();
        if found < expected || found - expected > MAX_PADDING_ROWS {
            return Err(CheckpointError::RowCount {
                layer,
                found,
                expected,
            });
        }
        let mut used = Vec::new();
        for group in &self.groups {
            let (rows, mut left) = (group.rows(), group.expected);
            if rows < left {
                return Err(files.fault(group.tensors[0], "rows", rows, left));
            }
            for tensor in &group.tensors {
                let taken = tensor.shape[0].min(left);
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
        }
        Ok(UsedRows {
            used,
            padding: found - expected,
        })
    }
}

impl Group<'_> {
    fn rows(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.shape[0]).sum()
    }
}

/// Where the scales of rows lie whose values are `values`: each tensor of scales has as many rows as one of values, or
/// all of them together have all rows. Either may leave out the padding.
fn place_scales<'a>(
    files: &TensorFiles,
    scales: &[&'a Tensor],
    values: &UsedRows<'_>,
) -> Result<Vec<(&'a Tensor, u64)>, CheckpointError> {
    if scales.len() == values.used.len() {
        let mut used = Vec::new();
        for (tensor, (of_values, rows)) in scales.iter().zip(&values.used) {
            let (found, with_padding) = (tensor.shape[0], of_values.shape[0]);
            if found != *rows && found != with_padding {
                return Err(files.fault(tensor, "rows", found, with_padding));
            }
            used.push((*tensor, *rows));
        }
        return Ok(used);
    }
    let mut left: u64 = values.used.iter().map(|(_, rows)| rows).sum();
    let found: u64 = scales.iter().map(|tensor| tensor.shape[0]).sum();
    if found != left && found != left + values.padding {
        return Err(files.fault(scales[0], "rows", found, left + values.padding));
    }
    let mut used = Vec::new();
    for tensor in scales {
        let taken = tensor.shape[0].min(left);
        left -= taken;
        if taken > 0 {
            used.push((*tensor, taken));
        }
    }
    Ok(used)
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
