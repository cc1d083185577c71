//! Reference computations of models that read Engram tables, on candle.
//!
//! They are here to be right and to be read: every part is compared with golden values from elsewhere.
//!
//! ```text
//! config.json, *.safetensors ---> Model --forward(tokens, Cache, Memory)--> logits --Generator--> tokens
//!                         |                                        ^
//!                         +-----> Engram ---------> Session -------+
//! pack -----------------> Store -----^  rows by ticket
//! ```

#![forbid(unsafe_code)]

mod attention;
mod cache;
mod config;
pub mod engram;
mod error;
mod generate;
mod hyper;
mod layer;
mod memory;
mod mlp;
mod model;
mod moe;
mod profile;
mod rope;
mod routing;
mod sampling;
mod weights;

pub use cache::Cache;
pub use config::Config;
pub use engram::{Engram, RowTimes, Session};
pub use error::Error;
pub use generate::{Generator, Options};
pub use memory::Memory;
pub use model::Model;
pub use profile::Profile;
pub use sampling::Sampling;
