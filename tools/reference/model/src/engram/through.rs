//! Rows by way of a staging ring, decoded on its device.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use engram::RowId;
use engram_cuda::{Output, Ring, Staged, Stream};

use super::Engram;
use crate::Error;

/// A ring, and the stream in which its values are taken.
#[derive(Debug)]
pub(super) struct Through {
    ring: Arc<Ring>,
    stream: Stream,
    device: Device,
}

impl Engram {
    /// Takes rows by way of `ring` from now on, which decodes them on its device: on the GPU that the blocks are on, or,
    /// where they are on the processor, on any. While it is full, since passes are announced before they are computed, and
    /// where a pass has more rows than it has room for, rows come from the store and the processor decodes them.
    ///
    /// How long rows of a ring took to come is not measured: they do not count in
    /// [`RowTimes::fetched`](super::RowTimes::fetched).
    ///
    /// # Errors
    /// A ring over another open store or whose values are not f32, or blocks on a GPU and a ring elsewhere.
    pub fn through(mut self, ring: Arc<Ring>) -> Result<Self, Error> {
        let fault = |field, found: String, expected: &str| {
            Err(Error::Ring {
                field,
                found,
                expected: expected.into(),
            })
        };
        if !Arc::ptr_eq(ring.store(), &self.store) {
            return fault("the store", "another".into(), "the blocks' own");
        }
        if ring.output() != Output::F32 {
            return fault("the output", format!("{:?}", ring.output()), "F32");
        }
        let stream = match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => Stream::of_cudarc(ring.device(), cuda.cuda_stream())?,
            _ => ring.device().stream(0)?,
        };
        self.through = Some(Through {
            ring,
            stream,
            device: self.device.clone(),
        });
        Ok(self)
    }
}

impl Through {
    /// None, if the ring is full, or too small.
    pub(super) fn ask(&self, layer: u32, rows: &[RowId]) -> Result<Option<Staged>, Error> {
        if rows.len() > self.ring.rows() {
            return Ok(None);
        }
        Ok(self.ring.stage(layer, rows)?)
    }

    /// The values, `[live tokens * columns * width]`.
    pub(super) fn wait(&self, staged: Staged) -> Result<Tensor, Error> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(cuda) = &self.device {
            return self.on_gpu(staged, cuda);
        }
        let bytes = staged.read_on(&self.stream)?;
        let count = bytes.len() / size_of::<f32>();
        Ok(Tensor::from_raw_buffer(
            &bytes,
            DType::F32,
            &[count],
            &self.device,
        )?)
    }

    /// Copies the values within the GPU to memory that candle can have.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self, staged: Staged, cuda: &candle_core::CudaDevice) -> Result<Tensor, Error> {
        use candle_core::{CudaStorage, Storage, op::BackpropOp};

        let count = staged.rows() * staged.port().codec().width();
        let mut values = cuda.alloc_zeros::<f32>(count)?;
        let consumed = staged.consume_on(&self.stream, |port| {
            port.copy_to_slice_on(&self.stream, &mut values)
        });
        let (copied, outcome) = consumed?;
        copied?;
        outcome.wait()?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(values, cuda.clone()));
        Ok(Tensor::from_storage(
            storage,
            count,
            BackpropOp::none(),
            false,
        ))
    }
}

/// `values` at their places of a tensor of the shape `[sequences, tokens, values]`, zero elsewhere.
pub(super) fn placed(
    values: &Tensor,
    shape: (usize, usize, usize),
    places: impl Iterator<Item = usize>,
) -> Result<Tensor, Error> {
    let places: Vec<u32> = places
        .map(|place| u32::try_from(place).expect("a pass has fewer tokens"))
        .collect();
    let live = places.len();
    let values = values.reshape((live, shape.2))?;
    if live == shape.0 * shape.1 {
        return Ok(values.reshape(shape)?);
    }
    let all = Tensor::zeros((shape.0 * shape.1, shape.2), DType::F32, values.device())?;
    if live == 0 {
        return Ok(all.reshape(shape)?);
    }
    let places = Tensor::from_vec(places, live, values.device())?;
    Ok(all.index_add(&places, &values, 0)?.reshape(shape)?)
}
