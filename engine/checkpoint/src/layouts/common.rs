//! What the layouts share.

use engram_format::{SchemeError, TokenMap};

/// The most taps that a short convolution can have.
pub(super) const MAX_KERNEL: u64 = 64;

/// Number of compressed ids in `map`.
pub(super) fn class_count(map: &TokenMap) -> u32 {
    map.ids().iter().max().map_or(0, |&id| id.saturating_add(1))
}

/// Compressed id of the raw pad token `pad`.
pub(super) fn mapped_pad(map: &TokenMap, pad: u32) -> Result<u32, SchemeError> {
    map.ids()
        .get(pad as usize)
        .copied()
        .ok_or_else(|| SchemeError::Field {
            field: "pad token",
            found: pad.into(),
            expected: format!("below the {} tokens of the map", map.ids().len()),
        })
}

/// `size / factor`, but at least `least`, as a multiple of it.
pub(super) fn shrunk(size: u64, factor: u64, least: u64) -> u64 {
    (size / factor).next_multiple_of(least).max(least)
}
