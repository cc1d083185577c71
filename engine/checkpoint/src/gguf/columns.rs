//! What the families' lists of columns must hold.

use super::keys::Keys;
use crate::error::CheckpointError;

/// Rows of all columns.
pub(super) fn sum(keys: &Keys<'_>, key: &str, buckets: &[u64]) -> Result<u64, CheckpointError> {
    let sum = buckets
        .iter()
        .try_fold(0_u64, |sum, &rows| sum.checked_add(rows));
    sum.ok_or_else(|| keys.fault(key, "a list whose sum is above 2^64", "rows of a table"))
}

/// Checks that columns lie one after another.
pub(super) fn check_offsets(
    keys: &Keys<'_>,
    key: &str,
    offsets: &[u64],
    buckets: &[u64],
) -> Result<(), CheckpointError> {
    let mut expected = 0_u64;
    for (column, (&offset, &rows)) in offsets.iter().zip(buckets).enumerate() {
        if offset != expected {
            let found = format!("{offset} for column {column}");
            return Err(keys.fault(key, found, format!("{expected}, the rows before it")));
        }
        expected = expected.saturating_add(rows);
    }
    Ok(())
}
