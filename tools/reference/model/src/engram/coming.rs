//! Rows on their way to a block.

use std::time::Duration;

use candle_core::Tensor;
use engram::{Batch, Buffer, RowId, Ticket};

use super::{Engram, pass::Pass};
use crate::Error;

/// Rows of one block and one pass that have been asked for.
#[derive(Debug)]
pub(super) enum Coming {
    /// From the store.
    Store(Ticket),
    /// From the store, by way of a ring.
    #[cfg(feature = "ring")]
    Ring(engram_cuda::Staged),
}

/// Rows that are there.
#[derive(Debug)]
pub(super) enum Arrived {
    /// As stored, `[live tokens][column][row bytes]`.
    Rows(Buffer),
    /// Decoded, `[live tokens, columns * width]`.
    #[cfg(feature = "ring")]
    Values(Tensor),
}

impl Engram {
    /// Asks for rows of the block at `index`.
    pub(super) fn ask(&self, index: usize, rows: &[RowId]) -> Result<Coming, Error> {
        let layer = self.layer(index);
        #[cfg(feature = "ring")]
        if let Some(through) = &self.through
            && let Some(staged) = through.ask(layer, rows)?
        {
            return Ok(Coming::Ring(staged));
        }
        let buffer = self.store.buffer(layer, rows.len())?;
        Ok(Coming::Store(
            self.store.submit(Batch { layer, rows }, buffer)?,
        ))
    }

    /// The layer id of the block at `index`.
    fn layer(&self, index: usize) -> u32 {
        self.store.scheme().layers[index].layer
    }

    /// The rows of the block at `index` as its tensor; zero where a place of `pass` has none.
    pub(super) fn values(
        &self,
        index: usize,
        arrived: &Arrived,
        pass: &Pass,
    ) -> Result<Tensor, Error> {
        let codec = self.store.codec(self.layer(index))?;
        let columns = self.store.scheme().column_count();
        let (token_bytes, token_values) = (columns * codec.row_bytes(), columns * codec.width());
        let shape = (pass.tokens.len(), pass.most(), token_values);
        match arrived {
            Arrived::Rows(bytes) => {
                let mut values = vec![0.0; shape.0 * shape.1 * shape.2];
                for (place, token) in pass.places().zip(bytes.chunks_exact(token_bytes)) {
                    codec.decode_f32(token, &mut values[place * token_values..][..token_values]);
                }
                Ok(Tensor::from_vec(values, shape, &self.device)?)
            }
            #[cfg(feature = "ring")]
            Arrived::Values(values) => super::through::placed(values, shape, pass.places()),
        }
    }
}

impl Coming {
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Store(ticket) => ticket.is_done(),
            #[cfg(feature = "ring")]
            Self::Ring(staged) => staged.is_there(),
        }
    }

    /// Waits for the rows.
    pub(super) fn wait(self, engram: &Engram) -> Result<Arrived, Error> {
        #[cfg(not(feature = "ring"))]
        let _ = engram;
        match self {
            Self::Store(ticket) => Ok(Arrived::Rows(ticket.wait()?)),
            #[cfg(feature = "ring")]
            Self::Ring(staged) => {
                let through = engram.through.as_ref();
                let values = through.expect("asked for by way of it").wait(staged)?;
                Ok(Arrived::Values(values))
            }
        }
    }
}

impl Arrived {
    /// How long the rows took to come; none where nobody has measured.
    pub(super) fn took(&self) -> Option<Duration> {
        match self {
            Self::Rows(rows) => rows.took(),
            #[cfg(feature = "ring")]
            Self::Values(_) => None,
        }
    }
}
