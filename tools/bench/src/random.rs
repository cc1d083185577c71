//! Reproducible choices.

use engram::RowId;
use engram_format::Column;

/// The generator splitmix64 (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, evenly.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let v = self.0;
        let v = (v ^ (v >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let v = (v ^ (v >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let v = u128::from(v ^ (v >> 31)) * u128::from(limit);
        u64::try_from(v >> 64).expect("it is below the limit")
    }
}

/// `count` rows as a hashed batch has them: columns in turn, the row of each by chance.
pub(crate) fn rows(columns: &[Column], count: usize, random: &mut Random) -> Vec<RowId> {
    let columns = columns.iter().cycle().take(count);
    columns
        .map(|column| RowId(column.first_row + random.below(column.row_count)))
        .collect()
}
