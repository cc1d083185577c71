//! The rows of one block and one pass, from the moment they are asked for.

use std::time::Duration;

use candle_core::Tensor;
use engram::{Batch, Buffer, LayerId, RowId, Ticket};

use super::{EngramBlocks, pass_tokens::PassTokens};
use crate::Error;

/// Rows that have been asked for.
#[derive(Debug)]
pub(super) enum PendingRows {
    /// From the store.
    Store(Ticket),
    /// By way of a ring.
    #[cfg(feature = "ring")]
    Ring(engram_cuda::Staged),
}

/// Rows that are there.
#[derive(Debug)]
pub(super) enum ReadyRows {
    /// As stored, `[live tokens][column][row bytes]`.
    Rows(Buffer),
    /// Decoded, `[live tokens, columns * width]`.
    #[cfg(feature = "ring")]
    Values(Tensor),
}

impl EngramBlocks {
    /// Asks for `rows` of the block at `index`.
    pub(super) fn ask(&self, index: usize, rows: &[RowId]) -> Result<PendingRows, Error> {
        let layer = self.layer(index);
        #[cfg(feature = "ring")]
        if let Some(ring) = &self.ring
            && let Some(staged) = ring.ask(layer, rows)?
        {
            return Ok(PendingRows::Ring(staged));
        }
        let buffer = self.store.buffer(layer, rows.len())?;
        Ok(PendingRows::Store(
            self.store.submit(Batch::new(layer, rows), buffer)?,
        ))
    }

    /// The layer id of the block at `index`.
    fn layer(&self, index: usize) -> LayerId {
        self.store.scheme().layers[index].id
    }

    /// The rows of the block at `index` as a tensor, `[sequences, most tokens, columns * width]`; zero where a
    /// position of `pass` has none.
    pub(super) fn values(
        &self,
        index: usize,
        ready: &ReadyRows,
        pass: &PassTokens,
    ) -> Result<Tensor, Error> {
        let codec = self.store.codec(self.layer(index))?;
        let columns = self.store.scheme().column_count();
        let (token_bytes, token_values) = (columns * codec.row_bytes(), columns * codec.width());
        let shape = (pass.tokens.len(), pass.most(), token_values);
        match ready {
            ReadyRows::Rows(bytes) => {
                let mut values = vec![0.0; shape.0 * shape.1 * shape.2];
                for (place, token) in pass.places().zip(bytes.chunks_exact(token_bytes)) {
                    codec.decode_f32(token, &mut values[place * token_values..][..token_values]);
                }
                Ok(Tensor::from_vec(values, shape, &self.device)?)
            }
            #[cfg(feature = "ring")]
            ReadyRows::Values(values) => super::ring_decoder::scatter(values, shape, pass.places()),
        }
    }
}

impl PendingRows {
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Store(ticket) => ticket.is_done(),
            #[cfg(feature = "ring")]
            Self::Ring(staged) => staged.is_fetched(),
        }
    }

    /// Waits for the rows.
    pub(super) fn wait(self, blocks: &EngramBlocks) -> Result<ReadyRows, Error> {
        #[cfg(not(feature = "ring"))]
        let _ = blocks;
        match self {
            Self::Store(ticket) => Ok(ReadyRows::Rows(ticket.wait()?)),
            #[cfg(feature = "ring")]
            Self::Ring(staged) => {
                let ring = blocks.ring.as_ref();
                let values = ring
                    .expect("the rows were asked for by way of it")
                    .wait(staged)?;
                Ok(ReadyRows::Values(values))
            }
        }
    }
}

impl ReadyRows {
    /// How long the rows took to come; none if they came by way of a ring, which does not measure it.
    pub(super) fn took(&self) -> Option<Duration> {
        match self {
            Self::Rows(rows) => rows.took(),
            #[cfg(feature = "ring")]
            Self::Values(_) => None,
        }
    }
}
