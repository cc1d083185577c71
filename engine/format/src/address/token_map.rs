//! Vocabulary compression: raw token ids to the ids that are hashed.

use crate::error::TokenMapError;

/// For each raw token id, the id that is hashed in its place.
///
/// Tokens that read the same after normalising (`" The"`, `"the"`, ...) share one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMap {
    ids: Box<[u32]>,
}

impl TokenMap {
    /// A map whose values are all below `compressed_vocab_size`.
    ///
    /// # Errors
    /// An empty map, or a value at or above `compressed_vocab_size`.
    pub fn new(ids: Vec<u32>, compressed_vocab_size: u32) -> Result<Self, TokenMapError> {
        if ids.is_empty() {
            return Err(TokenMapError::Empty);
        }
        match ids.iter().position(|&id| id >= compressed_vocab_size) {
            Some(token) => Err(TokenMapError::IdOutOfRange {
                token,
                id: ids[token],
                compressed_vocab_size,
            }),
            None => Ok(Self { ids: ids.into() }),
        }
    }

    /// The map stored as little-endian u32, one for each raw id.
    ///
    /// # Errors
    /// A length that is no multiple of four bytes, or what [`Self::new`] refuses.
    pub fn from_bytes(bytes: &[u8], compressed_vocab_size: u32) -> Result<Self, TokenMapError> {
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(TokenMapError::Length { bytes: bytes.len() });
        }
        let ids = words.iter().map(|&word| u32::from_le_bytes(word));
        Self::new(ids.collect(), compressed_vocab_size)
    }

    /// The inverse of [`Self::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    /// The hashed id of each raw id, by raw id.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }
}
