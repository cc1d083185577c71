//! What the benches share.

use engram_checkpoint::builtin_token_map;
use engram_format::{Hasher, SchemeName};

/// A real text by DeepSeek's tokenizer, over and over until there are `count` tokens.
pub fn tokens(count: usize) -> Vec<u32> {
    let text = include_bytes!("../tools/pack/data/demo_tokens.u32le")
        .as_chunks()
        .0;
    let tokens = text.iter().map(|&word| u32::from_le_bytes(word));
    tokens.cycle().take(count).collect()
}

/// The hasher of a known model at full size.
///
/// # Panics
/// Never: the published schemes are valid.
pub fn hasher(name: SchemeName) -> Hasher {
    Hasher::new(name.scheme(), builtin_token_map(name)).expect("a published scheme is valid")
}
