//! The memory of a model whose tables are learned.

use candle_core::{Tensor, Var};
use engram::{Hasher, Request, RowIds, Sequence};
use engram_model::{
    Error, Memory,
    engram::{Blocks, ConvState},
};

use crate::tables::{Table, Touched};

/// Blocks with rows from tables in memory, for a [`Model`](engram_model::Model).
///
/// It gives the values that a [`Session`](engram_model::Session) over a pack of the same tables gives. While learning,
/// the rows of a pass are variables, so gradients come back to them.
#[derive(Debug)]
pub struct Recall<'a> {
    blocks: Blocks,
    hasher: &'a Hasher,
    tables: &'a [Table],
    learns: bool,
    sequences: Vec<Sequence>,
    states: Vec<ConvState>,
    rows: RowIds,
    /// Tokens of each sequence in the pass.
    counts: Vec<usize>,
    /// What each block has read in the pass, in the order of the tables, which need not be that of layers.
    read: Vec<Option<(Touched, Tensor)>>,
}

impl<'a> Recall<'a> {
    pub(crate) fn new(
        blocks: Blocks,
        hasher: &'a Hasher,
        tables: &'a [Table],
        sequences: usize,
        learns: bool,
    ) -> Self {
        Self {
            states: blocks.states(sequences),
            blocks,
            hasher,
            tables,
            learns,
            sequences: vec![Sequence::new(); sequences],
            rows: RowIds::new(),
            counts: Vec::new(),
            read: Vec::new(),
        }
    }

    /// The rows that each block has read in the last pass, and the variable that has them.
    pub(crate) fn into_read(self) -> Vec<(Touched, Tensor)> {
        self.read.into_iter().flatten().collect()
    }

    /// The rows of the block at `index`, `[sequences, most tokens, columns * width]`; any row stands in for those of a
    /// token that is missing.
    fn rows(&self, index: usize, stream: &Tensor) -> candle_core::Result<Tensor> {
        let (sequences, most, ..) = stream.dims4()?;
        let columns = self.hasher.scheme().column_count();
        let (touched, rows) = self.read[index].as_ref().expect("read before");
        let places = if self.counts.iter().all(|&count| count == most) {
            touched.places.clone()
        } else {
            let mut all = vec![0; sequences * most * columns];
            let mut next = touched.places.chunks_exact(columns);
            for (sequence, &count) in self.counts.iter().enumerate() {
                for (token, places) in (0..count).zip(&mut next) {
                    all[(sequence * most + token) * columns..][..columns].copy_from_slice(places);
                }
            }
            all
        };
        let count = places.len();
        let places = Tensor::from_vec(places, count, stream.device())?;
        let width = self.tables[index].width();
        rows.index_select(&places, 0)?
            .reshape((sequences, most, columns * width))
    }
}

impl Memory for Recall<'_> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        for (sequence, &len) in self.sequences.iter_mut().zip(before) {
            sequence.truncate(len);
        }
        self.blocks.truncate(&mut self.states, before)?;
        let requests = self.sequences.iter_mut().zip(tokens);
        let mut requests: Vec<Request<'_>> = requests
            .map(|(sequence, tokens)| Request { sequence, tokens })
            .collect();
        self.hasher.extend_batch(&mut requests, &mut self.rows)?;
        self.counts = tokens.iter().map(|tokens| tokens.len()).collect();
        self.read.clear();
        self.read.resize_with(self.tables.len(), || None);
        Ok(())
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        let Some(index) = self.blocks.layers().position(|block| block == layer) else {
            return Ok(None);
        };
        let touched = Touched::new(self.rows.layer(index));
        let mut rows = self.tables[index].gather(&touched.rows, stream.device())?;
        if self.learns {
            rows = Var::from_tensor(&rows)?.into_inner();
        }
        self.read[index] = Some((touched, rows));
        let rows = self.rows(index, stream)?;
        let state = &mut self.states[index];
        let stream = self
            .blocks
            .forward(index, &rows, stream, None, &self.counts, state)?;
        Ok(Some(stream))
    }
}
