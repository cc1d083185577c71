//! Why the tables of a GGUF file cannot be found.

use thiserror::Error;

use crate::nearest::nearest_of;

/// A GGUF file that is damaged, lies, or holds tables that are not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Another file.
    #[error("it begins with {found:02x?}, expected `GGUF`")]
    Magic {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// A version of the format that is not read.
    #[error("GGUF version {found}, expected 2 or 3{}", if *found > 0xFFFF { "; it may be big-endian" } else { "" })]
    Version {
        /// The version.
        found: u32,
    },
    /// A header that goes on beyond the file, or beyond what any header takes.
    #[error("the header wants {wanted} bytes at {at}, but {limit}")]
    Ends {
        /// Offset of what is wanted.
        at: u64,
        /// Its size in bytes.
        wanted: u64,
        /// Where the file or the longest header ends, as words.
        limit: String,
    },
    /// A name that is no UTF-8.
    #[error("a name at {at} is no UTF-8")]
    Name {
        /// Its offset.
        at: u64,
    },
    /// A name of a key or tensor that is there twice.
    #[error("`{name}` is there twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A value of a type that GGUF does not have, or an array of arrays.
    #[error("key `{key}` has type {found}, expected 0 to 12, and no array within an array")]
    ValueType {
        /// The key.
        key: String,
        /// The type's number.
        found: u32,
    },
    /// A key that should be there.
    #[error("no key `{key}`")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A key whose value makes no sense.
    #[error("key `{key}` is {found}, expected {expected}")]
    Key {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// Dimensions that no tensor has.
    #[error(
        "tensor `{name}`: shape {shape:?}, expected 1 to 4 dimensions whose product is below 2^63"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// Its dimensions, as far as they were read.
        shape: Vec<u64>,
    },
    /// Rows that are no whole blocks of their type.
    #[error(
        "tensor `{name}`: rows of {width} values are no whole blocks of {type_name}, which has {block}"
    )]
    Blocks {
        /// The tensor.
        name: String,
        /// Values a row.
        width: u64,
        /// Name of its type.
        type_name: &'static str,
        /// Values of a block.
        block: u64,
    },
    /// A tensor that begins elsewhere than the one before it ends: types, shapes or offsets are wrong.
    #[error(
        "tensor `{name}` begins at {found}, expected {expected}, where what precedes it ends by its type and shape"
    )]
    Offset {
        /// The tensor.
        name: String,
        /// Its offset among the tensors' data.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// A tensor beyond the end of its file.
    #[error(
        "tensor `{name}` ends at byte {end}, the file has {bytes}; its download may not be complete"
    )]
    Beyond {
        /// The tensor.
        name: String,
        /// Offset in the file after its last byte.
        end: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// More bytes after the last tensor than padding takes.
    #[error("the tensors end at byte {end} by their types and shapes, the file has {bytes}")]
    Rest {
        /// Offset after the last tensor.
        end: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// A model without tables, or with tables of a family that is not known.
    #[error(
        "architecture `{architecture}` has no table that is known, as there is neither `{architecture}.ple.layers` nor \
         `{architecture}.engram.layer_ids` nor, above 0, `{architecture}.embedding_length_per_layer_input`"
    )]
    NoTable {
        /// The model's architecture.
        architecture: String,
    },
    /// A table's tensor that is not there.
    #[error("no tensor `{name}`{}; {}", absent_of(absent), nearest_of(nearest))]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Parts of a split file that are not there and may hold it.
        absent: Vec<String>,
        /// Names of tensors that are most like it.
        nearest: Vec<String>,
    },
    /// A table whose tensor has a type that is not read.
    #[error("tensor `{name}` has type {found}, expected {expected}")]
    TensorType {
        /// The tensor.
        name: String,
        /// Name or number of its type.
        found: String,
        /// Types that are read.
        expected: String,
    },
    /// A tensor that is not what the model's keys say.
    #[error("tensor `{name}`: {field} is {found}, expected {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What differs.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
}

fn absent_of(absent: &[String]) -> String {
    match absent {
        [] => String::new(),
        absent => format!(", but `{}` is not there", absent.join("`, `")),
    }
}
