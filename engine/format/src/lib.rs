//! The Engram pack format and its addressing.
//!
//! Pure functions between bytes and typed values: nothing here opens a file. `format-spec/FORMAT.md`
//! is the text on the layout, `PROFILE.md` beside it on profiles; the modules name their sections.

#![deny(unsafe_code)]

mod address;
mod codec;
mod cold;
mod digest;
mod error;
mod extent;
mod header;
mod ids;
mod layout;
mod manifest;
mod profile;
mod seal;

pub use address::{
    Batch, Boundary, BoundaryRule, Column, Columns, DEAD, EngramParameters, HashRule, Hasher,
    LayerScheme, LongCatParameters, MAX_ORDER, MAX_TOKEN_MAP_ENTRIES, Mix, NGrams,
    OverEncodingHash, OverEncodingLayer, OverEncodingParameters, OverEncodingSizes, OwnedBatch,
    PerLayerParameters, QwenParameters, Request, RowIds, Scheme, SchemeName, Sequence, TokenMap,
};
pub use codec::{NanPlace, RowCodec, ScaleType};
pub use cold::{
    COLD_EXTENSION, ColdColumn, ColdShard, ColdTable, FrameIndex, FramePlace, MAX_DICTIONARY_BYTES,
    MAX_FRAME_BYTES, compressed_bound, seals_digest,
};
pub use digest::{Digest, Digester, ShardDigests};
pub use error::{AddressError, ColumnsError, EncodeError, FormatError, SchemeError, TokenMapError};
pub use extent::Extent;
pub use half::{bf16, f16};
pub use header::ShardHeader;
pub use ids::{LayerId, RowId};
pub use layout::{BLOCK_BYTES, HEADER_BYTES, RecordLayout, SEAL_BYTES};
pub use manifest::{
    MANIFEST_FILE, MAX_MANIFEST_BYTES, MAX_SEGMENTS, MAX_SOURCE_HEADER_BYTES, MAX_STRIPES,
    Manifest, PACK_FOLDER, Plane, Sample, Segment, SourceFile, Storage, Stripes, TOKEN_MAP_FILE,
    Table, TokenMapFile, shard_path,
};
pub use profile::{
    MAX_PROFILE_BYTES, MAX_PROFILE_NGRAMS, OrderCounts, Profile, ProfileCounter, WindowRules,
};
pub use seal::{copy_and_seal, seal};

/// The newest format version that this release reads. It writes the oldest that can say what a pack has.
pub const FORMAT_VERSION: u32 = 3;
