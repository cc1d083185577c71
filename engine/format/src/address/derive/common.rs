//! What the derivations share.

use crate::{
    address::scheme::{Scheme, check_range},
    error::SchemeError,
};

/// Distance between the seeds of two layers.
pub(super) const LAYER_SEED_STEP: u64 = 10_007;

/// Half of the largest multiplier with which no id of the vocabulary overflows an `i64`.
pub(super) fn half_range(vocab_size: u32) -> Result<u64, SchemeError> {
    check_range("vocabulary size", vocab_size, 1..=u64::from(u32::MAX) - 1)?;
    Ok((i64::MAX as u64 / u64::from(vocab_size) / 2).max(1))
}

pub(super) fn validated(scheme: Scheme) -> Result<Scheme, SchemeError> {
    scheme.validate()?;
    Ok(scheme)
}
