//! All entries of one kind in one table, as they are in one version.

use std::sync::Arc;

use crate::{
    filter::Filter,
    run::{EntryShape, Found, Run},
};

/// A run is merged with the one before it unless that has so many times its entries. So there are few runs, and an
/// entry is copied a few times at most for each power of this.
const RUN_RATIO: usize = 4;

/// Entries of one kind. A clone shares all of them; what is added to one of the two is not seen in the other.
#[derive(Debug, Clone)]
pub(crate) struct Entries {
    shape: EntryShape,
    filter: Arc<Filter>,
    /// Oldest first, the largest of them.
    runs: Vec<Arc<Run>>,
    /// Keys that have rows.
    len: usize,
    /// Keys in the filter, those that were taken away too.
    filtered: usize,
}

/// A change of one entry: its hash and key, and its rows from now on.
pub(crate) type Change<'a> = (u64, &'a [u32], Option<&'a [u8]>);

impl Entries {
    pub(crate) fn new(shape: EntryShape) -> Self {
        Self {
            shape,
            filter: Arc::new(Filter::new(0)),
            runs: Vec::new(),
            len: 0,
            filtered: 0,
        }
    }

    /// Makes `changes`, a later one of the same key in the place of an earlier one.
    pub(crate) fn change(&mut self, changes: &[Change<'_>]) {
        if changes.is_empty() {
            return;
        }
        let mut run = Run::new(self.shape, changes.len());
        for &(hash, key, rows) in changes {
            let had = run.find(hash, key).or_else(|| self.find(hash, key));
            let had = matches!(had, Some(Found::Rows(_)));
            self.len = self.len + usize::from(rows.is_some()) - usize::from(had);
            run.insert(hash, key, rows);
        }
        self.filtered += run.len();
        let mut merged = vec![Arc::new(run)];
        let mut entries = merged[0].len();
        while let Some(before) = self
            .runs
            .pop_if(|before| before.len() < RUN_RATIO * entries)
        {
            entries += before.len();
            merged.push(before);
        }
        merged.reverse();
        let keeps_removed = !self.runs.is_empty();
        self.runs.push(match &*merged {
            [run] if keeps_removed => run.clone(),
            _ => Arc::new(merge(self.shape, &merged, keeps_removed)),
        });
        if self.filtered > self.filter.room() {
            self.make_filter();
        } else {
            changes
                .iter()
                .for_each(|change| self.filter.insert(change.0));
        }
    }

    /// Makes a filter of what there is, with room for as many again.
    fn make_filter(&mut self) {
        self.filtered = self.runs.iter().map(|run| run.len()).sum();
        let filter = Filter::new(2 * self.filtered);
        let entries = self.runs.iter().flat_map(|run| run.iter());
        entries.for_each(|(hash, ..)| filter.insert(hash));
        self.filter = Arc::new(filter);
    }

    /// Whether no key has an entry.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Begins to load what is looked at first for a key of that hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.runs.iter().for_each(|run| run.prefetch(hash));
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u32]) -> Option<Found<'_>> {
        let mut newest_first = self.runs.iter().rev();
        newest_first.find_map(|run| run.find(hash, key))
    }

    /// The rows of a key.
    #[inline]
    pub(crate) fn rows(&self, hash: u64, key: &[u32]) -> Option<&[u8]> {
        match self.find(hash, key) {
            Some(Found::Rows(rows)) => Some(rows),
            _ => None,
        }
    }

    /// All keys and their rows, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u32], &[u8])> {
        let runs = self.runs.iter().enumerate();
        runs.flat_map(move |(index, run)| {
            let newer = &self.runs[index + 1..];
            let entries = run.iter().filter(|&(hash, key, _)| {
                let replaced = newer.iter().any(|run| run.find(hash, key).is_some());
                !replaced
            });
            entries.filter_map(|(_, key, rows)| Some((key, rows?)))
        })
    }

    /// Memory that they take.
    pub(crate) fn bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(|run| run.bytes()).sum();
        runs + self.filter.bytes()
    }
}

/// One run of those, oldest first.
fn merge(shape: EntryShape, runs: &[Arc<Run>], keeps_removed: bool) -> Run {
    let mut merged = Run::new(shape, runs.iter().map(|run| run.len()).sum());
    for (index, run) in runs.iter().enumerate() {
        let newer = &runs[index + 1..];
        for (hash, key, rows) in run.iter() {
            let is_replaced = newer.iter().any(|run| run.find(hash, key).is_some());
            if !is_replaced && (rows.is_some() || keeps_removed) {
                merged.insert(hash, key, rows);
            }
        }
    }
    merged
}
