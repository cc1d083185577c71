//! Why edits cannot be made or kept.

use engram::{LayerId, RowId};
use engram_format::EncodeError;
use thiserror::Error;

/// An edit that does not fit the pack. No edit of its batch has been made.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum EditError {
    /// A layer without a table.
    #[error(
        "layer {layer} has no table; the pack has layers {:?}",
        layers.iter().map(|layer| layer.0).collect::<Vec<_>>()
    )]
    UnknownLayer {
        /// The layer of the edit.
        layer: LayerId,
        /// The layers there are.
        layers: Vec<LayerId>,
    },
    /// A row beyond the last column.
    #[error("row {row} is outside the table of layer {layer}, which has {row_count} rows")]
    RowOutOfRange {
        /// The layer.
        layer: LayerId,
        /// The row of the edit.
        row: RowId,
        /// Rows of the table's columns.
        row_count: u64,
    },
    /// An n-gram of an order that the pack has no columns for.
    #[error("an n-gram of {found} tokens; the pack has columns for n-grams of 2 to {max_order}")]
    Order {
        /// Tokens of the n-gram.
        found: usize,
        /// The largest order of the scheme.
        max_order: usize,
    },
    /// An n-gram of a pack that has a row for each token.
    #[error(
        "the pack has a row for each token and no n-grams that could be edited; edit its rows by their ids"
    )]
    NoNGrams,
    /// An id that no n-gram of the pack can have.
    #[error("id {id} of an n-gram is outside the {vocab} ids that the pack hashes")]
    UnknownId {
        /// The id.
        id: u32,
        /// Ids there are.
        vocab: u32,
    },
    /// Bytes that are no whole rows, or not as many as there are heads.
    #[error(
        "{found} bytes for {rows} rows of layer {layer}, which have {row_bytes} bytes each, expected {}",
        rows * row_bytes
    )]
    RowBytes {
        /// The layer.
        layer: LayerId,
        /// Rows of the entry.
        rows: usize,
        /// Bytes of each.
        row_bytes: usize,
        /// Bytes given.
        found: usize,
    },
    /// Values that are no whole rows, or not as many as there are heads.
    #[error(
        "{found} values for {rows} rows of layer {layer}, which have {width} values each, expected {}",
        rows * width
    )]
    RowValues {
        /// The layer.
        layer: LayerId,
        /// Rows of the entry.
        rows: usize,
        /// Values of each.
        width: usize,
        /// Values given.
        found: usize,
    },
    /// A value that the table's codec cannot hold.
    #[error("the values cannot be encoded as {codec}: {cause}")]
    Value {
        /// The codec.
        codec: &'static str,
        /// Which value it is, of which of the entry's rows, counted from 0.
        cause: EncodeError,
    },
}
