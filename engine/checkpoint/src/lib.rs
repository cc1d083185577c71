//! Finds the N-gram memory tables in a model's own checkpoint.
//!
//! ```text
//! config.json ------------> Family --------> Scheme, names of the tensors
//! tokenizer.json ---------> TokenMap           |
//! *.safetensors headers --> TensorFiles -------+--> Checkpoint: where every part of every row lies
//!
//! or a .gguf file: scheme, token map and tensors --^
//! ```
//!
//! Tables that are published without a model beside them are found by [`Checkpoint::open_with`], which is told their
//! scheme.
//!
//! Of the tensors' data, only the single scale of a table that has one is read here. [`TensorFiles::read`] reads
//! other tensors on request.

#![forbid(unsafe_code)]

mod builtin;
mod checkpoint;
mod encoding;
mod error;
mod files;
mod gguf;
mod json;
mod layouts;
mod locate;
mod modules;
mod named;
mod nearest;
mod prefix;
mod ranks;
mod size;
mod spellings;
mod stand_in;
mod table_files;
mod tensors;
mod token_map;
mod tokenizer;
mod zero_rows;

pub use builtin::builtin_token_map;
pub use checkpoint::{Checkpoint, CheckpointOptions};
pub use error::{CheckpointError, ConfigField};
pub use files::{MAX_JSON_BYTES, read_json};
pub use gguf::{GgufError, gguf_parts};
pub use layouts::{
    CONFIG_FILE, DeepSeekConfig, DemoConfig, Family, GemmaConfig, LongCatConfig, OtherTensor,
    OverEncodingConfig, OverEncodingRows, QwenConfig, Scales, TableTensors, TensorRows,
};
pub use locate::SourceTable;
pub use safetensors::Dtype;
pub use stand_in::StandIn;
pub use table_files::table_files;
pub use tensors::{INDEX_FILE, Tensor, TensorFiles};
pub use token_map::{PLAIN_TOKEN_MAP_FILE, TOKENIZER_FILE, is_plain_token_map, read_token_map};
pub use tokenizer::{TokenizerError, compress};
pub use zero_rows::{MIN_ZERO_RUN, ZeroRun, ZeroScan};
