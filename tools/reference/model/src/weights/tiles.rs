//! FP8 matrices with a scale for each tile, as DeepSeek-V4.1 stores its projections.

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use engram::RowCodec;
use engram_checkpoint::{Dtype, Tensor as Stored, TensorFiles};

use crate::Error;

/// Decodes `stored`, a matrix of `F8_E4M3`, with the tensor beside it that is called `scale` instead of `weight`:
/// UE8M0, one for each tile. Takes that one out of `left`.
pub(super) fn read(
    files: &TensorFiles,
    stored: &Stored,
    shape: &[usize],
    left: &mut BTreeSet<String>,
    device: &Device,
) -> Result<Tensor, Error> {
    let name = stored.name.strip_suffix("weight").unwrap_or(&stored.name);
    let scales = files.get(&format!("{name}scale"))?;
    let (&[rows, columns], &[scale_rows, scale_columns]) = (shape, scales.shape.as_slice()) else {
        let found = format!("{:?}", scales.shape);
        return Err(files
            .fault(scales, "shape", found, "that of a matrix")
            .into());
    };
    if !matches!(scales.dtype, Dtype::F8_E8M0 | Dtype::U8) {
        return Err(files.fault(scales, "dtype", scales.dtype, "F8_E8M0").into());
    }
    let tile = |size: usize, scales: u64| {
        let scales = usize::try_from(scales).ok().filter(|&scales| scales > 0)?;
        size.is_multiple_of(scales).then_some(size / scales)
    };
    let (Some(height), Some(width)) = (tile(rows, scale_rows), tile(columns, scale_columns)) else {
        let expected = format!("divisors of {shape:?}");
        let found = format!("{:?}", scales.shape);
        return Err(files.fault(scales, "shape", found, expected).into());
    };
    let (Ok(codec_width), Ok(group)) = (u32::try_from(columns), u32::try_from(width)) else {
        let found = format!("{shape:?}");
        return Err(files
            .fault(stored, "shape", found, "less than 2^32 columns")
            .into());
    };
    let codec = RowCodec::Fp8Ue8m0 {
        width: codec_width,
        group,
    };
    let (bytes, scale_bytes) = (files.read(stored)?, files.read(scales)?);
    // A row of the matrix with its scales has the layout of a row of a table.
    let mut row = Vec::with_capacity(codec.row_bytes());
    let mut values = vec![0.0; rows * columns];
    let scales_of = |index: usize| {
        scale_bytes
            .chunks_exact(columns / width)
            .nth(index / height)
    };
    for (index, out) in values.chunks_exact_mut(columns).enumerate() {
        row.clear();
        row.extend_from_slice(&bytes[index * columns..][..columns]);
        row.extend_from_slice(scales_of(index).expect("one for each tile"));
        codec.decode_f32(&row, out);
    }
    left.remove(&scales.name);
    Ok(Tensor::from_vec(values, shape, device)?)
}
