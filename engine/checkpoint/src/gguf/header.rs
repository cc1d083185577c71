//! What a GGUF file says of itself before its tensors' data.
//!
//! A reader of our own: those in model libraries keep every value in memory and make room for as many as the file
//! claims. Of values, only those that concern tables are kept here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use engram_format::{MAX_TOKEN_MAP_ENTRIES, SourceFile};
use engram_io::{PreadReader, ReadAt, check_is_file};

use super::{
    cursor::{Cursor, MAX_HEADER_BYTES, digest_of_start},
    error::GgufError,
    tensor_type::TensorType,
};
use crate::{error::CheckpointError, files::check_stand_in, stand_in::START_BYTES};

const MAGIC: [u8; 4] = *b"GGUF";
const VERSIONS: [u32; 2] = [2, 3];
const ALIGNMENT_KEY: &str = "general.alignment";
pub(super) const ARCHITECTURE_KEY: &str = "general.architecture";
const DEFAULT_ALIGNMENT: u64 = 32;
/// The largest alignment: that of huge pages.
const MAX_ALIGNMENT: u64 = 1 << 30;
const MAX_DIMENSIONS: u32 = 4;
/// Keys of these names, after the architecture's or not, are kept.
const KEPT: [&str; 9] = [
    ALIGNMENT_KEY,
    ARCHITECTURE_KEY,
    "split.",
    ".ple.",
    ".engram.",
    ".vocab_size",
    ".block_count",
    ".embedding_length_per_layer_input",
    "tokenizer.ggml.tokens",
];

/// The value of a key, as far as tables need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A whole number, or true and false as 1 and 0.
    Number(i128),
    Text(String),
    /// Whole numbers.
    Numbers(Vec<i128>),
    /// An array of something else, of which the length is kept.
    Others(u64),
    /// A fraction.
    Fraction,
}

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GgufTensor {
    pub(super) name: String,
    /// Values of a row first.
    pub(super) shape: Vec<u64>,
    pub(super) type_id: u32,
    /// Offset in the file.
    pub(super) offset: u64,
    /// Its size; none where its type is not known.
    pub(super) bytes: Option<u64>,
}

/// The header of a file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) keys: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, GgufTensor>,
    pub(super) file: SourceFile,
}

impl Header {
    /// Reads and checks the header of the file at `path`.
    ///
    /// # Errors
    /// No GGUF file, one that ends too early or claims what it does not have, tensors that overlap, leave gaps or lie
    /// beyond its end.
    pub(super) fn read(path: &Path, name: &str) -> Result<Self, CheckpointError> {
        check_is_file(path)?;
        let reader = PreadReader::open(path)?;
        let start = reader.size().min(START_BYTES as u64);
        let mut start = vec![0; usize::try_from(start).expect("the start is small")];
        reader.read_at(0, &mut start)?;
        check_stand_in(path, &start, true)?;
        let mut cursor = Cursor::new(path, &reader);
        let found = cursor.array()?;
        if found != MAGIC {
            return Err(cursor.fault(GgufError::Magic { found }));
        }
        let version = cursor.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(cursor.fault(GgufError::Version { found: version }));
        }
        let (tensor_count, key_count) = (cursor.u64()?, cursor.u64()?);
        let mut keys = BTreeMap::new();
        let mut skipped = BTreeSet::new();
        for _ in 0..key_count {
            let key = cursor.text()?;
            let value = read_value(&mut cursor, &key)?;
            let is_new = match value {
                Some(value) => keys.insert(key.clone(), value).is_none(),
                None => skipped.insert(key.clone()),
            };
            if !is_new {
                return Err(cursor.fault(GgufError::Duplicate { name: key }));
            }
        }
        let alignment = alignment(&cursor, &keys)?;
        let mut infos = Vec::new();
        for _ in 0..tensor_count {
            infos.push(read_tensor(&mut cursor)?);
        }
        let data_start = cursor.at().next_multiple_of(alignment);
        let bytes = reader.size();
        if data_start > MAX_HEADER_BYTES {
            let (at, wanted) = (cursor.at(), data_start - cursor.at());
            let limit = format!("a header has at most {MAX_HEADER_BYTES}");
            return Err(cursor.fault(GgufError::Ends { at, wanted, limit }));
        }
        let header_bytes = data_start.min(bytes);
        let tensors = place(&cursor, infos, data_start, alignment, bytes)?;
        Ok(Self {
            keys,
            tensors,
            file: SourceFile {
                name: name.into(),
                bytes,
                header_digest: digest_of_start(&reader, header_bytes)?,
                header_bytes: Some(header_bytes),
            },
        })
    }
}

fn alignment(cursor: &Cursor<'_>, keys: &BTreeMap<String, Value>) -> Result<u64, CheckpointError> {
    let Some(value) = keys.get(ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    if let Value::Number(number) = *value
        && let Ok(alignment) = u64::try_from(number)
        && alignment.is_power_of_two()
        && alignment <= MAX_ALIGNMENT
    {
        return Ok(alignment);
    }
    Err(cursor.fault(GgufError::Key {
        key: ALIGNMENT_KEY.into(),
        found: format!("{value:?}"),
        expected: format!("a power of two up to {MAX_ALIGNMENT}"),
    }))
}

/// Bytes of a value of a type that has always the same.
fn fixed_bytes(type_id: u32) -> Option<u64> {
    Some(match type_id {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

/// A whole number of that type, little-endian.
fn number(type_id: u32, bytes: &[u8]) -> Option<i128> {
    let is_signed = match type_id {
        0 | 2 | 4 | 7 | 10 => false,
        1 | 3 | 5 | 11 => true,
        _ => return None,
    };
    let sign = if is_signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
        0xFF
    } else {
        0
    };
    let mut wide = [sign; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    Some(i128::from_le_bytes(wide))
}

/// The value of `key`, if such are kept.
fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Option<Value>, CheckpointError> {
    const TEXT: u32 = 8;
    const ARRAY: u32 = 9;
    let is_kept = KEPT.iter().any(|part| key.contains(part));
    let type_id = cursor.u32()?;
    let fault = |found| GgufError::ValueType {
        key: key.into(),
        found,
    };
    let value = match type_id {
        TEXT if is_kept => Value::Text(cursor.text()?),
        TEXT => {
            cursor.skip_text()?;
            return Ok(None);
        }
        ARRAY => {
            let (element, count) = (cursor.u32()?, cursor.u64()?);
            match fixed_bytes(element) {
                None if element == TEXT => {
                    for _ in 0..count {
                        cursor.skip_text()?;
                    }
                    Value::Others(count)
                }
                None => return Err(cursor.fault(fault(element))),
                Some(size) if is_kept && number(element, &[0]).is_some() => {
                    if count > MAX_TOKEN_MAP_ENTRIES {
                        return Err(cursor.fault(GgufError::Key {
                            key: key.into(),
                            found: format!("{count} numbers"),
                            expected: format!("at most {MAX_TOKEN_MAP_ENTRIES}"),
                        }));
                    }
                    let bytes = cursor.bytes(count, size)?;
                    let size = usize::try_from(size).expect("at most eight");
                    let numbers = bytes.chunks_exact(size);
                    Value::Numbers(numbers.filter_map(|bytes| number(element, bytes)).collect())
                }
                Some(size) => {
                    cursor.skip(count, size)?;
                    Value::Others(count)
                }
            }
        }
        _ => match fixed_bytes(type_id) {
            None => return Err(cursor.fault(fault(type_id))),
            Some(size) => {
                let bytes = cursor.bytes(1, size)?;
                number(type_id, &bytes).map_or(Value::Fraction, Value::Number)
            }
        },
    };
    Ok(is_kept.then_some(value))
}

/// A tensor whose offset is still among the tensors' data.
fn read_tensor(cursor: &mut Cursor<'_>) -> Result<GgufTensor, CheckpointError> {
    let name = cursor.text()?;
    let dimensions = cursor.u32()?;
    let mut shape = Vec::new();
    let mut values = 1_u64;
    for _ in 0..dimensions.min(MAX_DIMENSIONS) {
        let dimension = cursor.u64()?;
        shape.push(dimension);
        values = values.saturating_mul(dimension);
    }
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) || values >= 1 << 63 {
        return Err(cursor.fault(GgufError::Shape { name, shape }));
    }
    let (type_id, offset) = (cursor.u32()?, cursor.u64()?);
    let bytes = match TensorType::find(type_id) {
        None => None,
        Some(known) if shape[0].is_multiple_of(known.block) => {
            let bytes = (values / known.block).checked_mul(known.bytes);
            Some(bytes.unwrap_or(u64::MAX))
        }
        Some(known) => {
            return Err(cursor.fault(GgufError::Blocks {
                name,
                width: shape[0],
                type_name: known.name,
                block: known.block,
            }));
        }
    };
    Ok(GgufTensor {
        name,
        shape,
        type_id,
        offset,
        bytes,
    })
}

/// Checks that tensors follow one another, each padded to the alignment, and end with the file.
fn place(
    cursor: &Cursor<'_>,
    infos: Vec<GgufTensor>,
    data_start: u64,
    alignment: u64,
    file_bytes: u64,
) -> Result<BTreeMap<String, GgufTensor>, CheckpointError> {
    let mut tensors = BTreeMap::new();
    // Not known after a tensor whose size is not.
    let mut expected = Some(0);
    let mut last_end = data_start;
    for mut tensor in infos {
        let found = tensor.offset;
        let good = found.is_multiple_of(alignment) && expected.is_none_or(|next| next == found);
        if !good {
            return Err(cursor.fault(GgufError::Offset {
                name: tensor.name,
                found,
                expected: expected
                    .unwrap_or_else(|| found.saturating_add(alignment - 1) / alignment * alignment),
            }));
        }
        let end = found.checked_add(tensor.bytes.unwrap_or(0));
        let end_in_file = end.and_then(|end| end.checked_add(data_start));
        let end_in_file = match end_in_file {
            Some(end) if end <= file_bytes => end,
            end => {
                return Err(cursor.fault(GgufError::Beyond {
                    name: tensor.name,
                    end: end.unwrap_or(u64::MAX),
                    bytes: file_bytes,
                }));
            }
        };
        expected = tensor
            .bytes
            .map(|bytes| (found + bytes).next_multiple_of(alignment));
        last_end = end_in_file;
        tensor.offset += data_start;
        let name = tensor.name.clone();
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(cursor.fault(GgufError::Duplicate { name }));
        }
    }
    let padded = last_end.next_multiple_of(alignment);
    if expected.is_some() && file_bytes > padded {
        return Err(cursor.fault(GgufError::Rest {
            end: last_end,
            bytes: file_bytes,
        }));
    }
    Ok(tensors)
}
