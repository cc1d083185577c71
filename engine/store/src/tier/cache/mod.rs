//! Rows read before.

mod admission;
mod rows;

use std::sync::Arc;

use engram_format::{Column, LayerId, seal};

use super::Tier;
use crate::{
    error::LookupError,
    metrics::Counters,
    output::RowsMut,
    pipeline::{Window, stages},
    resolve::{RowRef, Wanted},
};
use admission::Admission;
pub(crate) use rows::RowCache;

/// Credit of a row that was put into the cache on purpose.
pub(crate) const FULL_CREDIT: u64 = 1;

/// How rows that were read are taken into the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Admit {
    /// Where their columns' rows are worth keeping.
    #[default]
    WorthKeeping,
    /// In any case.
    Always,
    /// Where they replace no other row, with this credit.
    IfRoom(u64),
}

/// The cached rows of one table, and which of its columns' rows are taken in.
#[derive(Debug)]
pub(crate) struct CacheTier {
    layer: LayerId,
    rows: RowCache,
    /// By column.
    admissions: Vec<Admission>,
    counters: Arc<Counters>,
    is_shared: bool,
}

impl CacheTier {
    /// `backed` of the `columns` share the cache; the others are in memory. `is_shared` says whether other processes
    /// may use its memory too.
    pub(crate) fn new(
        layer: LayerId,
        rows: RowCache,
        is_shared: bool,
        columns: &[Column],
        backed: usize,
        counters: Arc<Counters>,
    ) -> Self {
        let share = rows.capacity() / backed.max(1);
        let admission = |column: &Column| Admission::new(column.order, share);
        Self {
            layer,
            admissions: columns.iter().map(admission).collect(),
            rows,
            counters,
            is_shared,
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub(crate) fn rows(&self) -> &RowCache {
        &self.rows
    }

    /// Offers the bytes of `row`, with the seal that was stored with them if there was one.
    pub(crate) fn offer(&self, row: &RowRef, admit: Admit, bytes: &[u8], stored: Option<u64>) {
        let credit = match admit {
            Admit::WorthKeeping => {
                let admission = &self.admissions[usize::from(row.column)];
                let Some(credit) = admission.credit(row.row_id.0) else {
                    return;
                };
                credit
            }
            Admit::Always => FULL_CREDIT,
            Admit::IfRoom(credit) => credit,
        };
        // The record's own seal, so that a damaged row which nobody checked is no hit of anybody.
        let seal = stored.unwrap_or_else(|| seal(self.layer, row.row_id, bytes));
        match admit {
            Admit::IfRoom(_) => self.rows.insert_if_room(row.row_id, credit, bytes, seal),
            _ => self.rows.insert(row.row_id, credit, bytes, seal),
        }
    }

    /// Counts the lookups of a piece of a batch: `counts` has those of each column, and the hits among them.
    fn count(&self, counts: &[[u32; 2]]) {
        for (column, &[lookups, hits]) in counts.iter().enumerate() {
            if lookups > 0 {
                self.admissions[column].count(lookups, hits);
                self.counters.add_cached(column, hits);
            }
        }
    }
}

impl Tier for CacheTier {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        let (rows, counts) = wanted.list_and_counts();
        counts.clear();
        counts.resize(self.admissions.len(), [0; 2]);
        let cache = &self.rows;
        let mut found = Window::new(None);
        let mut copied = Window::new(None);
        let mut left = 0;
        for [later, next, now] in stages(rows.len()) {
            for place in later {
                cache.prefetch(rows[place].row_id);
            }
            for place in next.clone() {
                found[place] = cache.find(rows[place].row_id);
            }
            for way in next.filter_map(|place| found[place]) {
                cache.prefetch_row(way);
            }
            for place in now.clone() {
                copied[place] =
                    found[place].map(|way| (way, cache.copy(way, out.row(&rows[place]))));
            }
            // Some time after they were copied: the processor would wait for what it has just written.
            for place in now {
                let row = rows[place];
                let hit = copied[place].is_some_and(|(way, stored)| {
                    cache.confirm(row.row_id, way, out.row(&row), stored)
                });
                let [lookups, hits] = &mut counts[usize::from(row.column)];
                *lookups += 1;
                *hits += u32::from(hit);
                if !hit {
                    rows[left] = row;
                    left += 1;
                }
            }
        }
        rows.truncate(left);
        self.count(counts);
        Ok(())
    }
}
