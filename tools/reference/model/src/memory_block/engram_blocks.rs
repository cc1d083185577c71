//! Blocks with the store that has their rows.

use std::sync::Arc;

use candle_core::Device;
use engram::Store;

use super::BlockWeights;
#[cfg(feature = "ring")]
use super::ring_decoder::RingDecoder;

/// The Engram blocks of a model, and the store that has their rows.
#[derive(Debug)]
pub struct EngramBlocks {
    pub(super) store: Arc<Store>,
    pub(super) blocks: BlockWeights,
    /// The token that stands for a part of an image, which has no rows.
    pub(super) image_token: Option<u32>,
    /// Decodes rows on its device; without it the processor does.
    #[cfg(feature = "ring")]
    pub(super) ring: Option<RingDecoder>,
    pub(super) device: Device,
}

impl EngramBlocks {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The decoder layers that blocks are ahead of, in order.
    pub fn layers(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.layers()
    }

    /// Takes rows by way of `ring` from now on, which decodes them on its device: on the GPU that the blocks are on,
    /// or on any device if the blocks are on the processor.
    ///
    /// Rows still come from the store, decoded by the processor, while the ring is full, as it may be because passes
    /// are announced before they are computed, and for passes with more rows than the ring has room for.
    ///
    /// How long rows of a ring took to come is not measured: they do not count in
    /// [`RowTimes::fetched`](super::RowTimes::fetched).
    ///
    /// # Errors
    /// A ring over another open store or whose values are not f32, or blocks on a GPU and a ring elsewhere.
    #[cfg(feature = "ring")]
    pub fn with_ring(mut self, ring: Arc<engram_cuda::Ring>) -> Result<Self, crate::Error> {
        self.ring = Some(RingDecoder::new(ring, &self.store, &self.device)?);
        Ok(self)
    }
}
