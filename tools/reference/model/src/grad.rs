//! Fused operations, with gradients where something is tracked.
//!
//! The fused kernels of candle-nn have no gradients. Here they get one: the value comes from the same kernel whether a
//! model is trained or not, so it is the same to the bit.

mod custom_grad;
mod rows;

use candle_core::{D, Result, Tensor};
use candle_nn::{
    Module, RmsNorm,
    ops::{sigmoid, softmax_last_dim},
};

use custom_grad::{CustomGrad, binary, unary};

/// The softmax of the last dimension.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    unary(x, softmax_last_dim, |_, y, gradient| {
        softmax_backward(y, gradient)
    })
}

fn softmax_backward(y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let by_rows = rows::map([y, gradient], |[y, gradient], out| {
        let sum: f32 = y
            .iter()
            .zip(gradient)
            .map(|(y, gradient)| y * gradient)
            .sum();
        for ((out, y), gradient) in out.iter_mut().zip(y).zip(gradient) {
            *out = y * (gradient - sum);
        }
    });
    if let Some(back) = by_rows {
        return back;
    }
    let weighted = (gradient * y)?;
    let sum = weighted.sum_keepdim(D::Minus1)?;
    weighted - y.broadcast_mul(&sum)?
}

/// Scaled dot-product attention, `softmax(queries keysᵀ * scale + mask) values`, of tensors `[.., tokens, size]`.
/// `mask` has no gradient.
pub(crate) fn attend(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    scale: f64,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let tracked = [queries, keys, values].into_iter().any(Tensor::track_op);
    let plain = [queries, keys, values].map(Tensor::detach);
    let scores = (plain[0].matmul(&plain[1].t()?)? * scale)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    let weights = softmax_last_dim(&scores)?;
    let value = weights.matmul(&plain[2])?;
    if !tracked {
        return Ok(value);
    }
    let backward = move |[queries, keys, values]: [&Tensor; 3], gradient: &Tensor| {
        let of_weights = gradient.matmul(&values.t()?)?;
        let of_scores = softmax_backward(&weights, &of_weights)?;
        Ok([
            (of_scores.matmul(keys)? * scale)?,
            (of_scores.t()?.matmul(queries)? * scale)?,
            weights.t()?.matmul(gradient)?,
        ])
    };
    queries.apply_op3(keys, values, CustomGrad { value, backward })
}

/// `silu(gate) * up`.
pub(crate) fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    binary(
        gate,
        up,
        |gate, up| gate.silu()? * up,
        |gate, up, gradient| {
            let slopes = [true, false].map(|of_gate| gated_backward(gate, up, gradient, of_gate));
            if let [Some(of_gate), Some(of_up)] = slopes {
                return Ok((of_gate?, of_up?));
            }
            let open = sigmoid(gate)?;
            let silu = (gate * &open)?;
            // The derivative of silu is sigmoid + silu * (1 - sigmoid).
            let slope = (&open + (&silu * (1.0 - &open)?)?)?;
            Ok((((gradient * up)? * slope)?, (gradient * silu)?))
        },
    )
}

fn gated_backward(
    gate: &Tensor,
    up: &Tensor,
    gradient: &Tensor,
    of_gate: bool,
) -> Option<Result<Tensor>> {
    rows::map([gate, up, gradient], |[gate, up, gradient], out| {
        for (((out, gate), up), gradient) in out.iter_mut().zip(gate).zip(up).zip(gradient) {
            let open = 1.0 / (1.0 + (-gate).exp());
            *out = if of_gate {
                gradient * up * open * (1.0 + gate * (1.0 - open))
            } else {
                gradient * gate * open
            };
        }
    })
}

/// `rotate(x)`. The gradient of a rotation is rotated by `rotate_back`, which must be the inverse of `rotate`.
pub(crate) fn rotated(
    x: &Tensor,
    rotate: impl FnOnce(&Tensor) -> Result<Tensor>,
    rotate_back: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    unary(x, rotate, move |_, _, gradient| rotate_back(gradient))
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

/// `forward(x, weight)` with the gradients of a root-mean-square norm, which `forward` must compute: `x` normed over
/// its last dimensions, which are those of `weight`, times `weight`.
pub(crate) fn norm(
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    forward: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    binary(x, weight, forward, move |x, weight, gradient| {
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

/// The mean cross entropy of `targets`, `[tokens]`, in nats, given the logits `hidden headᵀ`: `hidden` is
/// `[tokens, size]`, `head` is `[vocab_size, size]`.
pub(crate) fn cross_entropy(hidden: &Tensor, head: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let tokens = hidden.dim(0)?;
    let targets = targets.unsqueeze(1)?;
    let plain = hidden.detach().contiguous()?;
    let logits = plain.matmul(&head.detach().t()?)?;
    let probabilities = softmax_last_dim(&logits)?;
    // The logarithm of the largest probability, which is never zero, gives that of the sum.
    let sum = (logits.max(D::Minus1)? - probabilities.max(D::Minus1)?.log()?)?;
    let value = (sum - logits.gather(&targets, 1)?.squeeze(1)?)?.mean_all()?;
    let backward = move |hidden: &Tensor, head: &Tensor, gradient: &Tensor| {
        let one = targets.ones_like()?.to_dtype(probabilities.dtype())?;
        let slope = probabilities.scatter_add(&targets, &one.neg()?, 1)?;
        #[expect(clippy::cast_precision_loss, reason = "few tokens")]
        let share = (gradient / tokens as f64)?;
        let of_hidden = slope.matmul(head)?.broadcast_mul(&share)?;
        let of_head = slope.t()?.matmul(&hidden.contiguous()?)?;
        Ok((of_hidden, of_head.broadcast_mul(&share)?))
    };
    binary(hidden, head, |_, _| Ok(value), backward)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};

    /// The gradients of a loss over the operations that have loops of their own for f32 in memory.
    fn gradients(dtype: DType) -> Vec<f32> {
        let values = |seed: f32| -> Tensor {
            let values: Vec<f32> = (0_u8..24).map(|i| (f32::from(i) * seed).sin()).collect();
            let values = Tensor::from_vec(values, (2, 3, 4), &Device::Cpu).unwrap();
            values.to_dtype(dtype).unwrap()
        };
        let [gate, up] = [0.7, 1.3].map(|seed| Var::from_tensor(&values(seed)).unwrap());
        let sum = (gated(&gate, &up).unwrap() + softmax(&up).unwrap()).unwrap();
        let loss = (sum * values(2.1)).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let all = [&gate, &up].map(|variable| gradients.get(variable).unwrap().clone());
        let all = Tensor::stack(&all, 0)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        all.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn loops_and_operations_give_the_same_gradients() {
        // Loops are for f32 alone.
        let (loops, operations) = (gradients(DType::F32), gradients(DType::F64));
        assert!(loops.iter().any(|of| of.abs() > 0.1));
        for (a, b) in loops.iter().zip(&operations) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
