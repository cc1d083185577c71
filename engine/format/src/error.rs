//! What can be wrong with a scheme, a pack's bytes, or the ids a caller asks for.

use thiserror::Error;

use crate::ids::LayerId;

/// An addressing scheme that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// A name of no published scheme.
    #[error("unknown scheme `{name}`; known are {known}")]
    UnknownName {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A field outside its range.
    #[error("scheme: {field} is {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What is allowed.
        expected: String,
    },
    /// Columns that do not fit the table.
    #[error(
        "scheme: the columns of layer {layer} have {sum} rows together, its table has {row_count}"
    )]
    RowSum {
        /// The model's layer id.
        layer: LayerId,
        /// Sum of the columns' bucket counts.
        sum: u64,
        /// Rows of the table.
        row_count: u64,
    },
    /// A factor with which a hash would leave the 64-bit range that all engines agree on.
    #[error("scheme: layer {layer} would overflow when it hashes id {largest_id} times {factor}")]
    HashOverflow {
        /// The model's layer id.
        layer: LayerId,
        /// The largest hashed id.
        largest_id: u64,
        /// The factor.
        factor: u64,
    },
    /// No token map for a scheme that hashes compressed ids.
    #[error("scheme `{scheme}` hashes compressed ids and needs a token map")]
    MissingTokenMap {
        /// Name of the scheme.
        scheme: String,
    },
    /// A token map for a scheme that hashes raw ids.
    #[error("scheme `{scheme}` hashes raw ids and takes no token map")]
    UnusedTokenMap {
        /// Name of the scheme.
        scheme: String,
    },
}

/// A token map that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenMapError {
    /// No entries.
    #[error("token map: no entries")]
    Empty,
    /// More entries than any vocabulary has.
    #[error("token map: {entries} entries, expected at most {most}")]
    TooLong {
        /// Its entries.
        entries: u64,
        /// The most entries allowed.
        most: u64,
    },
    /// A size that is no whole number of entries.
    #[error("token map: {bytes} bytes, expected a multiple of 4")]
    Length {
        /// The size found.
        bytes: usize,
    },
    /// A compressed id outside the compressed vocabulary.
    #[error("token map: token {token} maps to {id}, expected below {compressed_vocab_size}")]
    IdOutOfRange {
        /// The raw token id.
        token: usize,
        /// Its compressed id.
        id: u32,
        /// Size of the compressed vocabulary.
        compressed_vocab_size: u32,
    },
}

/// Tokens or rows that a table does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// A token id outside the vocabulary.
    #[error(
        "token {token} at position {position} of request {request} is outside the vocabulary of {vocab_size}"
    )]
    TokenOutOfRange {
        /// Index of the request in its batch.
        request: usize,
        /// Index of the token in its request.
        position: usize,
        /// The token id.
        token: u32,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// A token id outside the vocabulary, in a window.
    #[error(
        "token {token} at place {place} of window {window} is outside the vocabulary of {vocab_size}"
    )]
    WindowTokenOutOfRange {
        /// Index of the window.
        window: usize,
        /// Place in the window, 0 for its newest token.
        place: usize,
        /// The token id.
        token: u32,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// Windows that are not whole.
    #[error("{ids} ids are no whole number of windows of {max_order} ids")]
    WindowShape {
        /// The ids given.
        ids: usize,
        /// Ids of a window.
        max_order: usize,
    },
}

/// Columns that a scheme has not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// A range that is empty or leaves the columns of a layer.
    #[error(
        "columns {start} to {end} (exclusive) are chosen of layer {layer}, which has {columns}; expected some of them"
    )]
    Range {
        /// The layer.
        layer: LayerId,
        /// The first column chosen.
        start: u32,
        /// The first one after it that is not.
        end: u32,
        /// Columns of the layer.
        columns: u32,
    },
    /// Columns of a layer without a table.
    #[error("columns are chosen of layer {layer}, which has no table")]
    UnknownLayer {
        /// The layer.
        layer: LayerId,
    },
    /// A rank that there is not, or for which no column is left.
    #[error(
        "rank {rank} of {ranks} is chosen for {columns} columns; expected a rank from 0 on, and a column for each"
    )]
    Rank {
        /// The rank.
        rank: u32,
        /// How many there are.
        ranks: u32,
        /// Columns of a layer.
        columns: u32,
    },
}

/// Bytes of a pack that are not what the format says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Not this kind of file.
    #[error("magic is {found:02x?}, expected {expected:02x?}")]
    Magic {
        /// First bytes of the file.
        found: [u8; 8],
        /// What they should be.
        expected: [u8; 8],
    },
    /// Written by a later release.
    #[error("format version is {found}, this release reads up to {supported}; use a newer release")]
    Version {
        /// Version in the file.
        found: u64,
        /// Newest version this release reads.
        supported: u32,
    },
    /// A checksum that does not match its bytes.
    #[error("{what}: checksum is {found}, expected {expected}; the file is damaged or was edited")]
    Checksum {
        /// What it covers.
        what: &'static str,
        /// Checksum of the bytes found, hexadecimal.
        found: String,
        /// Checksum stored, hexadecimal.
        expected: String,
    },
    /// A header field that differs from what the manifest says.
    #[error(
        "shard header: {field} is {found}, the manifest says {expected}; the shard belongs elsewhere"
    )]
    HeaderField {
        /// The field.
        field: &'static str,
        /// Value in the shard.
        found: String,
        /// Value that follows from the manifest.
        expected: String,
    },
    /// An index of a cold shard that contradicts the rest, though its digest is right.
    #[error("index of frames: {field} is {found}, expected {expected}")]
    FrameIndex {
        /// The field, with its place.
        field: String,
        /// Its value.
        found: u64,
        /// What is allowed.
        expected: String,
    },
    /// A dictionary of a cold shard that no frame can be read with, though its digest is right.
    #[error("the dictionary of {bytes} bytes is none of Zstandard's")]
    Dictionary {
        /// Its bytes.
        bytes: usize,
    },
    /// A file of the wrong size.
    #[error("size is {found} bytes, expected {expected}")]
    Size {
        /// Size found.
        found: u64,
        /// Size that the format requires.
        expected: u64,
    },
    /// A file or text longer than the format allows, refused before it is read or parsed.
    #[error("{what}: {found} bytes, expected at most {most}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its size in bytes.
        found: u64,
        /// The most bytes allowed.
        most: u64,
    },
    /// Text that is no manifest.
    #[error("manifest: {reason}")]
    Manifest {
        /// What is wrong, with the place.
        reason: String,
    },
    /// A manifest field whose value contradicts the rest.
    #[error("manifest: {field} is {found}, expected {expected}")]
    ManifestField {
        /// The field, with its place.
        field: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A field of a profile that is out of range or contradicts the rest.
    #[error("profile: {field} is {found}, expected {expected}")]
    ProfileField {
        /// The field, with its place.
        field: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A profile of other ids than a pack hashes.
    #[error(
        "profile: {field} is {found}, the pack's is {expected}; count one by this pack's scheme"
    )]
    OtherProfile {
        /// The field.
        field: &'static str,
        /// Value in the profile.
        found: String,
        /// Value that follows from the pack.
        expected: String,
    },
    /// The scheme in a manifest is unusable.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// The token map of a pack is unusable.
    #[error(transparent)]
    TokenMap(#[from] TokenMapError),
    /// A row codec with impossible parameters.
    #[error("row codec: {field} is {found}, expected {expected}")]
    Codec {
        /// The parameter.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What is allowed.
        expected: &'static str,
    },
}

/// A value that a row codec cannot store.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A value that is not a number, or infinite.
    #[error("value {value} of row {row} is {found}, expected a finite number")]
    NotFinite {
        /// Index of the row among those that were to be encoded.
        row: usize,
        /// Index of the value in its row.
        value: usize,
        /// The value.
        found: f32,
    },
    /// A value beyond what the codec, its scales or the table's scale can express.
    #[error("value {value} of row {row} is {found}, which is too large for the codec")]
    TooLarge {
        /// Index of the row among those that were to be encoded.
        row: usize,
        /// Index of the value in its row.
        value: usize,
        /// The value.
        found: f32,
    },
}
