//! GGUF files: rows become a hole, and everything else stays at its place.

use engram_checkpoint::Checkpoint;
use engram_format::Digest;

use super::{
    super::record::{LeanFile, Piece},
    Kept, LeanPlan, packed_rows,
};

/// The plan for the checkpoint's file at index `source`.
pub(super) fn plan(checkpoint: &Checkpoint, source: usize) -> LeanPlan {
    let file = &checkpoint.sources[source];
    let (mut kept, mut pieces, mut next) = (Vec::new(), Vec::new(), 0);
    let mut keep_until = |end: u64, next: u64, pieces: &mut Vec<Piece>| {
        let bytes = end - next;
        if bytes > 0 {
            let (from, to) = (next, next);
            kept.push(Kept { from, to, bytes });
            pieces.push(Piece::Kept { offset: to, bytes });
        }
    };
    for (offset, bytes, rows) in rows_of(checkpoint, source) {
        keep_until(offset, next, &mut pieces);
        pieces.push(rows);
        next = offset + bytes;
    }
    keep_until(file.bytes, next, &mut pieces);
    LeanPlan {
        bytes: file.bytes,
        file: LeanFile {
            name: file.name.clone(),
            bytes: file.bytes,
            digest: Digest(0),
            header: None,
            pieces,
        },
        start: Vec::new(),
        kept,
        rest: Vec::new(),
        removed: Vec::new(),
    }
}

/// Offset, size and rows of each stretch of the file that holds rows, in the file's order.
fn rows_of(checkpoint: &Checkpoint, source: usize) -> Vec<(u64, u64, Piece)> {
    let mut found = Vec::new();
    for table in &checkpoint.tables {
        let packed = packed_rows(checkpoint, table);
        for (plane, place) in table.planes.iter().enumerate() {
            let segments = place.segments.iter();
            for segment in segments.filter(|segment| segment.source as usize == source) {
                let end = packed.min(segment.first_row + segment.row_count);
                let row_count = end.saturating_sub(segment.first_row);
                if row_count > 0 {
                    let rows = Piece::Rows {
                        layer: table.layer,
                        plane,
                        first_row: segment.first_row,
                        row_count,
                    };
                    found.push((segment.offset, row_count * place.row_bytes, rows));
                }
            }
        }
    }
    found.sort_by_key(|&(offset, ..)| offset);
    found
}
