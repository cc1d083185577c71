//! Rows on their way to the blocks, ahead of the layers that need them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use candle_core::Tensor;
use engram::{DEAD, Request, RowId, RowIds, Sequence};

use super::{
    ConvState, EngramBlocks, blocks::check_len, pass_tokens::PassTokens, pending_rows::PendingRows,
    times::RowTimes,
};
use crate::{Error, LayerHook};

/// The histories of some sequences, and the pending rows of their tokens.
///
/// As a [`LayerHook`] it submits the rows of all blocks before the first layer and waits for a block's only where that
/// is computed; rows of [announced](LayerHook::announce) tokens are on their way during earlier passes. It goes back
/// to any earlier length, a block with a convolution to none or to one within the last pass.
#[derive(Debug)]
pub struct Session<'a> {
    engram: &'a EngramBlocks,
    /// Histories, with the tokens of all passes that have been announced.
    sequences: Vec<Sequence>,
    /// One for each block.
    convs: Vec<ConvState>,
    /// The pass that is being computed, or was last.
    pass: SubmittedPass,
    announced: VecDeque<SubmittedPass>,
    /// Those of each block that the pass has come to, if they are recorded.
    gates: Option<Vec<Tensor>>,
    /// One for each block.
    times: Vec<RowTimes>,
    hashed: Duration,
    /// How long the computation stood still for rows of all blocks: asking and waiting.
    blocked: Duration,
    rows: RowIds,
    batch: Vec<RowId>,
}

/// A pass whose rows have been asked for.
#[derive(Debug, Default)]
struct SubmittedPass {
    pass: PassTokens,
    /// One for each block, until the block takes it.
    requests: Vec<Option<RowRequest>>,
}

/// The request for the rows of one block and one pass.
#[derive(Debug)]
struct RowRequest {
    rows: PendingRows,
    /// How long asking took.
    took: Duration,
    /// [`Session::blocked`] right after asking.
    blocked: Duration,
}

impl EngramBlocks {
    /// A session of so many `sequences`, which have no tokens yet.
    pub fn session(&self, sequences: usize) -> Session<'_> {
        Session::new(self, sequences)
    }
}

impl<'a> Session<'a> {
    fn new(engram: &'a EngramBlocks, sequences: usize) -> Self {
        let times = engram.layers().map(|layer| RowTimes {
            layer,
            ..RowTimes::default()
        });
        Self {
            sequences: vec![Sequence::new(); sequences],
            convs: engram.blocks.states(sequences),
            pass: SubmittedPass::default(),
            announced: VecDeque::new(),
            gates: None,
            times: times.collect(),
            hashed: Duration::ZERO,
            blocked: Duration::ZERO,
            rows: RowIds::new(),
            batch: Vec::new(),
            engram,
        }
    }

    /// How long the rows of each block took, since the session began or [`Self::reset_times`] was called.
    pub fn times(&self) -> &[RowTimes] {
        &self.times
    }

    /// How long hashing tokens took, over the same time.
    pub fn hashed(&self) -> Duration {
        self.hashed
    }

    /// Sets all times to zero.
    pub fn reset_times(&mut self) {
        self.hashed = Duration::ZERO;
        for times in &mut self.times {
            *times = RowTimes {
                layer: times.layer,
                ..RowTimes::default()
            };
        }
    }

    /// Records the gates of each pass from now on, until the next pass begins.
    pub fn record_gates(&mut self) {
        self.gates = Some(Vec::new());
    }

    /// The gates of the last pass, `[sequences, tokens, copies]` for each of [`EngramBlocks::layers`]: how much of the
    /// rows each copy took. Empty if they are not recorded. A sequence with fewer tokens than another is padded at its
    /// end.
    pub fn gates(&self) -> &[Tensor] {
        self.gates.as_deref().unwrap_or_default()
    }

    /// `tokens` with [`DEAD`] for image tokens.
    fn dead_where_images(&self, tokens: &[&[u32]]) -> Vec<Vec<u32>> {
        let image = self.engram.image_token;
        let id = |&token: &u32| if Some(token) == image { DEAD } else { token };
        tokens
            .iter()
            .map(|tokens| tokens.iter().map(id).collect())
            .collect()
    }

    fn check_sequences(&self, found: usize) -> Result<(), Error> {
        let expected = self.sequences.len();
        if found == expected {
            return Ok(());
        }
        Err(Error::SessionSequences { found, expected })
    }

    /// Drops the tokens of each sequence after its first `before`.
    fn truncate(&mut self, before: &[usize]) -> Result<(), Error> {
        for (sequence, &len) in before.iter().enumerate() {
            self.sequences[sequence].truncate(len);
            check_len(sequence, len, self.sequences[sequence].len())?;
        }
        Ok(())
    }

    /// Hashes `tokens` and submits their rows, block by block. If that fails, histories are as before.
    fn submit(
        &mut self,
        before: Vec<usize>,
        tokens: Vec<Vec<u32>>,
    ) -> Result<SubmittedPass, Error> {
        let start = Instant::now();
        let requests = self.sequences.iter_mut().zip(&tokens);
        let mut requests: Vec<Request<'_>> = requests
            .map(|(sequence, tokens)| Request { sequence, tokens })
            .collect();
        let hasher = self.engram.store.hasher();
        hasher.extend_batch(&mut requests, &mut self.rows)?;
        self.hashed += start.elapsed();
        let pass = PassTokens { before, tokens };
        let mut requests = Vec::with_capacity(self.convs.len());
        for index in 0..self.convs.len() {
            match self.submit_block(index, &pass) {
                Ok(request) => requests.push(Some(request)),
                Err(error) => {
                    self.truncate(&pass.before)?;
                    return Err(error);
                }
            }
        }
        Ok(SubmittedPass { pass, requests })
    }

    fn submit_block(&mut self, index: usize, pass: &PassTokens) -> Result<RowRequest, Error> {
        let start = Instant::now();
        self.batch.clear();
        for (position, &token) in pass.tokens.iter().flatten().enumerate() {
            if token != DEAD {
                self.batch.extend(self.rows.position(index, position));
            }
        }
        self.times[index].rows += self.batch.len() as u64;
        let rows = self.engram.ask(index, &self.batch)?;
        let took = start.elapsed();
        self.blocked += took;
        Ok(RowRequest {
            rows,
            took,
            blocked: self.blocked,
        })
    }
}

impl LayerHook for Session<'_> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        self.check_sequences(before.len())?;
        self.check_sequences(tokens.len())?;
        let tokens = self.dead_where_images(tokens);
        if let Some(gates) = &mut self.gates {
            gates.clear();
        }
        let next = self.announced.pop_front();
        self.pass = if let Some(pass) = next.filter(|next| next.pass.is_of(before, &tokens)) {
            pass
        } else {
            // Other tokens came than were announced: drop the requests for those.
            self.announced.clear();
            self.truncate(before)?;
            self.submit(before.to_vec(), tokens)?
        };
        let convs = &mut self.convs;
        self.engram.blocks.truncate(convs, before)
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        let Some(index) = self.engram.layers().position(|block| block == layer) else {
            return Ok(None);
        };
        let SubmittedPass { pass, requests } = &mut self.pass;
        let request = requests.get_mut(index).and_then(Option::take);
        let request = request.expect("a pass has begun, and comes to each layer once");
        let RowRequest {
            rows: pending,
            took,
            blocked,
        } = request;
        let needed = Instant::now();
        let late = !pending.is_there();
        let ready = pending.wait(self.engram)?;
        let there = Instant::now();
        let waited = if late { there - needed } else { Duration::ZERO };
        let rows = self.engram.values(index, &ready, pass)?;
        let (mask, counts) = (pass.mask(&self.engram.device)?, pass.counts());
        let (blocks, conv) = (&self.engram.blocks, &mut self.convs[index]);
        let (stream, gates) =
            blocks.forward_with_gates(index, &rows, stream, mask.as_ref(), &counts, conv)?;
        if let Some(recorded) = &mut self.gates {
            recorded.push(gates);
        }
        let times = &mut self.times[index];
        times.computed += there.elapsed();
        times.asked += took;
        times.waited += waited;
        let fetched = ready.took().unwrap_or_default();
        times.fetched += fetched;
        // While this thread waited for the rows of another block, nothing was computed.
        let elsewhere = self.blocked.saturating_sub(blocked);
        times.hidden += fetched.saturating_sub(took + waited + elsewhere);
        self.blocked += waited;
        Ok(Some(stream))
    }

    fn announce(&mut self, tokens: &[&[u32]]) -> Result<(), Error> {
        self.check_sequences(tokens.len())?;
        let before = self.sequences.iter().map(Sequence::len).collect();
        let pass = self.submit(before, self.dead_where_images(tokens))?;
        self.announced.push_back(pass);
        Ok(())
    }
}
