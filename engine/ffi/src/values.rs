//! Sizes of rows and values in a caller's memory.

use engram::{RowCodec, ValueType};

/// Bytes of a value in memory; of a stored row, which may lie anywhere, 1.
pub(crate) fn value_bytes(value_type: Option<ValueType>) -> usize {
    value_type.map_or(1, ValueType::bytes)
}

/// Bytes of a row of `codec` in memory, as it is stored or decoded to `value_type`.
pub fn row_bytes(codec: RowCodec, value_type: Option<ValueType>) -> usize {
    value_type.map_or(codec.row_bytes(), |value_type| {
        value_type.bytes() * codec.width()
    })
}
