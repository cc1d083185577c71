//! How each kind of model derives the constants of its scheme from the few parameters that it configures.

mod common;
mod engram;
mod longcat;
mod qwen;

pub use engram::EngramParameters;
pub use longcat::LongCatParameters;
pub use qwen::QwenParameters;
