//! The open pack.

use std::path::Path;

use engram_format::{Column, Hasher, Manifest, RowCodec, RowId, Scheme};

use crate::{
    config::Config,
    error::{LookupError, OpenError},
    open,
    rows::Rows,
};

/// Rows whose memory is on its way while another is copied and checked.
const ROWS_AHEAD: usize = 16;

/// An open pack. Shared freely between threads.
#[derive(Debug)]
pub struct Store {
    manifest: Manifest,
    hasher: Hasher,
    tables: Vec<Table>,
    check_seals: bool,
}

/// The row requests of one call, all from one layer.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The model's layer id.
    pub layer: u32,
    /// Row ids `[token][column]`, or any others.
    pub rows: &'a [RowId],
}

#[derive(Debug)]
struct Table {
    layer: u32,
    codec: RowCodec,
    row_count: u64,
    columns: Vec<Column>,
    rows: Rows,
}

impl Store {
    /// Opens the pack in the folder `path` and checks its manifest, its token map, and the size and
    /// header of every shard (of every source file where the pack is attached).
    ///
    /// # Errors
    /// A missing, damaged, foreign or newer file; see [`OpenError`].
    pub fn open(path: impl AsRef<Path>, config: Config) -> Result<Self, OpenError> {
        let parts = open::open(path.as_ref(), &config)?;
        let scheme = &parts.manifest.scheme;
        let tables = parts.manifest.tables.iter().zip(parts.rows).enumerate();
        let tables = tables.map(|(index, (table, rows))| {
            let columns: Vec<Column> = scheme.columns(index).collect();
            Table {
                layer: table.layer,
                codec: table.codec,
                row_count: columns.iter().map(|column| column.row_count).sum(),
                columns,
                rows,
            }
        });
        Ok(Self {
            tables: tables.collect(),
            manifest: parts.manifest,
            hasher: parts.hasher,
            check_seals: config.check_seals,
        })
    }

    /// What the pack says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How tokens address rows.
    pub fn scheme(&self) -> &Scheme {
        self.hasher.scheme()
    }

    /// Turns tokens into row ids.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// How the rows of `layer` are encoded.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn codec(&self, layer: u32) -> Result<RowCodec, LookupError> {
        Ok(self.table(layer)?.codec)
    }

    /// Copies the rows of `batch` to `out`, one after another: `[token][column][row bytes]`.
    ///
    /// Reads each row where it lies, in the order of the batch, without allocation. Blocks while it
    /// reads.
    ///
    /// # Errors
    /// A layer or row that is not there, an `out` of another size than the rows, a failed read, or a
    /// damaged record. Then `out` is all zero.
    pub fn lookup(&self, batch: Batch<'_>, out: &mut [u8]) -> Result<(), LookupError> {
        // No byte of a bad row may be mistaken for a good one.
        self.read(batch, out).inspect_err(|_| out.fill(0))
    }

    fn read(&self, batch: Batch<'_>, out: &mut [u8]) -> Result<(), LookupError> {
        let table = self.table(batch.layer)?;
        let row_bytes = table.codec.row_bytes();
        let expected = batch.rows.len() * row_bytes;
        if out.len() != expected {
            return Err(LookupError::OutputSize {
                rows: batch.rows.len(),
                row_bytes,
                expected,
                found: out.len(),
            });
        }
        table.check_rows(batch.rows)?;
        let likely_columns = (0..table.columns.len()).cycle();
        let mut places = batch.rows.iter().zip(likely_columns).map(|(&row, likely)| {
            let column = table.column_of(row, likely);
            table.rows.prefetch(column, row);
            (column, row)
        });
        let mut ahead: [_; ROWS_AHEAD] = std::array::from_fn(|_| places.next());
        for (index, bytes) in out.chunks_exact_mut(row_bytes).enumerate() {
            let place = std::mem::replace(&mut ahead[index % ROWS_AHEAD], places.next());
            let (column, row) = place.expect("there are as many rows as places for them");
            table.rows.read(column, row, self.check_seals, bytes)?;
        }
        Ok(())
    }

    fn table(&self, layer: u32) -> Result<&Table, LookupError> {
        let table = self.tables.iter().find(|table| table.layer == layer);
        table.ok_or_else(|| LookupError::UnknownLayer {
            layer,
            layers: self.tables.iter().map(|table| table.layer).collect(),
        })
    }
}

impl Table {
    fn check_rows(&self, rows: &[RowId]) -> Result<(), LookupError> {
        match rows.iter().position(|row| row.0 >= self.row_count) {
            None => Ok(()),
            Some(index) => Err(LookupError::RowOutOfRange {
                layer: self.layer,
                index,
                row: rows[index],
                row_count: self.row_count,
            }),
        }
    }

    /// The column of `row`, which is in range; hashed batches have it at index `likely`.
    #[inline]
    fn column_of(&self, row: RowId, likely: usize) -> &Column {
        let column = &self.columns[likely];
        if row.0.wrapping_sub(column.first_row) < column.row_count {
            return column;
        }
        let next = self
            .columns
            .partition_point(|column| column.first_row <= row.0);
        &self.columns[next - 1]
    }
}
