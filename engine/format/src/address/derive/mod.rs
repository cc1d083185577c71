//! How each kind of model derives the constants of its scheme from the few parameters that it configures.

mod common;
mod engram;
mod longcat;
mod over_encoding;
mod per_layer;
mod qwen;

pub use engram::EngramParameters;
pub use longcat::LongCatParameters;
pub use over_encoding::{
    OverEncodingHash, OverEncodingLayer, OverEncodingParameters, OverEncodingSizes,
};
pub use per_layer::PerLayerParameters;
pub use qwen::QwenParameters;
