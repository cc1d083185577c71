//! The tables of a DeepSeek-V4.1 in a GGUF file, as converters write them with the package `gguf`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use engram::{Batch, RowId, Store};
use engram_format::HashRule;

const ARCHITECTURE: &str = "deepseek41";
const VERSION: u32 = 3;
const ALIGNMENT: u64 = 32;
/// Numbers of types of values: `uint32`, `int32`, string, array, `uint64`.
const U32: u32 = 4;
const I32: u32 = 5;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;
/// Number of the type of tensors whose rows are records of FP8 values and scales.
const I8: u32 = 24;
/// Rows that are copied at a time.
const ROWS: usize = 4_096;

/// Writes the tables of `store`, all rows that n-grams reach, to a file at `path`; returns its size.
pub(super) fn write(store: &Store, path: &Path) -> Result<u64> {
    let context = || path.display().to_string();
    let mut file = BufWriter::new(File::create(path).with_context(context)?);
    let mut bytes = header(store)?;
    let padded = (bytes.len() as u64).next_multiple_of(ALIGNMENT);
    bytes.resize(usize::try_from(padded)?, 0);
    file.write_all(&bytes).with_context(context)?;
    let mut written = padded;
    for layer in &store.scheme().layers {
        let row_bytes = store.codec(layer.id)?.row_bytes();
        let mut rows = (0..layer.row_count).map(RowId);
        loop {
            let rows: Vec<RowId> = rows.by_ref().take(ROWS).collect();
            if rows.is_empty() {
                break;
            }
            bytes.resize(rows.len() * row_bytes, 0);
            store.lookup(Batch::new(layer.id, &rows), &mut bytes)?;
            file.write_all(&bytes).with_context(context)?;
            written += bytes.len() as u64;
        }
        let padding = written.next_multiple_of(ALIGNMENT) - written;
        let padding = vec![0; usize::try_from(padding)?];
        file.write_all(&padding).with_context(context)?;
        written += padding.len() as u64;
    }
    file.flush().with_context(context)?;
    Ok(written)
}

/// Everything before the tensors' data.
fn header(store: &Store) -> Result<Vec<u8>> {
    let scheme = store.scheme();
    let (mut ids, mut multipliers, mut primes) = (Vec::new(), Vec::new(), Vec::new());
    for layer in &scheme.layers {
        let HashRule::XorMultiply {
            multipliers: of_layer,
        } = &layer.hash
        else {
            bail!("a scheme of another family");
        };
        ids.extend(layer.id.0.to_le_bytes());
        multipliers.extend(of_layer.iter().flat_map(|number| number.to_le_bytes()));
        primes.extend(layer.buckets.iter().flat_map(|number| number.to_le_bytes()));
    }
    let map = store.hasher().token_map().context("a token map")?;
    let (first, width) = (scheme.layers[0].id, 4);
    let key_length = u32::try_from(store.codec(first)?.width())?;

    let mut keys = Keys::default();
    keys.put("general.architecture", TEXT, &text(ARCHITECTURE));
    keys.put_numbers("layer_ids", I32, width, &ids);
    keys.put_number("head_count", scheme.heads);
    keys.put_number("max_ngram_size", scheme.max_order);
    keys.put_number("key_length", key_length);
    keys.put_number("pad_id", scheme.fill);
    keys.put_number("compressed_vocab_size", scheme.hashed_vocab_size);
    keys.put_numbers("multipliers", U64, 8, &multipliers);
    keys.put_numbers("primes", U64, 8, &primes);
    keys.put_numbers("token_map", U32, width, &map.to_bytes());

    let mut bytes = b"GGUF".to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((scheme.layers.len() as u64).to_le_bytes());
    bytes.extend(keys.count.to_le_bytes());
    bytes.append(&mut keys.bytes);
    let mut offset = 0_u64;
    for layer in &scheme.layers {
        let row_bytes = store.codec(layer.id)?.row_bytes() as u64;
        bytes.extend(text(&format!("blk.{}.engram_embd.weight", layer.id)));
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend(row_bytes.to_le_bytes());
        bytes.extend(layer.row_count.to_le_bytes());
        bytes.extend(I8.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += (layer.row_count * row_bytes).next_multiple_of(ALIGNMENT);
    }
    Ok(bytes)
}

/// Keys and their values.
#[derive(Default)]
struct Keys {
    count: u64,
    bytes: Vec<u8>,
}

impl Keys {
    fn put(&mut self, key: &str, type_id: u32, value: &[u8]) {
        self.count += 1;
        self.bytes.extend(text(key));
        self.bytes.extend(type_id.to_le_bytes());
        self.bytes.extend(value);
    }

    fn put_number(&mut self, key: &str, value: u32) {
        self.put(&of_tables(key), U32, &value.to_le_bytes());
    }

    /// Numbers of `size` bytes.
    fn put_numbers(&mut self, key: &str, type_id: u32, size: usize, numbers: &[u8]) {
        let count = (numbers.len() / size) as u64;
        let start = [&type_id.to_le_bytes()[..], &count.to_le_bytes()].concat();
        self.put(&of_tables(key), ARRAY, &[&start, numbers].concat());
    }
}

fn of_tables(key: &str) -> String {
    format!("{ARCHITECTURE}.engram.{key}")
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
