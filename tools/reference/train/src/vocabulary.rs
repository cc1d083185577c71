//! A byte-level vocabulary, made of the text that is learned from.

use engram::TokenMap;
use engram_checkpoint::compress;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer, TokenizerBuilder,
    models::bpe::{BPE, BpeTrainer},
    pre_tokenizers::byte_level::ByteLevel,
    processors::template::TemplateProcessing,
};

use crate::Error;

/// Begins a text.
const BOS: (&str, u32) = ("<bos>", 0);
/// Ends a text.
const EOS: (&str, u32) = ("<eos>", 1);
/// Stands before the first token in an n-gram.
const PAD: (&str, u32) = ("<pad>", 2);
/// Every byte has a token, so every text can be written.
const LEAST: usize = 256 + 3;

/// A tokenizer and what is known of its tokens.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    tokenizer: Tokenizer,
    json: Vec<u8>,
    /// Bytes of text that each token stands for.
    bytes: Vec<u32>,
}

impl Vocabulary {
    /// Learns byte pairs of `texts` until there are `size` tokens, or no more pairs.
    ///
    /// # Errors
    /// A size without a token for each byte, or whatever the tokenizers library says.
    pub fn learn(texts: &[String], size: usize) -> Result<Self, Error> {
        if size < LEAST {
            return Err(Error::Recipe {
                field: "vocabulary",
                found: size.to_string(),
                expected: format!("{LEAST} or more"),
            });
        }
        let special = [BOS, EOS, PAD].map(|(text, _)| AddedToken::from(text, true));
        let mut trainer = BpeTrainer::builder()
            .vocab_size(size)
            .show_progress(false)
            .special_tokens(special.into())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let begins = TemplateProcessing::builder()
            .try_single(format!("{} $A", BOS.0))
            .map_err(|message| Error::Vocabulary(message.into()))?
            .special_tokens(vec![BOS])
            .build()
            .map_err(|error| Error::Vocabulary(error.into()))?;
        let mut tokenizer = TokenizerBuilder::<
            BPE,
            NormalizerWrapper,
            PreTokenizerWrapper,
            PostProcessorWrapper,
            DecoderWrapper,
        >::new()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true).into()))
        .with_post_processor(Some(begins.into()))
        .with_decoder(Some(ByteLevel::default().into()))
        .build()
        .map_err(Error::Vocabulary)?;
        tokenizer
            .train(&mut trainer, texts.iter())
            .map_err(Error::Vocabulary)?;
        let json = tokenizer.to_string(true).map_err(Error::Vocabulary)?;
        Self::from_json(json.into_bytes())
    }

    /// The vocabulary of a `tokenizer.json` that [`Self::learn`] made.
    ///
    /// # Errors
    /// Bytes that are no such file.
    pub fn from_json(json: Vec<u8>) -> Result<Self, Error> {
        let tokenizer = Tokenizer::from_bytes(&json).map_err(Error::Vocabulary)?;
        let count = u32::try_from(tokenizer.get_vocab_size(true)).unwrap_or(u32::MAX);
        let bytes = (0..count).map(|id| match tokenizer.id_to_token(id) {
            // Each character of a token stands for a byte.
            Some(token) if id > PAD.1 => token.chars().count().try_into().unwrap_or(u32::MAX),
            _ => 0,
        });
        Ok(Self {
            bytes: bytes.collect(),
            tokenizer,
            json,
        })
    }

    /// Tokens.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The `tokenizer.json`.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The token that ends a text.
    pub fn eos(&self) -> u32 {
        EOS.1
    }

    /// The token that begins a text.
    pub fn bos(&self) -> u32 {
        BOS.1
    }

    /// The token that stands before the first in an n-gram.
    pub fn pad(&self) -> u32 {
        PAD.1
    }

    /// Bytes of text that `tokens` stand for.
    ///
    /// # Panics
    /// If one of them is not in the vocabulary.
    pub fn bytes(&self, tokens: &[u32]) -> u64 {
        tokens
            .iter()
            .map(|&token| u64::from(self.bytes[token as usize]))
            .sum()
    }

    /// Tokens of `texts`, each after one that begins it and before one that ends it.
    ///
    /// # Errors
    /// Whatever the tokenizers library says.
    pub fn encode(&self, texts: &[String]) -> Result<Vec<u32>, Error> {
        let inputs = texts.iter().map(String::as_str).collect();
        let encoded = self.tokenizer.encode_batch_fast::<&str>(inputs, true);
        let mut tokens = Vec::new();
        for encoding in encoded.map_err(Error::Vocabulary)? {
            tokens.extend(encoding.get_ids());
            tokens.push(EOS.1);
        }
        Ok(tokens)
    }

    /// The map by which the demo's family compresses tokens before it hashes them.
    ///
    /// # Errors
    /// Tokens of which no map can be made.
    pub fn token_map(&self) -> Result<TokenMap, Error> {
        let ids = compress(&self.json).map_err(|error| Error::Vocabulary(error.into()))?;
        TokenMap::new(ids, u32::MAX).map_err(|error| Error::Vocabulary(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_learned_once_and_stand_for_all_bytes() {
        let text =
            "In the beginning God created the heaven and the earth. ".repeat(30) + "Ünïcödé\n";
        let texts = [text.clone()];
        let vocabulary = Vocabulary::learn(&texts, 300).unwrap();
        assert_eq!(vocabulary.size(), 300);
        let again = Vocabulary::learn(&texts, 300).unwrap();
        assert_eq!(vocabulary.json(), again.json());
        let tokens = vocabulary.encode(&texts).unwrap();
        assert_eq!(
            (tokens[0], *tokens.last().unwrap()),
            (vocabulary.bos(), vocabulary.eos())
        );
        assert!(tokens.len() < text.len() / 2);
        assert_eq!(vocabulary.bytes(&tokens), text.len() as u64);
        assert_eq!(vocabulary.tokenizer().decode(&tokens, true).unwrap(), text);
        assert_eq!(vocabulary.token_map().unwrap().ids().len(), 300);
    }

    #[test]
    fn a_vocabulary_without_all_bytes_is_an_error() {
        let error = Vocabulary::learn(&["text".to_owned()], 200).unwrap_err();
        assert!(error.to_string().contains("vocabulary is 200"), "{error}");
    }
}
