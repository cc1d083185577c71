//! A session over tables in memory, which may learn.

use candle_core::{Tensor, Var};
use engram::{Hasher, Request, RowIds, Sequence};
use engram_model::{
    Error, LayerHook,
    memory_block::{BlockWeights, ConvState},
};

use crate::table::{Touched, TrainableTable};

/// The Engram blocks of a [`Model`](engram_model::Model), with rows from tables in memory.
///
/// It gives the same values as a [`Session`](engram_model::Session) over a pack of the same tables. While it learns,
/// the rows of a pass are variables, so they get gradients.
#[derive(Debug)]
pub struct TableSession<'a> {
    blocks: BlockWeights,
    hasher: &'a Hasher,
    tables: &'a [TrainableTable],
    learns: bool,
    sequences: Vec<Sequence>,
    states: Vec<ConvState>,
    rows: RowIds,
    /// Tokens of each sequence in the pass.
    counts: Vec<usize>,
    /// What each block has read in the pass, in the order of the tables, which need not be that of layers.
    read: Vec<Option<(Touched, Tensor)>>,
}

impl<'a> TableSession<'a> {
    pub(crate) fn new(
        blocks: BlockWeights,
        hasher: &'a Hasher,
        tables: &'a [TrainableTable],
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

    /// The rows of the block at `index`, `[sequences, most tokens, columns * width]`; padding has the values of
    /// any row.
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

impl LayerHook for TableSession<'_> {
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
