//! The token map of DeepSeek's tokenizers, so that their rows can be named without them.

use engram_format::{SchemeName, TokenMap};

/// Map of DeepSeek-V4.1's 129,280 tokens. The V3 tokenizer of the demo is its first part.
const DEEPSEEK_V41: &[u8] = include_bytes!("../data/token_map_v41.u32le");
const DEEPSEEK_V3_TOKENS: usize = 128_815;

/// The token map of a known model, where it has one.
#[expect(clippy::missing_panics_doc, reason = "a test reads both maps")]
pub fn builtin_token_map(name: SchemeName) -> Option<TokenMap> {
    let bytes = match name {
        SchemeName::DeepSeekV41Flash => DEEPSEEK_V41,
        SchemeName::EngramDemoV1 => &DEEPSEEK_V41[..4 * DEEPSEEK_V3_TOKENS],
        _ => return None,
    };
    let vocab_size = name.scheme().hashed_vocab_size;
    Some(TokenMap::from_bytes(bytes, vocab_size).expect("the embedded map is valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_maps_have_the_published_sizes() {
        let v41 = builtin_token_map(SchemeName::DeepSeekV41Flash).unwrap();
        assert_eq!(v41.ids().len(), 129_280);
        assert_eq!(v41.ids().iter().max(), Some(&99_091));
        assert_eq!(
            v41.ids().iter().map(|&id| u64::from(id)).sum::<u64>(),
            5_395_231_328
        );
        let demo = builtin_token_map(SchemeName::EngramDemoV1).unwrap();
        assert_eq!(demo.ids().iter().max(), Some(&98_626));
    }
}
