//! Reference computations of models that read Engram tables, on candle.
//!
//! They are here to be right and to be read: every part is compared with golden values from elsewhere.
//!
//! ```text
//! config.json ---> Config ---+
//!                            +--> Model --forward(tokens, Cache, Memory)--> logits
//! *.safetensors -> tensors --+                                  ^
//!                                  rows of tables -> engram ----+
//! ```

#![forbid(unsafe_code)]

mod attention;
mod cache;
mod config;
pub mod engram;
mod error;
mod json;
mod layer;
mod memory;
mod mlp;
mod model;
mod moe;
mod rope;
mod routing;
mod weights;

pub use cache::Cache;
pub use config::Config;
pub use error::Error;
pub use memory::Memory;
pub use model::Model;
