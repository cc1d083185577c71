//! Vocabulary compression: raw token ids to the ids that are hashed.

use crate::error::TokenMapError;

/// The most entries that a token map may have, which take 64 MiB: sixteen times the largest known vocabulary.
pub const MAX_TOKEN_MAP_ENTRIES: u64 = 1 << 24;

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
    /// A map without entries or with more than [`MAX_TOKEN_MAP_ENTRIES`], or a value at or above
    /// `compressed_vocab_size`.
    pub fn new(ids: Vec<u32>, compressed_vocab_size: u32) -> Result<Self, TokenMapError> {
        check_count(ids.len())?;
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
        check_count(words.len())?;
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

fn check_count(entries: usize) -> Result<(), TokenMapError> {
    match entries as u64 {
        0 => Err(TokenMapError::Empty),
        1..=MAX_TOKEN_MAP_ENTRIES => Ok(()),
        entries => Err(TokenMapError::TooLong {
            entries,
            most: MAX_TOKEN_MAP_ENTRIES,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_at_least_one_entry_and_at_most_the_limit() {
        let most = 1 << 24;
        assert!(TokenMap::new(vec![0; most], 1).is_ok());
        let refused = Err(TokenMapError::TooLong {
            entries: (1 << 24) + 1,
            most: 1 << 24,
        });
        assert_eq!(TokenMap::new(vec![0; most + 1], 1), refused);
        assert_eq!(TokenMap::from_bytes(&vec![0; 4 * (most + 1)], 1), refused);
        assert_eq!(TokenMap::new(vec![], 1), Err(TokenMapError::Empty));
        assert_eq!(TokenMap::from_bytes(&[], 1), Err(TokenMapError::Empty));
    }
}
