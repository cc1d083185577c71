//! What is changed at once.

use std::{borrow::Cow, iter};

use engram::{LayerId, RowCodec, RowId};

use crate::{error::EditError, shape::Shape};

/// What an entry is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A row of the table, whatever n-gram reads it.
    Row(RowId),
    /// An n-gram: ids as they are hashed, newest first. Its order is their number.
    NGram(Vec<u32>),
}

/// The row or rows of an entry: bytes in the table's codec, or values that are encoded when the edit is made.
#[derive(Debug, Clone, PartialEq)]
pub enum RowData {
    /// `[head][row bytes]`.
    Bytes(Vec<u8>),
    /// `[head][value]`.
    Values(Vec<f32>),
}

/// Edits that are made together or not at all. A later one of the same key takes the place of an earlier one.
///
/// ```
/// use engram::{LayerId, RowId};
/// use engram_overlay::{Edits, Key};
///
/// let mut edits = Edits::new();
/// edits.set(LayerId(1), Key::Row(RowId(7)), vec![0.0_f32; 64]);
/// edits.remove(LayerId(1), Key::NGram(vec![15, 3]));
/// assert_eq!(edits.len(), 2);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits(Vec<Edit>);

/// One entry, and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edit {
    pub(crate) layer: LayerId,
    pub(crate) key: Key,
    /// None takes the entry away.
    pub(crate) data: Option<RowData>,
}

/// An edit that fits the pack, with its rows as bytes.
#[derive(Debug)]
pub(crate) struct CheckedEdit<'a> {
    /// Index of the table.
    pub(crate) table: usize,
    pub(crate) key: &'a Key,
    pub(crate) bytes: Option<Cow<'a, [u8]>>,
}

impl Edits {
    /// No edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `data` for `key` from now on: a row for a row, for an n-gram a row for each head of its order.
    pub fn set(&mut self, layer: LayerId, key: Key, data: impl Into<RowData>) -> &mut Self {
        let data = Some(data.into());
        self.0.push(Edit { layer, key, data });
        self
    }

    /// Takes the entry of `key` away, so that the row is served that would be without it. There need not be one.
    pub fn remove(&mut self, layer: LayerId, key: Key) -> &mut Self {
        let data = None;
        self.0.push(Edit { layer, key, data });
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks them all, and encodes values.
    pub(crate) fn check(&self, shape: &Shape) -> Result<Vec<CheckedEdit<'_>>, EditError> {
        let checked = self.0.iter().map(|edit| {
            let table = shape.index(edit.layer)?;
            let codec = shape.codec(edit.layer)?;
            let rows = edit.key.check(shape, table)?;
            let data = edit.data.as_ref();
            let bytes = data.map(|data| data.bytes(edit.layer, codec, rows));
            Ok(CheckedEdit {
                table,
                key: &edit.key,
                bytes: bytes.transpose()?,
            })
        });
        checked.collect()
    }
}

impl RowData {
    fn bytes(
        &self,
        layer: LayerId,
        codec: RowCodec,
        rows: usize,
    ) -> Result<Cow<'_, [u8]>, EditError> {
        match self {
            Self::Bytes(bytes) if bytes.len() == rows * codec.row_bytes() => Ok(bytes.into()),
            Self::Bytes(bytes) => Err(EditError::RowBytes {
                layer,
                rows,
                row_bytes: codec.row_bytes(),
                found: bytes.len(),
            }),
            Self::Values(values) if values.len() == rows * codec.width() => {
                let mut bytes = vec![0; rows * codec.row_bytes()];
                let encoded = codec.encode(values, &mut bytes);
                encoded.map_err(|cause| EditError::Value {
                    codec: codec.name(),
                    cause,
                })?;
                Ok(bytes.into())
            }
            Self::Values(values) => Err(EditError::RowValues {
                layer,
                rows,
                width: codec.width(),
                found: values.len(),
            }),
        }
    }
}

impl From<Vec<u8>> for RowData {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<f32>> for RowData {
    fn from(values: Vec<f32>) -> Self {
        Self::Values(values)
    }
}

impl Key {
    /// Checks that the table at index `table` may have an entry of this key, and returns how many rows that has.
    pub(crate) fn check(&self, shape: &Shape, table: usize) -> Result<usize, EditError> {
        match self {
            Self::Row(row) => shape.check_row(table, *row).map(|()| 1),
            Self::NGram(ngram) => shape.check_ngram(ngram).map(|()| shape.heads()),
        }
    }

    /// The key as words, by which it is found.
    pub(crate) fn words(&self) -> Cow<'_, [u32]> {
        match self {
            Self::Row(row) => Cow::Owned(row_words(*row).to_vec()),
            Self::NGram(ngram) => Cow::Borrowed(ngram),
        }
    }

    /// Which kind of entries of a table it is of: rows, then the n-grams of each order. The key has been checked.
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::Row(_) => 0,
            Self::NGram(ngram) => ngram.len() - 1,
        }
    }

    /// The key of that kind with these words.
    pub(crate) fn from_words(kind: usize, words: &[u32]) -> Self {
        match (kind, words) {
            (0, &[low, high]) => Self::Row(RowId(u64::from(low) | u64::from(high) << 32)),
            _ => Self::NGram(words.to_vec()),
        }
    }
}

/// A row id as words.
pub(crate) fn row_words(row: RowId) -> [u32; 2] {
    [0, 32].map(|shift| u32::try_from(row.0 >> shift & u64::from(u32::MAX)).expect("32 bits"))
}

/// Words of a key, by its kind: see [`Key::kind`].
pub(crate) fn key_words(max_order: usize) -> impl Iterator<Item = usize> {
    iter::once(2).chain(2..=max_order)
}
