//! The way of a batch: resolved once, through the tiers, and what is left to the backing.

use std::{
    borrow::Cow,
    cell::Cell,
    ops::Range,
    sync::{Arc, Mutex},
};

use engram_format::{Batch, Column, LayerId, RowCodec, RowId};
use engram_io::{lock, parallel};

use crate::{
    backing::{Backed, Work},
    error::LookupError,
    gather::GatherPool,
    metrics::Counters,
    output::{Output, RowsMut},
    resolve::{ColumnCursor, RowRef, Wanted, WantedList},
    source::Source,
    tier::{CacheTier, ReaderTier, ResidentTier, Tier},
};

/// Rows that go through the tiers together. Their places and, where they are decoded, their bytes stay in
/// the processor's caches meanwhile.
const PIECE_ROWS: usize = 512;

/// Rows from which on several threads gather: starting one takes some 30 microseconds, copying a row some 30
/// nanoseconds.
const PARALLEL_ROWS: usize = 16_384;
/// Rows that a thread gathers at a time.
const PART_ROWS: usize = 2_048;

/// One table of an open pack.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) layer: LayerId,
    pub(crate) codec: RowCodec,
    /// Those that are open, one after another. All that is kept by column is in their order.
    pub(crate) columns: Arc<[Column]>,
    pub(crate) source: Arc<Source>,
    /// All columns of the layer, open or not.
    pub(crate) layer_columns: Arc<[Column]>,
    /// Row ids of the open columns.
    pub(crate) open_rows: Range<u64>,
    /// In the order in which they are asked.
    pub(crate) tiers: Vec<Arc<dyn Tier>>,
    /// How many of them, the first ones, are the caller's.
    pub(crate) own_tiers: usize,
    /// Where the rows come from that no tier has.
    pub(crate) backed: Option<Backed>,
    /// By column: whether its rows are fetched.
    pub(crate) is_backed: Vec<bool>,
    /// Those of the tiers that have whole columns in memory.
    pub(crate) resident: Option<Arc<ResidentTier>>,
    pub(crate) reader: Option<Arc<ReaderTier>>,
    pub(crate) counters: Arc<Counters>,
}

/// Memory of a lookup that a thread keeps from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    wanted: WantedList,
    /// Rows that no tier had.
    pub(crate) missing: Vec<RowRef>,
    /// Bytes of the rows of a piece that is decoded.
    bytes: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Rows that the scratch of a thread keeps memory for at most.
const MAX_KEPT_ROWS: usize = 1 << 16;

impl Scratch {
    /// Lets `run` use the scratch of this thread.
    pub(crate) fn with<R>(run: impl FnOnce(&mut Self) -> R) -> R {
        // Taken, not borrowed: a tier of the caller's may look rows up too.
        let mut scratch = SCRATCH.take();
        let result = run(&mut scratch);
        if scratch.missing.capacity() <= MAX_KEPT_ROWS {
            SCRATCH.set(scratch);
        }
        result
    }
}

impl Table {
    /// The cache of its rows.
    pub(crate) fn cache(&self) -> Option<&CacheTier> {
        self.backed.as_ref()?.receiver.cache.as_deref()
    }

    /// Bytes of the parts that a row is read in.
    pub(crate) fn parts(&self) -> [usize; 2] {
        match &self.backed {
            Some(backed) => backed.receiver.source.parts(),
            None => [self.codec.row_bytes(), 0],
        }
    }

    /// Checks a batch and the size in bytes of its output.
    ///
    /// # Errors
    /// A row beyond the table or of a column that is not open, more rows than a batch may have, an output of another
    /// size, n-grams of another scheme, or a table whose files have changed.
    pub(crate) fn check(&self, batch: &Batch<'_>, output: &Output<'_>) -> Result<(), LookupError> {
        check_shape(batch, output)?;
        self.check_rows(batch)
    }

    /// Checks the rows of a batch, and its n-grams if it carries them.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn check_rows(&self, batch: &Batch<'_>) -> Result<(), LookupError> {
        self.source.check_seen()?;
        if let Some(ngrams) = batch.ngrams() {
            let order = self.columns.last().map_or(0, |column| column.order);
            if ngrams.columns() != self.columns.len() || ngrams.max_order() < order as usize {
                return Err(LookupError::NGramShape {
                    layer: self.layer,
                    found_order: ngrams.max_order(),
                    found_columns: ngrams.columns(),
                    order,
                    columns: self.columns.len(),
                });
            }
        }
        let rows = batch.row_ids();
        let Range { start, end } = self.open_rows;
        match rows
            .iter()
            .position(|row| row.0.wrapping_sub(start) >= end - start)
        {
            None => Ok(()),
            Some(index) => Err(self.not_open(index, rows[index])),
        }
    }

    /// Why the row at `index` of a batch cannot be looked up.
    #[cold]
    fn not_open(&self, index: usize, row: RowId) -> LookupError {
        let layer = self.layer;
        let columns = self.layer_columns.iter();
        let Some(column) = columns.rev().find(|column| column.first_row <= row.0) else {
            unreachable!("the first column begins with row 0");
        };
        let row_count = rows_of(&self.layer_columns).end;
        if row.0 >= row_count {
            return LookupError::RowOutOfRange {
                layer,
                index,
                row,
                row_count,
            };
        }
        let open = match &*self.columns {
            [first, .., last] | [first @ last] => first.index..last.index + 1,
            [] => 0..0,
        };
        LookupError::ColumnNotOpen {
            layer,
            index,
            row,
            column: column.index,
            open,
        }
    }

    /// The tiers as they are now, for one batch.
    pub(crate) fn pinned(&self) -> Cow<'_, [Arc<dyn Tier>]> {
        let mut tiers = Cow::Borrowed(&*self.tiers);
        for (index, tier) in self.tiers[..self.own_tiers].iter().enumerate() {
            if let Some(now) = tier.pinned() {
                tiers.to_mut()[index] = now;
            }
        }
        tiers
    }

    /// The version of the first of the caller's tiers, as `tiers` have pinned them, that tells one.
    pub(crate) fn version(&self, tiers: &[Arc<dyn Tier>]) -> u64 {
        let mut versions = tiers[..self.own_tiers].iter().map(|tier| tier.version());
        versions.find(|version| *version > 0).unwrap_or(0)
    }

    /// Takes the rows of a checked batch that `output` has memory for through `tiers`, and leaves those that none
    /// has in [`Scratch::missing`].
    ///
    /// # Errors
    /// That of a tier.
    pub(crate) fn serve(
        &self,
        tiers: &[Arc<dyn Tier>],
        batch: Batch<'_>,
        output: &mut Output<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), LookupError> {
        scratch.missing.clear();
        self.serve_pieces(batch, output, scratch, |wanted, rows| {
            for tier in tiers {
                tier.serve(wanted, rows)?;
                if wanted.rows().is_empty() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// As [`Self::serve`], by several threads where that pays.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub(crate) fn gather(
        &self,
        pool: &GatherPool,
        tiers: &[Arc<dyn Tier>],
        batch: Batch<'_>,
        output: &mut Output<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), LookupError> {
        if output.rows() < PARALLEL_ROWS || pool.scoped() == 1 {
            return self.serve(tiers, batch, output, scratch);
        }
        // Whole positions, so that each part begins with the first column.
        let part_rows = PART_ROWS.next_multiple_of(self.columns.len());
        let parts = output.parts(output.first(), part_rows);
        let parts: Vec<Mutex<Output<'_>>> = parts.map(Mutex::new).collect();
        let serve_part = |scratch: &mut Scratch, part: &Mutex<Output<'_>>| {
            self.serve(tiers, batch, &mut lock(part), scratch)?;
            Ok::<_, LookupError>(std::mem::take(&mut scratch.missing))
        };
        let missing = parallel::map_with(pool.scoped(), &parts, Scratch::default, serve_part)?;
        scratch.missing.clear();
        scratch.missing.extend(missing.into_iter().flatten());
        Ok(())
    }

    /// As [`Self::serve`], with `serve` in the place of tiers. Adds to [`Scratch::missing`].
    pub(crate) fn serve_pieces(
        &self,
        batch: Batch<'_>,
        output: &mut Output<'_>,
        scratch: &mut Scratch,
        mut serve: impl FnMut(&mut Wanted<'_>, &mut RowsMut<'_>) -> Result<(), LookupError>,
    ) -> Result<(), LookupError> {
        let Scratch {
            wanted: list,
            missing,
            bytes,
        } = scratch;
        let mut cursor = ColumnCursor::new(&self.columns);
        let mut first = output.first();
        let rows = &batch.row_ids()[first..][..output.rows()];
        for piece in rows.chunks(PIECE_ROWS) {
            let place = u32::try_from(first).expect("a batch has less than 2^32 rows");
            cursor.resolve(piece, place, &mut list.rows);
            output.piece(first, piece.len(), bytes, |rows| {
                serve(&mut Wanted::new(batch, &self.columns, list), rows)?;
                Ok::<_, LookupError>(list.rows.len() < piece.len())
            })?;
            missing.extend_from_slice(&list.rows);
            first += piece.len();
        }
        Ok(())
    }

    /// The tiers but the cache, which is the last one where there is one.
    pub(crate) fn tiers_before_cache(&self) -> &[Arc<dyn Tier>] {
        let backed = self.backed.as_ref();
        let has_cache = backed.is_some_and(|backed| backed.receiver.cache.is_some());
        &self.tiers[..self.tiers.len() - usize::from(has_cache)]
    }

    /// Plans the reads of `missing`, which is left empty.
    pub(crate) fn plan(&self, work: &mut Work, missing: &mut Vec<RowRef>) -> &Backed {
        let backed = self.backed.as_ref();
        let backed = backed.expect("where there is no backing, the tiers have every row");
        std::mem::swap(&mut work.plan.rows, missing);
        backed.plan(work);
        self.counters.add_fetched(&work.plan.rows);
        backed
    }
}

/// Row ids of `columns`, which follow one another.
pub(crate) fn rows_of(columns: &[Column]) -> Range<u64> {
    match columns {
        [first, .., last] | [first @ last] => first.first_row..last.first_row + last.row_count,
        [] => 0..0,
    }
}

/// Checks the size of a batch and of its output.
///
/// # Errors
/// More rows than a batch may have, or an output of another size than the rows.
pub(crate) fn check_shape(batch: &Batch<'_>, output: &Output<'_>) -> Result<(), LookupError> {
    let row_bytes = output.row_bytes();
    if u32::try_from(batch.len()).is_err() {
        return Err(LookupError::BatchTooLarge { rows: batch.len() });
    }
    if Some(output.len()) != batch.len().checked_mul(row_bytes) {
        return Err(LookupError::OutputSize {
            rows: batch.len(),
            row_bytes,
            expected: batch.len().saturating_mul(row_bytes),
            found: output.len(),
        });
    }
    Ok(())
}
