//! Linear centred kernel alignment (CKA): how alike two residual streams are.

use candle_core::{D, DType, Tensor};

use crate::{Error, error::expect_shape};

/// The linear CKA of each stream of `a` with each of `b`, `[a][b]`. Streams are `[sequences, tokens, copies,
/// hidden_size]` of the same tokens, of one model or of two, whose widths may differ. The features of a position are
/// the mean over its copies.
///
/// With features `X` and `Y`, one row a position and columns centred, it is `|YᵀX|² / (|XᵀX| |YᵀY|)` in Frobenius
/// norms (Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited", 2019, sections
/// 2 and 3). It is one if only a rotation and a scale differ. Of streams that have nothing in common it is near the
/// square root of both widths over the number of positions, so use many more positions than widths.
///
/// # Errors
/// Streams of different numbers of positions, and one that is the same at every position.
pub fn linear_cka(a: &[Tensor], b: &[Tensor]) -> Result<Vec<Vec<f64>>, Error> {
    let positions = match a.first() {
        Some(stream) => stream.dim(0)? * stream.dim(1)?,
        None => return Ok(Vec::new()),
    };
    let prepared = |streams: &[Tensor]| -> Result<Vec<Features>, Error> {
        let streams = streams.iter().enumerate();
        streams
            .map(|(depth, stream)| Features::of(stream, depth, positions))
            .collect()
    };
    let (a, b) = (prepared(a)?, prepared(b)?);
    let row = |x: &Features| b.iter().map(|y| x.cka(y)).collect();
    a.iter().map(row).collect()
}

/// Centred features, `[positions, hidden_size]`.
struct Features {
    values: Tensor,
    /// The Frobenius norm of the product with itself.
    norm: f64,
}

impl Features {
    fn of(stream: &Tensor, depth: usize, positions: usize) -> Result<Self, Error> {
        let (sequences, tokens, _, hidden) = stream.dims4()?;
        let values = stream.mean(2)?.reshape((sequences * tokens, hidden))?;
        expect_shape("the tensor of features", &values, &[positions, hidden])?;
        let values = values.broadcast_sub(&values.mean_keepdim(0)?)?;
        let size = values.sqr()?.mean_all()?.to_scalar::<f32>()?;
        if size == 0.0 {
            return Err(Error::Constant { depth });
        }
        // The result is the same for any scale, and products stay within f32.
        let values = (values / f64::from(size).sqrt())?;
        let norm = product(&values, &values)?;
        Ok(Self { values, norm })
    }

    fn cka(&self, other: &Self) -> Result<f64, Error> {
        let product = product(&other.values, &self.values)?;
        Ok(product * product / (self.norm * other.norm))
    }
}

/// The Frobenius norm of `yᵀx`.
fn product(y: &Tensor, x: &Tensor) -> candle_core::Result<f64> {
    let product = y.t()?.matmul(x)?.to_dtype(DType::F64)?;
    product
        .sqr()?
        .sum(D::Minus1)?
        .sum_all()?
        .sqrt()?
        .to_scalar()
}
