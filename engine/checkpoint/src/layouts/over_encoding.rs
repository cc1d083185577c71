//! N-gram embeddings of research models, which a configuration of ours describes in full.

use engram_format::{
    LayerScheme, OverEncodingParameters, OverEncodingSizes, Scheme, SchemeError, TokenMap,
};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    common::class_count,
    fields::Fields,
    table::{Scales, TableTensors, TensorRows},
};
use crate::error::CheckpointError;

/// The field that holds the description.
pub(super) const FIELD: &str = "over_encoding";
/// Bytes that the name of a tensor may have: it is spelled in many ways, for each layer and column.
const MAX_NAME_BYTES: usize = 256;
/// Stand for the layer's id and the column's index in names of tensors.
const LAYER: &str = "{layer}";
const COLUMN: &str = "{column}";

/// The field `over_encoding` of a configuration: how tokens address rows, and where these lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverEncodingConfig {
    /// How tokens address rows.
    pub scheme: OverEncodingParameters,
    /// Where the rows lie.
    pub rows: OverEncodingRows,
}

/// Where the rows of an over-encoding lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverEncodingRows {
    /// Values a row.
    pub width: u32,
    /// Name of the tensor of a table, `[rows, width]`, in which `{layer}` stands for the layer's id. With `{column}`
    /// each column has a tensor of its own, with that index.
    pub values: String,
    /// Name of the tensor of scales, where it is not that of the values with `weight_scale` in the place of `weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scales: Option<String>,
}

/// # Errors
/// A name of a tensor that would be spelled in too many ways.
fn check_pattern(fields: &Fields<'_>, pattern: &str) -> Result<(), CheckpointError> {
    let parts = pattern.split('.').filter(|part| part.starts_with("shard_"));
    if pattern.len() <= MAX_NAME_BYTES && parts.count() <= 1 {
        return Ok(());
    }
    let expected =
        format!("at most {MAX_NAME_BYTES} bytes, one part of which begins with `shard_`");
    let found = pattern.chars().take(MAX_NAME_BYTES).collect::<String>();
    Err(fields.fault("over_encoding.rows", found, &expected))
}

impl OverEncodingConfig {
    pub(super) fn scale_down(&mut self, factor: u64) {
        let shrink = |size: &mut u64| *size = (*size / factor).max(1);
        for layer in &mut self.scheme.layers {
            match &mut layer.sizes {
                OverEncodingSizes::PrimesFrom(size) | OverEncodingSizes::OddAbove(size) => {
                    shrink(size);
                }
                OverEncodingSizes::Each(sizes) => sizes.iter_mut().for_each(shrink),
            }
        }
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, CheckpointError> {
        let read = fields.value(
            FIELD,
            Self::deserialize,
            "an object with `scheme` and `rows`",
        )?;
        fields.check_all_known(&[])?;
        for pattern in std::iter::once(&read.rows.values).chain(&read.rows.scales) {
            check_pattern(fields, pattern)?;
        }
        Ok(read)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "model_type": FIELD, FIELD: self })
    }

    pub(super) fn scheme(&self, map: Option<&TokenMap>) -> Result<Scheme, SchemeError> {
        if let Some(map) = map {
            let (classes, most) = (class_count(map), self.scheme.vocab_size);
            if classes > most {
                return Err(SchemeError::Field {
                    field: "compressed vocabulary of the tokenizer",
                    found: classes.into(),
                    expected: format!("at most {most}, by vocab_size"),
                });
            }
        }
        self.scheme.scheme()
    }

    pub(super) fn table_tensors(&self, layer: &LayerScheme) -> TableTensors {
        let name = |pattern: &str, column: usize| {
            let name = pattern.replace(LAYER, &layer.id.to_string());
            name.replace(COLUMN, &column.to_string())
        };
        let values = &self.rows.values;
        let tensors = if values.contains(COLUMN) {
            let columns = layer.buckets.iter().enumerate();
            let tensors = columns.map(|(column, &rows)| TensorRows {
                name: name(values, column),
                rows,
            });
            tensors.collect()
        } else {
            vec![TensorRows {
                name: name(values, 0),
                rows: layer.row_count,
            }]
        };
        let scales = self.rows.scales.as_ref();
        TableTensors {
            width: self.rows.width,
            dtype: Dtype::BF16,
            values: tensors,
            padded_rows: None,
            whole: None,
            scales: scales.map_or(Scales::None, |pattern| Scales::Named {
                name: name(pattern, 0),
            }),
        }
    }
}
