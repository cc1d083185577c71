//! Storage engine for N-gram memory tables.
//!
//! A [`Store`] is an open pack: the tables of one model with the scheme that addresses them. Tokens become
//! row ids through its [`Hasher`] and one [`Sequence`] for each request; a lookup brings the rows of a
//! [`Batch`] in token order, each checked against its seal on the way.
//!
//! ```text
//! tokens --Hasher, Sequence--> RowIds --Batch--> Store::lookup, submit --> bytes, f32, f16 or bf16
//!                                                       |
//!                      tiers: one's own, resident, read through, cache; then the backing
//! ```
//!
//! A [`Tier`] has rows at once, a [`Backing`] fetches them. What the caller does not wait for is a
//! [`Ticket`].
//!
//! ```
//! use engram::{Config, RowIds, Sequence, Store};
//! # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
//!
//! let store = Store::open(pack, Config::new())?;
//!
//! // Row ids depend on token ids alone: hash them before the model runs its first layer.
//! let (mut sequence, mut row_ids) = (Sequence::new(), RowIds::new());
//! store.hasher().extend(&mut sequence, &[0, 3, 15], &mut row_ids)?;
//!
//! for batch in row_ids.batches() {
//!     let width = store.codec(batch.layer())?.width();
//!     let mut values = vec![0.0_f32; batch.len() * width]; // [token][column][value]
//!     store.lookup_values(batch, &mut values[..])?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything here can be shared between threads.

#![forbid(unsafe_code)]

mod backing;
mod buffer_pool;
#[cfg(feature = "cold")]
mod cold;
#[cfg(not(feature = "cold"))]
#[path = "cold/absent.rs"]
mod cold;
mod config;
mod error;
mod fill;
mod gather;
mod lookup;
mod metrics;
mod open;
mod output;
mod owner;
mod pipeline;
mod pools;
mod priority;
mod resolve;
mod seed;
mod shared_copy;
mod shared_folder;
mod source;
mod store;
mod ticket;
mod tier;
mod watch;

pub use backing::{Backing, Canceller, OpenBacking, PendingRead, PendingReads, ReadGeometry};
pub use buffer_pool::{Buffer, BufferPool};
pub use config::{Config, ConfigError, Reader, Resident};
pub use engram_format::{
    AddressError, Batch, Column, Columns, ColumnsError, DEAD, FormatError, HEADER_BYTES, Hasher,
    LayerId, Manifest, NGrams, OrderCounts, OwnedBatch, Profile, RecordLayout, Request, RowCodec,
    RowId, RowIds, ScaleType, Scheme, SchemeError, SchemeName, Sequence, Storage, TokenMap, bf16,
    f16,
};
pub use engram_io::{
    BlockRead, BufferMemory, EngineKind, FileChange, Io, IoError, RowBuffer, SystemIo,
};
pub use error::{LookupError, OpenError};
pub use metrics::{ColumnMetrics, FrameMetrics, Metrics, PriorityMetrics, TableMetrics};
pub use open::{Backend, MemoryLimit, read_hasher, read_manifest, read_profile, shard_paths};
pub use output::{RowsMut, ValueType, ValuesMut};
pub use priority::{Priority, UnknownPriority};
pub use resolve::{RowRef, Wanted};
pub use shared_folder::{SharedFile, SharedFileKind, shared_files};
pub use store::{AtPriority, ResidentColumn, Store};
pub use ticket::Ticket;
pub use tier::Tier;
