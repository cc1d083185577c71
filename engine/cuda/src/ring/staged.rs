//! A pass that is staged.

use std::sync::Arc;

use super::{
    output_slot::OutputSlot,
    progress::{Outcome, Progress},
};
use crate::{error::DeviceError, keep_alive::Used, stream::Stream};

/// A pass whose rows are on their way to the device. If it is dropped unused, reads that have not begun are taken back,
/// and its slot is freed once the others have ended.
#[derive(Debug)]
pub struct Staged {
    slot: OutputSlot,
    number: u64,
    row_count: usize,
    /// None once somebody else sees to the release.
    progress: Option<Arc<Progress>>,
}

impl Staged {
    pub(super) fn new(
        slot: OutputSlot,
        number: u64,
        row_count: usize,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            slot,
            number,
            row_count,
            progress: Some(progress),
        }
    }

    /// The place of the values.
    pub fn output_slot(&self) -> &OutputSlot {
        &self.slot
    }

    /// How many rows the pass has.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Whether all rows have come from the store, so that only the device's part is left to wait for.
    pub fn is_fetched(&self) -> bool {
        self.progress
            .as_ref()
            .is_none_or(|progress| progress.is_finished())
    }

    /// Lets `stream` wait until the values are there, has `consume` put work in the stream that reads them, and frees
    /// the slot once the stream comes that far. What that work computes counts only if the outcome is good.
    ///
    /// # Errors
    /// As [`OutputSlot::wait_on`], or a stream that is being captured.
    pub fn consume_on<R>(
        mut self,
        stream: &Stream,
        consume: impl FnOnce(&OutputSlot) -> R,
    ) -> Result<(R, Outcome), DeviceError> {
        // A graph would wait for this pass each time; it can wait for an output slot.
        stream.check_not_captured()?;
        self.slot.wait_for_pass(stream, self.number)?;
        let outcome = self.outcome();
        let release = ReleaseOnDrop {
            slot: &self.slot,
            stream,
        };
        let result = consume(&self.slot);
        release.now()?;
        Ok((result, outcome))
    }

    /// Leaves waiting and releasing to a graph that was captured with the output slot of this pass. The graph must be
    /// launched once for it: until then the slot's next pass waits.
    pub fn into_graph(mut self) -> Outcome {
        self.slot.leave_to_graph();
        self.outcome()
    }

    /// Waits in `stream`, copies the values to the host, little-endian `[row][width]`, and frees the slot.
    ///
    /// # Errors
    /// As [`Self::consume_on`] and [`Outcome::wait`], or no memory.
    pub fn read_on(self, stream: &Stream) -> Result<Vec<u8>, DeviceError> {
        let bytes = self.row_count * self.slot.codec().width() * self.slot.value_type().bytes();
        let pinned = Arc::new(stream.device().pinned(bytes.max(1))?);
        let (copied, outcome) = self.consume_on(stream, |slot| {
            // SAFETY: the stream keeps the pinned memory; the slot is kept by the release behind this.
            stream.put([pinned.clone() as Used], || unsafe {
                stream.copy(slot.address(), pinned.address(), bytes)
            })
        })?;
        copied?;
        let values = stream.take(&pinned, bytes)?;
        outcome.wait()?;
        Ok(values)
    }

    fn outcome(&mut self) -> Outcome {
        let progress = self.progress.take();
        Outcome::new(progress.expect("taken once, by what consumes the pass"))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.cancel();
            self.slot.drop_pass(self.number);
        }
    }
}

/// Frees a slot once the consumer's stream comes that far, even if putting the consumer's work in the stream panics.
struct ReleaseOnDrop<'a> {
    slot: &'a OutputSlot,
    stream: &'a Stream,
}

impl ReleaseOnDrop<'_> {
    fn now(self) -> Result<(), DeviceError> {
        let released = self.slot.release_pass_on(self.stream);
        std::mem::forget(self);
        released
    }
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        // The panic tells more than an error would.
        let _ = self.slot.release_pass_on(self.stream);
    }
}
