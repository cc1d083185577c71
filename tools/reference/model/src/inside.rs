//! What can be seen inside a model: the residual stream by layer, and what it says of the next token.
//!
//! A *depth* is a number of layers that have been computed: the residual stream at depth 0 is the embedding, that at
//! depth `n` is ahead of the layer at index `n`, before the rows of a memory are added to it, and that at the last depth is
//! what logits are made of.

mod lens;
mod scores;
mod similarity;
mod streams;

pub use lens::{Lens, Seen};
pub use scores::{Score, scores};
pub use similarity::similarity;
pub use streams::Streams;
