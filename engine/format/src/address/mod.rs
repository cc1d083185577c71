//! From token ids to row ids.
//!
//! A [`Scheme`] is data: every constant that a model's hashing needs. A [`Hasher`] is a scheme made
//! ready to run, together with the [`TokenMap`] where the model compresses its vocabulary, and a
//! [`Sequence`] is the history of one request.
//!
//! ```text
//! token ids --TokenMap--> hashed ids --window of N--> per order: one 64-bit hash
//!                                                     per head: hash mod buckets + column offset = row id
//! ```

mod batch;
mod columns;
mod derive;
mod divisor;
mod hasher;
mod owned_batch;
mod pcg64;
mod powers;
mod primes;
mod published;
mod scheme;
mod sequence;
mod splitmix64;
mod token_map;

pub use batch::{Batch, NGrams};
pub use columns::Columns;
pub use derive::{
    EngramParameters, LongCatParameters, OverEncodingHash, OverEncodingLayer,
    OverEncodingParameters, OverEncodingSizes, PerLayerParameters, QwenParameters,
};
pub(crate) use divisor::Divisor;
pub use hasher::{Hasher, Request, RowIds};
pub use owned_batch::OwnedBatch;
pub use published::SchemeName;
pub(crate) use scheme::first_order;
pub use scheme::{Boundary, BoundaryRule, Column, HashRule, LayerScheme, MAX_ORDER, Mix, Scheme};
pub use sequence::{DEAD, Sequence};
pub use token_map::{MAX_TOKEN_MAP_ENTRIES, TokenMap};
