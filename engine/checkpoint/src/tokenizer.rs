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
    /// A token that cannot be decoded or normalised.
    #[error("token {id}: {cause}")]
    Token {
        /// Its id.
        id: u32,
        /// What the tokenizers library says.
        cause: tokenizers::Error,
    },
}

/// The compressed id of each raw id below the number of tokens of a `tokenizer.json`, added tokens included.
///
/// Where ids have gaps, some tokens have ids beyond that number. The reference leaves those out, too, and decodes an id
/// without a token to an empty text, which has a compressed id of its own.
///
/// # Errors
/// A file that is no tokenizer, or has a token that cannot be decoded.
pub fn compress(tokenizer_json: &[u8]) -> Result<Vec<u32>, TokenizerError> {
    let tokenizer = Tokenizer::from_bytes(tokenizer_json).map_err(TokenizerError::Unreadable)?;
    let count = tokenizer.get_vocab_size(true);
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut next = 0;
    (0_u32..)
        .take(count)
        .map(|id| {
            let token = tokenizer.id_to_token(id).unwrap_or_default();
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
    fn ids_without_a_token_read_as_an_empty_text() {
        let tokenizer = |vocab: &str, added: &str| {
            let model = format!(r#"{{"type":"WordLevel","vocab":{vocab},"unk_token":"a"}}"#);
            let json = format!(r#"{{"version":"1.0","added_tokens":[{added}],"model":{model}}}"#);
            compress(json.as_bytes()).unwrap()
        };
        assert_eq!(tokenizer(r#"{"a":0,"A":1,"b":2}"#, ""), [0, 0, 1]);
        // Id 1 has no token, and `A` lies beyond the three that there are.
        assert_eq!(tokenizer(r#"{"a":0,"b":2,"A":3}"#, ""), [0, 1, 2]);
        let added = r#"{"id":9,"content":"<x>","single_word":false,"lstrip":false,"rstrip":false,
            "normalized":false,"special":true}"#;
        assert_eq!(tokenizer(r#"{"a":0,"b":1}"#, added).len(), 3);
    }

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
