//! Rows chosen at random.

use engram::RowId;
use engram_format::Column;
use engram_kit::random::Random;

/// `count` rows as a hashed batch has them: columns in turn, the row of each by chance.
pub fn random_rows(columns: &[Column], count: usize, random: &mut Random) -> Vec<RowId> {
    let columns = columns.iter().cycle().take(count);
    columns
        .map(|column| RowId(column.first_row + random.below(column.row_count)))
        .collect()
}
