//! What edits of a pack's rows must look like.

use engram::{LayerId, Manifest, RowCodec, RowId, Storage};
use engram_format::{Digest, Digester};

use crate::error::EditError;

/// The tables of a pack, as far as edits have to fit them.
#[derive(Debug, Clone)]
pub struct Shape {
    identity: Digest,
    tables: Vec<TableShape>,
    heads: usize,
    max_order: usize,
    vocab: u32,
}

#[derive(Debug, Clone, Copy)]
struct TableShape {
    layer: LayerId,
    codec: RowCodec,
    /// Rows of all columns.
    row_count: u64,
}

impl Shape {
    /// The shape of the pack that `manifest` describes.
    pub fn of(manifest: &Manifest) -> Self {
        let scheme = &manifest.scheme;
        let tables = manifest.tables.iter().enumerate();
        let tables = tables.map(|(index, table)| TableShape {
            layer: table.layer,
            codec: table.codec,
            row_count: scheme.columns(index).map(|column| column.row_count).sum(),
        });
        Self {
            identity: identity(manifest),
            tables: tables.collect(),
            heads: scheme.heads as usize,
            max_order: scheme.max_order as usize,
            vocab: scheme.hashed_vocab_size,
        }
    }

    /// What tells this pack from others: a digest of how it addresses rows, how they are encoded, and what they are. In
    /// a packed pack it covers every row, in an attached one the rows that are known and the headers of its files. It
    /// does not depend on stripes, nor on which files a pack was built of, and a cold pack has that of the packed one.
    pub fn identity(&self) -> Digest {
        self.identity
    }

    /// Heads of each order: rows of an exact n-gram.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// The largest order. The smallest is 2; a pack whose largest is 1 has no n-grams that could be edited.
    pub fn max_order(&self) -> usize {
        self.max_order
    }

    /// The layers that have a table.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = LayerId> {
        self.tables.iter().map(|table| table.layer)
    }

    /// How the rows of `layer` are encoded.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn codec(&self, layer: LayerId) -> Result<RowCodec, EditError> {
        Ok(self.tables[self.index(layer)?].codec)
    }

    /// The place of `layer` among those that have a table.
    pub(crate) fn index(&self, layer: LayerId) -> Result<usize, EditError> {
        let index = self.tables.iter().position(|table| table.layer == layer);
        index.ok_or_else(|| EditError::UnknownLayer {
            layer,
            layers: self.layers().collect(),
        })
    }

    /// Bytes of a row of the table at `index`.
    pub(crate) fn row_bytes(&self, index: usize) -> usize {
        self.tables[index].codec.row_bytes()
    }

    /// Checks that the table at `index` has `row`.
    pub(crate) fn check_row(&self, index: usize, row: RowId) -> Result<(), EditError> {
        let TableShape {
            layer, row_count, ..
        } = self.tables[index];
        if row.0 < row_count {
            return Ok(());
        }
        Err(EditError::RowOutOfRange {
            layer,
            row,
            row_count,
        })
    }

    /// Checks the ids of an n-gram.
    pub(crate) fn check_ngram(&self, ngram: &[u32]) -> Result<(), EditError> {
        if self.max_order < 2 {
            return Err(EditError::NoNGrams);
        }
        if !(2..=self.max_order).contains(&ngram.len()) {
            return Err(EditError::Order {
                found: ngram.len(),
                max_order: self.max_order,
            });
        }
        match ngram.iter().find(|id| **id >= self.vocab) {
            None => Ok(()),
            Some(&id) => Err(EditError::UnknownId {
                id,
                vocab: self.vocab,
            }),
        }
    }
}

fn identity(manifest: &Manifest) -> Digest {
    // The manifest's own canonical text, without what two packs of the same rows may differ in.
    let mut same = manifest.clone();
    same.stripes = None;
    for table in &mut same.tables {
        table.source_codec = None;
        table.planes.clear();
        table.shards.clear();
    }
    match &mut same.storage {
        Storage::Packed | Storage::Cold { .. } => {
            // The digests of the rows, below, say all.
            same.storage = Storage::Packed;
            same.sources.clear();
        }
        Storage::Attached { checkpoint } => {
            checkpoint.clear();
            for source in &mut same.sources {
                source.name.clear();
            }
        }
    }
    let mut digester = Digester::new();
    digester.update(same.to_text().as_bytes());
    for shard in manifest.tables.iter().flat_map(|table| &table.shards) {
        digester.update(&shard.rows.0.to_le_bytes());
    }
    digester.finish()
}
