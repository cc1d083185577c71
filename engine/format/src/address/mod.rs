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
mod derive;
mod divisor;
mod hasher;
mod pcg64;
mod primes;
mod published;
mod scheme;
mod sequence;
mod splitmix64;
mod token_map;

pub use batch::{Batch, NGrams};
pub use derive::{EngramParameters, LongCatParameters, QwenParameters};
pub(crate) use divisor::Divisor;
pub use hasher::{Hasher, Request, RowIds};
pub use published::PresetName;
pub use scheme::{Boundary, BoundaryRule, Column, HashRule, LayerScheme, MAX_ORDER, Scheme};
pub use sequence::{DEAD, Sequence};
pub use token_map::{MAX_TOKEN_MAP_ENTRIES, TokenMap};

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// The 0-based index of a row in its table (all columns of a layer, one after another).
#[derive(
    Debug,
    Default,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Pod,
    Zeroable,
    Serialize,
    Deserialize,
)]
#[repr(transparent)]
#[serde(transparent)]
pub struct RowId(pub u64);

impl std::fmt::Display for RowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The model's 0-based id of a layer that has a table. Not an index: a model whose layers 1 and 14 have
/// tables has the ids 1 and 14.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[repr(transparent)]
#[serde(transparent)]
pub struct LayerId(pub u32);

impl std::fmt::Display for LayerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for LayerId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
