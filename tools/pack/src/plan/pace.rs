//! How fast a checkpoint's rows can be copied, found by copying some.

use std::{io::Write, path::Path, time::Instant};

use anyhow::Result;
use engram_checkpoint::Checkpoint;

use crate::build::RowStream;

/// Bytes that are copied at most.
pub(super) const TRIAL_BYTES: usize = 128 << 20;
/// Bytes that are read at a time.
const PIECE_BYTES: usize = 8 << 20;
/// No piece begins after so many seconds.
const TRIAL_SECONDS: f64 = 2.0;

/// Bytes a second that one job copies from the first table of `checkpoint` to the drive of `folder`. The copy has no
/// name in the folder and is gone afterwards. Rows are taken from the table's middle, since its beginning was read just
/// now.
///
/// # Errors
/// Rows that cannot be read, or a folder that cannot be written to.
pub(super) fn pace(checkpoint: &Checkpoint, folder: &Path) -> Result<f64> {
    let table = &checkpoint.tables[0];
    let row_bytes = table.codec.row_bytes();
    let all_rows: u64 = checkpoint
        .scheme
        .columns(0)
        .map(|column| column.row_count)
        .sum();
    let rows = usize::try_from(all_rows / 2)?.clamp(1, (TRIAL_BYTES / row_bytes).max(1));
    let mut stream = RowStream::new(checkpoint, table, all_rows / 2);
    let mut buffer = vec![0; rows.min((PIECE_BYTES / row_bytes).max(1)) * row_bytes];
    let mut copy = tempfile::tempfile_in(folder)?;
    let (start, mut copied) = (Instant::now(), 0);
    while copied < rows * row_bytes && start.elapsed().as_secs_f64() < TRIAL_SECONDS {
        let piece = buffer.len().min(rows * row_bytes - copied);
        stream.read(&mut buffer[..piece])?;
        copy.write_all(&buffer[..piece])?;
        copied += piece;
    }
    copy.sync_data()?;
    #[expect(clippy::cast_precision_loss, reason = "a pace needs no 53 bits")]
    Ok(copied as f64 / start.elapsed().as_secs_f64())
}
