//! Loops over rows in the processor's memory, where tensor operations would pass over the values many times.

use std::ops::{Deref, Range};

use candle_core::{D, DType, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// Values that a thread takes at a time.
const PART: usize = 1 << 14;

/// The values of a tensor in the processor's memory, behind the lock `S`.
struct Values<S> {
    storage: S,
    place: Range<usize>,
}

/// None where they are elsewhere, in another order, or no f32.
fn values_of(tensor: &Tensor) -> Option<Values<impl Deref<Target = Storage>>> {
    if tensor.dtype() != DType::F32 || !tensor.device().is_cpu() {
        return None;
    }
    let (storage, layout) = tensor.storage_and_layout();
    let (start, end) = layout.contiguous_offsets()?;
    Some(Values {
        storage,
        place: start..end,
    })
}

impl<S: Deref<Target = Storage>> Values<S> {
    fn slice(&self) -> Result<&[f32]> {
        let Storage::Cpu(storage) = &*self.storage else {
            bail!("values that are not in the processor's memory");
        };
        Ok(&storage.as_slice::<f32>()?[self.place.clone()])
    }
}

/// A tensor of the shape of `inputs[0]`, each row computed by `row` from the same row of all inputs; none if an input
/// is not f32 in the processor's memory, in order, or of another shape.
pub(super) fn map<const N: usize>(
    inputs: [&Tensor; N],
    row: impl Fn([&[f32]; N], &mut [f32]) + Sync,
) -> Option<Result<Tensor>> {
    let values: Vec<_> = inputs.into_iter().filter_map(values_of).collect();
    if values.len() < N || inputs.iter().any(|input| input.dims() != inputs[0].dims()) {
        return None;
    }
    Some(mapped(inputs[0], &values, row))
}

fn mapped<const N: usize>(
    like: &Tensor,
    values: &[Values<impl Deref<Target = Storage>>],
    row: impl Fn([&[f32]; N], &mut [f32]) + Sync,
) -> Result<Tensor> {
    let size = like.dim(D::Minus1)?.max(1);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, values) in slices.iter_mut().zip(values) {
        *slice = values.slice()?;
    }
    let mut out = vec![0.0; like.elem_count()];
    let part = PART.div_ceil(size) * size;
    out.par_chunks_mut(part)
        .enumerate()
        .for_each(|(index, out)| {
            for (place, out) in out.chunks_exact_mut(size).enumerate() {
                let start = index * part + place * size;
                row(slices.map(|slice| &slice[start..start + size]), out);
            }
        });
    Tensor::from_vec(out, like.shape(), like.device())
}
