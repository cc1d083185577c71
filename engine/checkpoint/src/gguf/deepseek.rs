//! DeepSeek-V4.1 (`deepseek41`): a table for each layer, `blk.N.engram_embd.weight`.

use std::path::Path;

use engram_format::{HashRule, LayerId, LayerScheme, Scheme, SchemeName, TokenMap};

use super::{
    columns::{check_offsets, sum},
    files::GgufFiles,
    keys::Keys,
    model::GgufModel,
    table::TableTensor,
};
use crate::{error::CheckpointError, token_map::read_token_map};

/// How rows are encoded where they are bytes to GGML; converters that write other bytes say so.
const ENCODING_KEY: &str = "engram.encoding";
const FP8_RECORDS: &str = "e4m3_e8m0_32_row264";
const TOKEN_MAP_KEY: &str = "engram.token_map";

pub(super) fn open(
    files: &GgufFiles,
    keys: &Keys<'_>,
    tokenizer: Option<&Path>,
) -> Result<GgufModel, CheckpointError> {
    let layers: Vec<u32> = keys.numbers("engram.layer_ids")?;
    let (max_order, heads) = dimensions(keys, layers.len())?;
    let columns = (max_order as usize - 1) * heads as usize;
    let multipliers: Vec<u64> =
        keys.numbers_of("engram.multipliers", layers.len() * max_order as usize)?;
    let buckets: Vec<u64> = keys.numbers_of("engram.primes", layers.len() * columns)?;
    if keys.has("engram.offsets") {
        // Each layer's begin at zero.
        let offsets: Vec<u64> = keys.numbers_of("engram.offsets", buckets.len())?;
        check_layer_offsets(keys, &offsets, &buckets, columns)?;
    }
    let token_map = token_map(files, keys, tokenizer)?;
    if keys.has(ENCODING_KEY) {
        let encoding = keys.text(ENCODING_KEY)?;
        if encoding != FP8_RECORDS {
            return Err(keys.fault(ENCODING_KEY, format!("{encoding:?}"), FP8_RECORDS));
        }
    }
    let mut tables = Vec::new();
    let mut layer_schemes = Vec::new();
    let of_layers = multipliers
        .chunks_exact(max_order as usize)
        .zip(buckets.chunks_exact(columns));
    for (&layer, (multipliers, buckets)) in layers.iter().zip(of_layers) {
        let id = LayerId(layer);
        let table = TableTensor::find(files, &format!("blk.{layer}.engram_embd.weight"), true)?;
        let width = keys.optional::<u64>("engram.key_length")?;
        if let Some(width) = width
            && width != table.codec.width() as u64
        {
            let expected = format!("{width}, by engram.key_length");
            return Err(table.fault("values of a row", table.codec.width(), expected));
        }
        let row_count = sum(keys, "engram.primes", buckets)?;
        tables.push(table.place(id, row_count, row_count)?);
        layer_schemes.push(LayerScheme {
            id,
            hash: HashRule::XorMultiply {
                multipliers: multipliers.into(),
            },
            buckets: buckets.into(),
            row_count,
        });
    }
    let compressed = match keys.optional("engram.compressed_vocab_size")? {
        Some(size) => size,
        None => token_map
            .ids()
            .iter()
            .max()
            .map_or(0, |&id| id.saturating_add(1)),
    };
    if let Some(&id) = token_map.ids().iter().find(|&&id| id >= compressed) {
        let found = format!("a list with {id}");
        return Err(keys.fault(TOKEN_MAP_KEY, found, format!("ids below {compressed}")));
    }
    let scheme = Scheme {
        name: SchemeName::DeepSeekV41Flash.as_str().into(),
        compressed: true,
        hashed_vocab_size: compressed,
        // Unlike in a model's configuration, it is compressed already.
        fill: keys.number("engram.pad_id")?,
        boundary: None,
        max_order,
        heads,
        layers: layer_schemes,
    };
    scheme.validate().map_err(|cause| CheckpointError::Scheme {
        path: files.first().into(),
        cause,
    })?;
    Ok(GgufModel {
        folder: files.folder().into(),
        scheme,
        token_map: Some(token_map),
        sources: files.files().to_vec(),
        tables,
    })
}

/// The largest order and the heads of each: some converters leave them to be told from the lists' lengths.
fn dimensions(keys: &Keys<'_>, layers: usize) -> Result<(u32, u32), CheckpointError> {
    let per_layer = |key: &str| -> Result<u32, CheckpointError> {
        let entries = keys.numbers::<u64>(key)?.len();
        match entries.checked_div(layers) {
            Some(each) if each > 0 && entries == each * layers => {
                Ok(u32::try_from(each).unwrap_or(u32::MAX))
            }
            _ => {
                let found = format!("a list of {entries}");
                Err(keys.fault(key, found, format!("as many for each of {layers} layers")))
            }
        }
    };
    let max_order = match keys.optional("engram.max_ngram_size")? {
        Some(order) => order,
        None => per_layer("engram.multipliers")?,
    };
    let columns = per_layer("engram.primes")?;
    if max_order < 2 || !columns.is_multiple_of(max_order - 1) {
        let expected = format!("as many for each order from 2 to {max_order} and layer");
        return Err(keys.fault("engram.primes", format!("{columns} a layer"), expected));
    }
    let heads = columns / (max_order - 1);
    match keys.optional::<u32>("engram.head_count")? {
        Some(found) if found != heads => Err(keys.fault(
            "engram.head_count",
            found,
            format!("{heads}, by engram.primes"),
        )),
        _ => Ok((max_order, heads)),
    }
}

fn check_layer_offsets(
    keys: &Keys<'_>,
    offsets: &[u64],
    buckets: &[u64],
    columns: usize,
) -> Result<(), CheckpointError> {
    let layers = offsets
        .chunks_exact(columns)
        .zip(buckets.chunks_exact(columns));
    let checked =
        layers.map(|(offsets, buckets)| check_offsets(keys, "engram.offsets", offsets, buckets));
    checked.collect()
}

/// The map in the file, unless another tokenizer is given.
fn token_map(
    files: &GgufFiles,
    keys: &Keys<'_>,
    tokenizer: Option<&Path>,
) -> Result<TokenMap, CheckpointError> {
    if tokenizer.is_some() || !keys.has(TOKEN_MAP_KEY) {
        return read_token_map(files.folder(), tokenizer);
    }
    let ids = keys.numbers(TOKEN_MAP_KEY)?;
    TokenMap::new(ids, u32::MAX).map_err(|cause| CheckpointError::TokenMap {
        path: files.first().into(),
        cause,
    })
}
