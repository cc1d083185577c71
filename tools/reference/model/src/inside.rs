//! Looking inside a model: the residual stream by layer, and what it says of the next token.
//!
//! A *depth* is the number of layers that have been computed. The residual stream at depth 0 is the embedding; at
//! depth `n` it is what the layer at index `n` gets, before a hook changes it; at the last depth it is what logits are
//! made of.

mod cka;
mod lens;
mod scores;
mod streams;

pub use cka::linear_cka;
pub use lens::{Lens, LensStats};
pub use scores::{Score, scores};
pub use streams::Streams;
