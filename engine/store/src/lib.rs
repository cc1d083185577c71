//! Storage engine for N-gram memory tables.
//!
//! A [`Store`] is an open pack: the tables of one model with the scheme that addresses them. Tokens
//! become row ids through its [`Hasher`] and one [`Sequence`] for each request; [`Store::lookup`]
//! copies the rows of a [`Batch`] in token order, each checked against its seal on the way.
//!
//! ```text
//! tokens --Hasher, Sequence--> RowIds [layer][position][column] --Store::lookup--> row bytes --RowCodec--> f32, bf16
//! ```
//!
//! Everything here can be shared between threads.

#![forbid(unsafe_code)]

mod ahead;
mod cache;
mod columns;
mod config;
mod error;
mod fetch;
mod gather;
mod metrics;
mod open;
mod rows;
mod seed;
mod store;
mod table;
mod ticket;

pub use config::{Config, Reader, Resident};
pub use engram_format::{
    AddressError, Batch, Column, DEAD, FormatError, HEADER_BYTES, Hasher, LayerId, Manifest,
    NGrams, OrderCounts, Profile, RecordLayout, Request, RowCodec, RowId, RowIds, Scheme,
    SchemeError, SchemeName, Sequence, Storage, TokenMap, bf16, f16,
};
pub use engram_io::{IoError, QueueKind, RowBuffer, RowMemory};
pub use error::{LookupError, OpenError};
pub use metrics::{ColumnMetrics, Metrics, TableMetrics};
pub use open::{Backend, read_hasher, read_manifest, read_profile};
pub use store::{ResidentColumn, Store};
pub use ticket::{Buffer, BufferHome, Ticket};
