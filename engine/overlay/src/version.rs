//! All entries of a pack in one version, and how look-ups are served from them.

use std::sync::Arc;

use engram::{LayerId, LookupError, NGrams, RowRef, RowsMut, Tier, Wanted};
use smallvec::SmallVec;

use crate::{
    edits::{CheckedEdit, Key, key_words, row_words},
    entries::{Change, Entries},
    error::EditError,
    filter::{START, finish, hash_ngram, hash_row, step},
    run::EntryShape,
    shape::Shape,
};
use engram_io::prefetch;

/// Rows of a piece that are found among the edits without memory from the heap: many times one in a hundred.
const FOUND_ROWS: usize = 64;

/// The entries of one version. It never changes, however the rows are edited.
///
/// As a [`Tier`] it serves, for each row that is wanted, the first that there is of: the row of its exact n-gram, where
/// the batch carries n-grams; the row that was edited by its id; or nothing, so that the pack's own is served.
#[derive(Debug, Clone)]
pub struct Snapshot(Arc<Version>);

#[derive(Debug, Clone)]
struct Version {
    shape: Arc<Shape>,
    number: u64,
    tables: Vec<TableEntries>,
}

#[derive(Debug, Clone)]
struct TableEntries {
    layer: LayerId,
    row_bytes: usize,
    /// By [`Key::kind`].
    kinds: Vec<Entries>,
}

/// Rows of one entry, in the order of the list.
#[derive(Debug, Clone, Copy)]
struct Hit<'a> {
    /// Place in the list of wanted rows.
    place: usize,
    row: &'a [u8],
}

type Hits<'a> = SmallVec<[Hit<'a>; FOUND_ROWS]>;

impl Snapshot {
    /// A version without entries.
    pub(crate) fn new(shape: Arc<Shape>, number: u64) -> Self {
        let layers = shape.layers().enumerate();
        let tables = layers.map(|(index, layer)| {
            let row_bytes = shape.row_bytes(index);
            let kinds = key_words(shape.max_order()).enumerate();
            let kinds = kinds.map(|(kind, key_words)| {
                let rows = if kind == 0 { 1 } else { shape.heads() };
                Entries::new(EntryShape {
                    key_words,
                    value_bytes: rows * row_bytes,
                    hashes_differ: kind == 0,
                })
            });
            TableEntries {
                layer,
                row_bytes,
                kinds: kinds.collect(),
            }
        });
        let tables = tables.collect();
        Self(Arc::new(Version {
            shape,
            number,
            tables,
        }))
    }

    /// The version after `edits`.
    pub(crate) fn after(&self, edits: &[CheckedEdit<'_>], number: u64) -> Self {
        let mut version = Version::clone(&self.0);
        version.number = number;
        for (table, entries) in version.tables.iter_mut().enumerate() {
            for (kind, entries) in entries.kinds.iter_mut().enumerate() {
                let of_kind =
                    |edit: &&CheckedEdit<'_>| edit.table == table && edit.key.kind() == kind;
                let edits = edits.iter().filter(of_kind);
                let keys: Vec<_> = edits.map(|edit| (edit.key.words(), edit)).collect();
                let changes = keys.iter().map(|(words, edit)| {
                    let hash = hash_key(edit.key);
                    (hash, &**words, edit.bytes.as_deref())
                });
                entries.change(&changes.collect::<Vec<Change<'_>>>());
            }
        }
        Self(Arc::new(version))
    }

    /// The same, as what serves one batch.
    pub(crate) fn tier(&self) -> Arc<dyn Tier> {
        self.0.clone()
    }

    /// Its number: how many batches had been written before. It grows with every batch.
    pub fn version(&self) -> u64 {
        self.0.number
    }

    /// What edits have to fit.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The bytes of an entry's row or rows, `[head][row bytes]`; none where there is no such entry.
    ///
    /// # Errors
    /// A layer without a table, or a key that the pack cannot have.
    pub fn get(&self, layer: LayerId, key: &Key) -> Result<Option<&[u8]>, EditError> {
        let table = self.0.shape.index(layer)?;
        key.check(&self.0.shape, table)?;
        let entries = &self.0.tables[table].kinds[key.kind()];
        Ok(entries.rows(hash_key(key), &key.words()))
    }

    /// Every entry of `layer` with its rows, in no order.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn entries(&self, layer: LayerId) -> Result<impl Iterator<Item = (Key, &[u8])>, EditError> {
        let table = self.0.shape.index(layer)?;
        let kinds = self.0.tables[table].kinds.iter().enumerate();
        Ok(kinds.flat_map(|(kind, entries)| {
            let entries = entries.iter();
            entries.map(move |(words, rows)| (Key::from_words(kind, words), rows))
        }))
    }

    /// Entries there are: by row id, then by exact n-gram of each order from 2 on.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn counts(&self, layer: LayerId) -> Result<Vec<usize>, EditError> {
        let table = &self.0.tables[self.0.shape.index(layer)?];
        Ok(table.kinds.iter().map(Entries::len).collect())
    }

    /// Memory that its entries take; much of it is shared with other versions.
    pub fn bytes(&self) -> usize {
        let kinds = self.0.tables.iter().flat_map(|table| &table.kinds);
        kinds.map(Entries::bytes).sum()
    }
}

impl Tier for Snapshot {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        self.0.serve(wanted, out)
    }

    fn version(&self) -> u64 {
        self.0.number
    }
}

impl Tier for Version {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        let layer = wanted.layer();
        let Some(table) = self.tables.iter().find(|table| table.layer == layer) else {
            return Ok(());
        };
        if let Some(ngrams) = wanted.ngrams() {
            let hits = table.find_ngrams(wanted, ngrams);
            serve_hits(wanted, out, &hits);
        }
        let hits = table.find_rows(wanted.rows());
        serve_hits(wanted, out, &hits);
        Ok(())
    }

    fn version(&self) -> u64 {
        self.number
    }
}

impl TableEntries {
    /// The rows that were edited by their ids.
    fn find_rows(&self, rows: &[RowRef]) -> Hits<'_> {
        let entries = &self.kinds[0];
        let mut hits = Hits::new();
        if entries.is_empty() {
            return hits;
        }
        let mut passed: SmallVec<[(usize, u64); FOUND_ROWS]> = SmallVec::new();
        let filter = entries.filter();
        for (place, row) in rows.iter().enumerate() {
            let hash = hash_row(row.row_id.0);
            if filter.may_have(hash) {
                entries.prefetch(hash);
                passed.push((place, hash));
            }
        }
        for (place, hash) in passed {
            if let Some(row) = entries.rows(hash, &row_words(rows[place].row_id)) {
                prefetch(row);
                hits.push(Hit { place, row });
            }
        }
        hits
    }

    /// The rows of exact n-grams.
    fn find_ngrams(&self, wanted: &Wanted<'_>, ngrams: NGrams<'_>) -> Hits<'_> {
        let mut hits = Hits::new();
        let orders = self.kinds.len();
        let with_entries = (1..orders).rev().find(|&kind| !self.kinds[kind].is_empty());
        let Some(last) = with_entries else {
            return hits;
        };
        let (rows, columns) = (wanted.rows(), wanted.columns());
        let position_of = |row: &RowRef| row.index as usize / ngrams.columns();
        let mut place = 0;
        while place < rows.len() {
            // The rows of one position follow one another, all orders and heads of them.
            let position = position_of(&rows[place]);
            let end = (position + 1) * ngrams.columns();
            let window = ngrams.window(position);
            let mut found: [Option<&[u8]>; 8] = [None; 8];
            let mut state = step(START, window[0]);
            let mut any = false;
            for kind in 1..=last {
                let Some(&id) = window.get(kind) else {
                    break;
                };
                state = step(state, id);
                let (entries, hash) = (&self.kinds[kind], finish(state));
                if !entries.is_empty() && entries.filter().may_have(hash) {
                    found[kind] = entries.rows(hash, &window[..=kind]);
                    any |= found[kind].is_some();
                }
            }
            let of_position = rows[place..].iter();
            let of_position = of_position.take_while(|row| (row.index as usize) < end);
            for row in of_position {
                if any {
                    let column = &columns[usize::from(row.column)];
                    if let Some(rows) = found[column.order as usize - 1] {
                        let start = column.head as usize * self.row_bytes;
                        let row = &rows[start..][..self.row_bytes];
                        hits.push(Hit { place, row });
                    }
                }
                place += 1;
            }
        }
        hits
    }
}

/// Copies the rows of `hits`, and takes them off the list.
fn serve_hits(wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>, hits: &[Hit<'_>]) {
    let places = hits.iter().map(|hit| hit.place);
    let mut hits = hits.iter();
    wanted.serve_places(places, |row| {
        let hit = hits.next().expect("one for each place");
        out.row(row).copy_from_slice(hit.row);
    });
}

/// The hash of a key, by which its entries are found.
fn hash_key(key: &Key) -> u64 {
    match key {
        Key::Row(row) => hash_row(row.0),
        Key::NGram(ngram) => hash_ngram(ngram),
    }
}
