//! Vocabulary compression as Engram's authors define it: tokens that read alike share an id.
//!
//! Each token is decoded by itself and normalised; the first token of each normal form gives it the
//! next free id.

use std::collections::HashMap;

use thiserror::Error;
use tokenizers::{
    NormalizedString, Normalizer, Tokenizer,
    normalizers::{Lowercase, NFD, NFKC, StripAccents},
};

/// Stands for a token that is nothing but one space, which stripping would lose.
const LONE_SPACE: char = '\u{E000}';

/// A tokenizer from which no token map can be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// Not a `tokenizer.json` that the tokenizers library reads.
    #[error("no tokenizer: {0}")]
    Unreadable(tokenizers::Error),
    /// Ids that do not count up from 0.
    #[error("no token has id {id}, though there are {count} tokens")]
    Gap {
        /// The missing id.
        id: u32,
        /// Tokens in the tokenizer, the added ones included.
        count: usize,
    },
    /// A token that cannot be decoded or normalised.
    #[error("token {id}: {cause}")]
    Token {
        /// Its id.
        id: u32,
        /// What the tokenizers library says.
        cause: tokenizers::Error,
    },
}

/// The compressed id of each token of a `tokenizer.json`, by raw id, added tokens included.
///
/// # Errors
/// A file that is no tokenizer, or whose ids have gaps.
pub fn compress(tokenizer_json: &[u8]) -> Result<Vec<u32>, TokenizerError> {
    let tokenizer = Tokenizer::from_bytes(tokenizer_json).map_err(TokenizerError::Unreadable)?;
    let count = tokenizer.get_vocab_size(true);
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut next = 0;
    (0_u32..)
        .take(count)
        .map(|id| {
            let token = tokenizer
                .id_to_token(id)
                .ok_or(TokenizerError::Gap { id, count })?;
            let key =
                key(&tokenizer, id, token).map_err(|cause| TokenizerError::Token { id, cause })?;
            let id = *known.entry(key).or_insert(next);
            next = next.max(id + 1);
            Ok(id)
        })
        .collect()
}

fn key(tokenizer: &Tokenizer, id: u32, token: String) -> tokenizers::Result<String> {
    let text = tokenizer.decode(&[id], false)?;
    // A part of a character has no text of its own to normalise.
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Ok(token);
    }
    let normal = normalise(&text)?;
    Ok(if normal.is_empty() { text } else { normal })
}

fn normalise(text: &str) -> tokenizers::Result<String> {
    let mut normal = NormalizedString::from(text);
    NFKC.normalize(&mut normal)?;
    NFD.normalize(&mut normal)?;
    StripAccents.normalize(&mut normal)?;
    Lowercase.normalize(&mut normal)?;
    let mut spaced = String::with_capacity(text.len());
    for c in normal.get().chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if spaced.ends_with(' ') => {}
            ' ' | '\t' | '\r' | '\n' => spaced.push(' '),
            c => spaced.push(c),
        }
    }
    if spaced == " " {
        return Ok(spaced);
    }
    Ok(spaced.trim().replace(LONE_SPACE, " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_those_of_the_reference() {
        let cases = [
            ("The", "the"),
            (" the", "the"),
            ("Ｔｈｅ", "the"),
            ("É", "e"),
            ("ΑΣ", "ασ"),
            ("ß", "ß"),
            (" ", " "),
            ("\t\r\n", " "),
            (" a \n\t b ", "a b"),
            ("\u{A0}x\u{3000}", "x"),
            ("\u{85}", ""),
            ("a\u{903}\u{20DD}\u{FE0F}\u{200D}", "a\u{200D}"),
            ("\u{E000}", " "),
        ];
        for (text, normal) in cases {
            assert_eq!(normalise(text).unwrap(), normal, "{text:?}");
        }
        assert_eq!(
            normalise("각").unwrap().chars().count(),
            3,
            "Hangul splits into its letters"
        );
    }
}
