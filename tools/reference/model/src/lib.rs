//! Reference computations of models that read Engram tables, on candle.
//!
//! They are here to be right and to be read: every part is compared with golden values from elsewhere.
//!
//! ```text
//! config.json, *.safetensors ---> Model --forward(tokens, Cache, LayerHook)--> logits --Generator--> tokens
//!                         |                                        ^
//!                         +-----> EngramBlocks ---> Session -------+
//! pack -----------------> Store --------^  rows by ticket
//! ```
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use candle_core::Device;
//! use engram::{Config, Store};
//! use engram_model::{EngramBlocks, Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Arc::new(Store::open("pack", Config::new())?);
//! let model = Model::load("model", &Device::Cpu)?;
//! let engram = EngramBlocks::load("model", store, &Device::Cpu)?;
//! let (mut cache, mut session) = (model.cache(1), engram.session(1));
//! let logits = model.forward(&[&[0, 3, 15]], &mut cache, &mut session)?;
//! // The last token is rejected; the session follows the cache.
//! cache.truncate(0, 2);
//! let logits = model.forward(&[&[7]], &mut cache, &mut session)?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod attention;
mod cache;
mod config;
mod error;
mod generate;
mod grad;
mod hyper;
pub mod inside;
mod layer;
mod layer_hook;
mod layer_times;
pub mod memory_block;
mod mlp;
mod model;
mod moe;
mod rope;
mod routing;
mod sampling;
mod weights;

pub use cache::Cache;
pub use config::Config;
pub use error::Error;
pub use generate::{Generator, Options};
pub use layer_hook::LayerHook;
pub use layer_times::LayerTimes;
pub use memory_block::{EngramBlocks, RowTimes, Session};
pub use model::Model;
pub use sampling::Sampling;
