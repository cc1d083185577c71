//! Gemma 3n and Gemma 4 (`gemma3n`, `gemma4`): per-layer embeddings, a row a token.

use std::path::Path;

use engram_format::{LayerId, PerLayerParameters, SchemeError, SchemeName};

use super::{files::GgufFiles, keys::Keys, model::GgufModel, table::TableTensor};
use crate::error::CheckpointError;

const TENSOR: &str = "per_layer_token_embd.weight";
/// Values that each layer has of a row; 0 in the sizes of the family that have no such table.
const LAYER_WIDTH: &str = "embedding_length_per_layer_input";

/// Whether the keys are those of a model with per-layer embeddings.
pub(super) fn is_known(keys: &Keys<'_>) -> bool {
    keys.has(LAYER_WIDTH) && !matches!(keys.number::<u32>(LAYER_WIDTH), Ok(0))
}

pub(super) fn open(
    files: &GgufFiles,
    keys: &Keys<'_>,
    architecture: &str,
    tokenizer: Option<&Path>,
) -> Result<GgufModel, CheckpointError> {
    let in_file = |cause| CheckpointError::Scheme {
        path: files.first().into(),
        cause,
    };
    let name = if architecture == "gemma3n" {
        SchemeName::Gemma3n
    } else {
        SchemeName::Gemma4
    };
    let name = name.as_str().to_owned();
    if tokenizer.is_some() {
        return Err(in_file(SchemeError::UnusedTokenMap { scheme: name }));
    }
    let table = TableTensor::find(files, TENSOR, false)?;
    let (layers, layer_width): (u64, u64) =
        (keys.number("block_count")?, keys.number(LAYER_WIDTH)?);
    let width = layers.saturating_mul(layer_width);
    if width != table.codec.width() as u64 {
        let expected = format!("{width}: {layer_width} for each of {layers} layers");
        return Err(table.fault("values of a row", table.codec.width(), expected));
    }
    let scheme = PerLayerParameters {
        name,
        vocab_size: u32::try_from(table.rows).unwrap_or(u32::MAX),
        pad: 0,
    };
    let scheme = scheme.scheme().map_err(in_file)?;
    Ok(GgufModel {
        folder: files.folder().into(),
        scheme,
        token_map: None,
        sources: files.files().to_vec(),
        tables: vec![table.place(LayerId(0), table.rows, table.rows)?],
    })
}
