//! Qwen3.8-Flash-Next (`qwen4exp`): one table, `per_layer_token_embd.weight`.

use std::path::Path;

use engram_format::{
    Boundary, BoundaryRule, HashRule, LayerId, LayerScheme, Scheme, SchemeError, SchemeName,
};

use super::{
    columns::{check_offsets, sum},
    files::GgufFiles,
    keys::Keys,
    model::GgufModel,
    table::TableTensor,
};
use crate::error::CheckpointError;

const TENSOR: &str = "per_layer_token_embd.weight";
const NAME: SchemeName = SchemeName::Qwen38FlashNext;

pub(super) fn open(
    files: &GgufFiles,
    keys: &Keys<'_>,
    tokenizer: Option<&Path>,
) -> Result<GgufModel, CheckpointError> {
    let in_file = |cause| CheckpointError::Scheme {
        path: files.first().into(),
        cause,
    };
    if tokenizer.is_some() {
        return Err(in_file(SchemeError::UnusedTokenMap {
            scheme: NAME.as_str().into(),
        }));
    }
    let &[layer] = keys.numbers::<u32>("ple.layers")?.as_slice() else {
        let found = keys.length("ple.layers").unwrap_or(0);
        return Err(keys.fault("ple.layers", format!("a list of {found}"), "one layer"));
    };
    let layer = LayerId(layer);
    let (max_order, heads): (u32, u32) = (
        keys.number("ple.ngram_size")?,
        keys.number("ple.heads_per_ngram")?,
    );
    let columns = (max_order as usize)
        .saturating_sub(1)
        .saturating_mul(heads as usize);
    let buckets: Vec<u64> = keys.numbers_of("ple.head_vocab_sizes", columns)?;
    let offsets: Vec<u64> = keys.numbers_of("ple.head_offsets", columns)?;
    check_offsets(keys, "ple.head_offsets", &offsets, &buckets)?;
    let eos = keys.number("ple.eos_token_id")?;
    let table = TableTensor::find(files, TENSOR, false)?;
    let width = keys.optional::<u64>("embedding_length_per_layer_input")?;
    if let Some(width) = width
        && width != table.codec.width() as u64
    {
        let expected = format!("{width}, by embedding_length_per_layer_input");
        return Err(table.fault("values of a row", table.codec.width(), expected));
    }
    let sum = sum(keys, "ple.head_vocab_sizes", &buckets)?;
    let scheme = Scheme {
        name: NAME.as_str().into(),
        compressed: false,
        hashed_vocab_size: vocab_size(files, keys)?,
        fill: eos,
        boundary: Some(Boundary {
            tokens: vec![eos],
            rule: BoundaryRule::EndsHistory,
        }),
        max_order,
        heads,
        layers: vec![LayerScheme {
            id: layer,
            hash: HashRule::XorMultiply {
                multipliers: keys.numbers_of("ple.layer_multipliers", max_order as usize)?,
            },
            buckets,
            // The model's own padding is of its table.
            row_count: table.rows,
        }],
    };
    let placed = table.place(layer, sum, table.rows)?;
    scheme.validate().map_err(in_file)?;
    Ok(GgufModel {
        folder: files.folder().into(),
        scheme,
        token_map: None,
        sources: files.files().to_vec(),
        tables: vec![placed],
    })
}

/// Tokens of the vocabulary: by its own key, or as many as the tokenizer has.
fn vocab_size(files: &GgufFiles, keys: &Keys<'_>) -> Result<u32, CheckpointError> {
    const TOKENS: &str = "tokenizer.ggml.tokens";
    if let Some(size) = keys.optional("vocab_size")? {
        return Ok(size);
    }
    match files.keys().length(TOKENS).map(u32::try_from) {
        Some(Ok(size)) => Ok(size),
        Some(Err(_)) => Err(files.keys().fault(TOKENS, "longer", "below 2^32 tokens")),
        None => keys.number("vocab_size"),
    }
}
