//! Rows of a pack that change, while stores serve them: edited facts, a few trained rows over a frozen table, one
//! user's own rows.
//!
//! An edit is known by the row it replaces, or by an exact n-gram. Rows are chosen by hashing, so many n-grams share
//! each; the edit of a row reaches all of them, that of an exact n-gram no other. What wins: the exact n-gram, then the
//! edited row, then the pack.
//!
//! [`EditedRows`] has edits in memory. With the feature `rocksdb`, `Overlay` keeps them in RocksDB, and
//! `OverlayReader` serves what another process writes there. All are a [`Tier`](engram::Tier) for
//! [`Config::tier`](engram::Config::tier).

#![forbid(unsafe_code)]

#[cfg(feature = "rocksdb")]
mod database;
mod edited_rows;
mod edits;
mod entries;
mod error;
mod filter;
#[cfg(feature = "rocksdb")]
mod overlay;
#[cfg(feature = "rocksdb")]
mod overlay_error;
#[cfg(feature = "rocksdb")]
mod overlay_reader;
mod run;
mod shape;
mod version;

#[cfg(feature = "rocksdb")]
pub use database::Durability;
pub use edited_rows::EditedRows;
pub use edits::{Edits, Key, RowData};
pub use error::EditError;
#[cfg(feature = "rocksdb")]
pub use overlay::Overlay;
#[cfg(feature = "rocksdb")]
pub use overlay_error::OverlayError;
#[cfg(feature = "rocksdb")]
pub use overlay_reader::OverlayReader;
pub use shape::Shape;
pub use version::Snapshot;
