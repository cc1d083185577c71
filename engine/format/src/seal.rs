//! The check value of each record (FORMAT.md, "Seal").

mod xxh3;

use crate::ids::{LayerId, RowId};

/// The seal of the row `bytes` at `row` of layer `layer`'s table.
///
/// XXH3-64 of the bytes, exclusive-or the position (layer and row) that they belong to. Damage changes the first; a
/// record that was swapped or read from elsewhere always differs in the second.
#[inline]
pub fn seal(layer: LayerId, row: RowId, bytes: &[u8]) -> u64 {
    xxh3::hash(bytes) ^ position(layer, row)
}

/// Copies the row `bytes` to `out` and gives its [`seal()`], in one pass where the processor can.
///
/// # Panics
/// If `out` is of another length.
#[inline]
pub fn copy_and_seal(layer: LayerId, row: RowId, bytes: &[u8], out: &mut [u8]) -> u64 {
    xxh3::copy_and_hash(bytes, out) ^ position(layer, row)
}

#[inline]
fn position(layer: LayerId, row: RowId) -> u64 {
    u64::from(layer.0) << 48 | row.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_elsewhere_have_another_seal() {
        let bytes = [7; 264];
        let here = seal(LayerId(1), RowId(5), &bytes);
        assert_ne!(here, seal(LayerId(1), RowId(6), &bytes));
        assert_ne!(here, seal(LayerId(14), RowId(5), &bytes));
        assert_ne!(seal(LayerId(0), RowId(0), &[0; 264]), 0);
        assert_eq!(
            here,
            copy_and_seal(LayerId(1), RowId(5), &bytes, &mut [0; 264])
        );
    }
}
