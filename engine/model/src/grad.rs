//! Fused computations, with gradients where something is tracked.
//!
//! The kernels of candle-nn have no gradients. A detour takes the value from the same operations without tracking, so it
//! is the same to the bit whether a model is trained or not, and brings its own gradient.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Storage, Tensor,
    backend::BackendStorage, bail,
};
use candle_nn::{
    Module, RmsNorm,
    ops::{sigmoid, softmax_last_dim},
};

/// A value, and how the gradient with respect to it goes back to its arguments.
struct Detour<B> {
    value: Tensor,
    back: B,
}

fn on_cpu(value: &Tensor) -> Result<(CpuStorage, Shape)> {
    let (storage, layout) = value.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok((storage.try_clone(layout)?, value.shape().clone())),
        _ => bail!("a value that was computed on another device than its argument"),
    }
}

fn on_cuda(value: &Tensor) -> Result<(CudaStorage, Shape)> {
    let (storage, layout) = value.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, value.shape().clone())),
        _ => bail!("a value that was computed on another device than its argument"),
    }
}

impl<B> CustomOp1 for Detour<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
{
    fn name(&self) -> &'static str {
        "detour"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.value)
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.value)
    }

    fn bwd(&self, x: &Tensor, value: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.back)(x, value, gradient).map(Some)
    }
}

impl<B> CustomOp2 for Detour<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)>,
{
    fn name(&self) -> &'static str {
        "detour"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.value)
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.value)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (a, b) = (self.back)(&a.detach(), &b.detach(), gradient)?;
        Ok((Some(a), Some(b)))
    }
}

/// `value` of `x`, whose gradient is `back(x, value, gradient)`.
fn detour1<B>(x: &Tensor, value: impl FnOnce(&Tensor) -> Result<Tensor>, back: B) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
{
    let of = value(&x.detach())?;
    if x.track_op() {
        x.apply_op1(Detour { value: of, back })
    } else {
        Ok(of)
    }
}

/// `value` of `a` and `b`, whose gradients are `back(a, b, gradient)`.
fn detour2<B>(
    a: &Tensor,
    b: &Tensor,
    value: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
    back: B,
) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)> + Send + Sync + 'static,
{
    let of = value(&a.detach(), &b.detach())?;
    if a.track_op() || b.track_op() {
        a.apply_op2(b, Detour { value: of, back })
    } else {
        Ok(of)
    }
}

/// The softmax of the last dimension.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    detour1(x, softmax_last_dim, |_, y, gradient| {
        softmax_back(y, gradient)
    })
}

fn softmax_back(y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let weighted = (gradient * y)?;
    let sum = weighted.sum_keepdim(D::Minus1)?;
    weighted - y.broadcast_mul(&sum)?
}

/// The softmax of the last dimension of `scores * scale + mask`; `mask` has no gradient.
pub(crate) fn attend(scores: &Tensor, scale: f64, mask: Option<&Tensor>) -> Result<Tensor> {
    let value = |scores: &Tensor| {
        let scores = (scores * scale)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        softmax_last_dim(&scores)
    };
    detour1(scores, value, move |_, y, gradient| {
        softmax_back(y, gradient)? * scale
    })
}

/// `silu(gate) * up`.
pub(crate) fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    detour2(
        gate,
        up,
        |gate, up| gate.silu()? * up,
        |gate, up, gradient| {
            let open = sigmoid(gate)?;
            let silu = (gate * &open)?;
            // The derivative of silu is sigmoid + silu * (1 - sigmoid).
            let slope = (&open + (&silu * (1.0 - &open)?)?)?;
            Ok((((gradient * up)? * slope)?, (gradient * silu)?))
        },
    )
}

/// `value` of `x`, which must turn it; `back` turns back.
pub(crate) fn rotated(
    x: &Tensor,
    value: impl FnOnce(&Tensor) -> Result<Tensor>,
    back: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    detour1(x, value, move |_, _, gradient| {
        back(&gradient.contiguous()?)
    })
}

/// A root-mean-square norm of the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    fused: RmsNorm,
    weight: Tensor,
    eps: f64,
}

impl Norm {
    /// With `weight`, `[size]`.
    pub(crate) fn new(weight: Tensor, eps: f64) -> Self {
        Self {
            fused: RmsNorm::new(weight.detach(), eps),
            weight,
            eps,
        }
    }

    /// Keeps the shape of `x`, `[.., size]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        norm(x, &self.weight, self.eps, |x, _| self.fused.forward(x))
    }
}

/// `value` of `x` and `weight`, which must be the root-mean-square norm of the last dimension times `weight`, whose
/// dimensions are the last ones of `x`.
pub(crate) fn norm(
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    value: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    detour2(x, weight, value, move |x, weight, gradient| {
        let size = ((x.sqr()?.mean_keepdim(D::Minus1)? + eps)?).sqrt()?;
        let normed = x.broadcast_div(&size)?;
        let rows = x.elem_count() / weight.elem_count();
        let of_weight = (gradient * &normed)?
            .reshape((rows, weight.elem_count()))?
            .sum(0)?
            .reshape(weight.shape())?;
        let inner = gradient.broadcast_mul(weight)?;
        let along = (&inner * &normed)?.mean_keepdim(D::Minus1)?;
        let of_x = (inner - normed.broadcast_mul(&along)?)?.broadcast_div(&size)?;
        Ok((of_x, of_weight))
    })
}

/// The mean of what `targets`, `[tokens]`, cost by `logits`, `[tokens, vocab_size]`: minus the logarithms of their
/// probabilities, in nats. Gradients go back to `logits`.
///
/// # Errors
/// Other shapes, or a target outside the vocabulary.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let tokens = logits.dim(0)?;
    let targets = targets.unsqueeze(1)?;
    let probabilities = softmax_last_dim(&logits.detach().contiguous()?)?;
    let value = |logits: &Tensor| {
        // The logarithm of the largest probability, which is never zero, gives that of the sum.
        let largest = logits.max(D::Minus1)?;
        let sum = (largest - probabilities.max(D::Minus1)?.log()?)?;
        (sum - logits.gather(&targets, 1)?.squeeze(1)?)?.mean_all()
    };
    let (own, own_targets) = (probabilities.clone(), targets.clone());
    detour1(logits, value, move |_, _, gradient| {
        let one = own_targets.ones_like()?.to_dtype(own.dtype())?;
        let slope = own.scatter_add(&own_targets, &one.neg()?, 1)?;
        #[expect(clippy::cast_precision_loss, reason = "few tokens")]
        let share = (gradient / tokens as f64)?;
        slope.broadcast_mul(&share)
    })
}
