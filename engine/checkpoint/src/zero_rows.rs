//! Rows that are nothing but zeros, as a download leaves them that was given its full size at the start.

use std::fmt;

use engram_format::{LayerId, Plane, RowId};

use crate::{locate::SourceTable, size::grouped};

/// Zero rows in sequence from which on they are taken for a part of a file that never came. Rows of a trained table
/// that no text has reached may be zero as well, but they are scattered by the hash.
pub const MIN_ZERO_RUN: u64 = 16;

/// Consecutive rows of a tensor that are zero: [`MIN_ZERO_RUN`] or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZeroRun {
    /// The model's layer id.
    pub layer: LayerId,
    /// The tensor, of values or of scales; the first, where the rows lie in several.
    pub tensor: String,
    /// Place of the first of them in the tensor, in rows.
    pub first_in_tensor: u64,
    /// Its row id.
    pub first_row: u64,
    /// How many there are.
    pub rows: u64,
}

impl ZeroRun {
    /// The run of `rows` rows of `plane` from `first_row` on, if it is long enough.
    pub fn new(layer: LayerId, plane: &Plane, first_row: u64, rows: u64) -> Option<Self> {
        if rows < MIN_ZERO_RUN {
            return None;
        }
        let segment = plane.segment_of(RowId(first_row));
        Some(Self {
            layer,
            tensor: segment.tensor.clone(),
            first_in_tensor: first_row - segment.first_row,
            first_row,
            rows,
        })
    }
}

impl fmt::Display for ZeroRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows from row {} of tensor `{}` on (row {} of layer {}) are zero: its download may not be complete",
            grouped(self.rows),
            self.first_in_tensor,
            self.tensor,
            self.first_row,
            self.layer
        )
    }
}

/// Finds runs of zero rows among the rows of a table that pass by.
#[derive(Debug)]
pub struct ZeroScan<'a> {
    table: &'a SourceTable,
    /// For each plane, the zero rows that end where the last call ended: the first of them, and how many.
    open: Vec<(u64, u64)>,
    found: Vec<ZeroRun>,
}

impl<'a> ZeroScan<'a> {
    /// A scan of rows of `table`.
    pub fn new(table: &'a SourceTable) -> Self {
        Self {
            table,
            open: vec![(0, 0); table.planes.len()],
            found: Vec::new(),
        }
    }

    /// Goes on with the rows whose bytes are `rows`. The first is `first_row`, which follows those of the last call.
    pub fn rows(&mut self, first_row: u64, rows: &[u8]) {
        let parts = self.table.part_bytes();
        for (row, bytes) in (first_row..).zip(rows.chunks_exact(parts.iter().sum())) {
            let mut start = 0;
            for (plane, part_bytes) in parts.iter().enumerate() {
                let part = &bytes[start..start + part_bytes];
                start += part_bytes;
                if part.iter().any(|&byte| byte != 0) {
                    self.end_run(plane);
                } else {
                    let (first, count) = &mut self.open[plane];
                    *first = if *count == 0 { row } else { *first };
                    *count += 1;
                }
            }
        }
    }

    /// The runs, by plane and row.
    pub fn finish(mut self) -> Vec<ZeroRun> {
        for plane in 0..self.open.len() {
            self.end_run(plane);
        }
        self.found
    }

    fn end_run(&mut self, plane: usize) {
        let (first_row, rows) = std::mem::take(&mut self.open[plane]);
        let plane = &self.table.planes[plane];
        self.found
            .extend(ZeroRun::new(self.table.layer, plane, first_row, rows));
    }
}

#[cfg(test)]
mod tests {
    use engram_format::{RowCodec, Segment};

    use super::*;

    fn table() -> SourceTable {
        let plane = |tensor: &str, row_bytes| Plane {
            row_bytes,
            segments: vec![Segment {
                tensor: tensor.into(),
                source: 0,
                offset: 0,
                first_row: 0,
                row_count: 100,
            }],
        };
        SourceTable {
            layer: LayerId(3),
            codec: RowCodec::Fp8Ue8m0 { width: 4, group: 4 },
            planes: vec![plane("values", 4), plane("scales", 1)],
            padding_rows: 0,
        }
    }

    fn scan(zero: impl Fn(u64) -> bool, step: usize) -> Vec<(u64, u64)> {
        let table = table();
        let row = |row| {
            if zero(row) {
                [0, 0, 0, 0, 7]
            } else {
                [0, 0, 0, 1, 7]
            }
        };
        let rows: Vec<[u8; 5]> = (0..100).map(row).collect();
        let mut scan = ZeroScan::new(&table);
        for (first, rows) in (0..).step_by(step).zip(rows.chunks(step)) {
            scan.rows(first, rows.as_flattened());
        }
        let runs = scan.finish();
        assert!(runs.iter().all(|run| run.tensor == "values"));
        runs.iter().map(|run| (run.first_row, run.rows)).collect()
    }

    #[test]
    fn runs_are_found_across_calls_and_single_rows_are_not() {
        for step in [1, 7, 100] {
            assert_eq!(scan(|row| row == 5 || row >= 85, step), []);
            assert_eq!(scan(|row| row == 5 || row >= 84, step), [(84, 16)]);
            assert_eq!(
                scan(|row| row < 20 || (30..60).contains(&row), step),
                [(0, 20), (30, 30)]
            );
        }
    }

    #[test]
    fn scales_alone_are_seen_too() {
        let table = table();
        let mut scan = ZeroScan::new(&table);
        scan.rows(50, &[1, 1, 1, 1, 0].repeat(20));
        let runs = scan.finish();
        assert_eq!(
            (runs.len(), runs[0].tensor.as_str(), runs[0].first_row),
            (1, "scales", 50)
        );
        assert_eq!(
            runs[0].to_string(),
            "20 rows from row 50 of tensor `scales` on (row 50 of layer 3) are zero: its download may not be complete"
        );
    }
}
