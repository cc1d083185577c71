//! Rows by way of a staging ring, which decodes them on its device.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use engram::{LayerId, RowId, Store, ValueType};
use engram_cuda::{Ring, Staged, Stream};

use crate::Error;

/// A ring, and the stream in which its values are consumed.
#[derive(Debug)]
pub(super) struct RingDecoder {
    ring: Arc<Ring>,
    stream: Stream,
    device: Device,
}

impl RingDecoder {
    /// A decoder by `ring`, for blocks on `device` with rows from `store`.
    ///
    /// # Errors
    /// A ring over another open store or whose values are not f32, or a GPU that is not the ring's.
    pub(super) fn new(ring: Arc<Ring>, store: &Arc<Store>, device: &Device) -> Result<Self, Error> {
        if !Arc::ptr_eq(ring.store(), store) {
            return Err(Error::RingStore);
        }
        if ring.value_type() != ValueType::F32 {
            return Err(Error::RingOutput {
                found: ring.value_type(),
            });
        }
        let stream = match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => Stream::from_cudarc(ring.device(), cuda.cuda_stream())?,
            _ => ring.device().stream(0)?,
        };
        Ok(Self {
            ring,
            stream,
            device: device.clone(),
        })
    }

    /// Asks for `rows`; none if the ring is full, or too small for them.
    pub(super) fn ask(&self, layer: LayerId, rows: &[RowId]) -> Result<Option<Staged>, Error> {
        if rows.len() > self.ring.max_rows() {
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

    /// Copies the values within the GPU to memory that candle owns.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self, staged: Staged, cuda: &candle_core::CudaDevice) -> Result<Tensor, Error> {
        use candle_core::{CudaStorage, Storage, op::BackpropOp};

        let count = staged.row_count() * staged.output_slot().codec().width();
        let mut values = cuda.alloc_zeros::<f32>(count)?;
        let consumed = staged.consume_on(&self.stream, |slot| {
            slot.copy_to_slice_on(&self.stream, &mut values)
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

/// A tensor of `shape`, `[sequences, tokens, values]`, with `values` at the tokens `places` and zero elsewhere.
pub(super) fn scatter(
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
