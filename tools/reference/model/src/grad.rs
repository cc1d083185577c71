//! Fused computations, with gradients where something is tracked.
//!
//! The kernels of candle-nn have no gradients. A detour takes the value from the same operations without tracking, so it
//! is the same to the bit whether a model is trained or not, and brings its own gradient.

mod detour;
mod rows;

use candle_core::{D, Result, Tensor};
use candle_nn::{
    Module, RmsNorm,
    ops::{sigmoid, softmax_last_dim},
};

use detour::{Detour, detour1, detour2};

/// The softmax of the last dimension.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    detour1(x, softmax_last_dim, |_, y, gradient| {
        softmax_back(y, gradient)
    })
}

fn softmax_back(y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
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

/// What `queries` find in `values` by `keys`, `[.., tokens, size]` each: the values, weighted by the softmax of
/// `queries keys^T * scale + mask`. `mask` has no gradient.
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
    let back = move |[queries, keys, values]: [&Tensor; 3], gradient: &Tensor| {
        let of_weights = gradient.matmul(&values.t()?)?;
        let of_scores = softmax_back(&weights, &of_weights)?;
        Ok([
            (of_scores.matmul(keys)? * scale)?,
            (of_scores.t()?.matmul(queries)? * scale)?,
            weights.t()?.matmul(gradient)?,
        ])
    };
    queries.apply_op3(keys, values, Detour { value, back })
}

/// `silu(gate) * up`.
pub(crate) fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    detour2(
        gate,
        up,
        |gate, up| gate.silu()? * up,
        |gate, up, gradient| {
            let slopes = [true, false].map(|of_gate| gated_back(gate, up, gradient, of_gate));
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

fn gated_back(
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

/// `value` of `x`, which must turn it; `back` turns back.
pub(crate) fn rotated(
    x: &Tensor,
    value: impl FnOnce(&Tensor) -> Result<Tensor>,
    back: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    detour1(x, value, move |_, _, gradient| back(gradient))
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

/// The mean of what `targets`, `[tokens]`, cost by the logits of `hidden`, `[tokens, size]`, times `head`,
/// `[vocab_size, size]`: minus the logarithms of their probabilities, in nats.
pub(crate) fn cross_entropy(hidden: &Tensor, head: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let tokens = hidden.dim(0)?;
    let targets = targets.unsqueeze(1)?;
    let plain = hidden.detach().contiguous()?;
    let logits = plain.matmul(&head.detach().t()?)?;
    let probabilities = softmax_last_dim(&logits)?;
    // The logarithm of the largest probability, which is never zero, gives that of the sum.
    let sum = (logits.max(D::Minus1)? - probabilities.max(D::Minus1)?.log()?)?;
    let value = (sum - logits.gather(&targets, 1)?.squeeze(1)?)?.mean_all()?;
    let back = move |hidden: &Tensor, head: &Tensor, gradient: &Tensor| {
        let one = targets.ones_like()?.to_dtype(probabilities.dtype())?;
        let slope = probabilities.scatter_add(&targets, &one.neg()?, 1)?;
        #[expect(clippy::cast_precision_loss, reason = "few tokens")]
        let share = (gradient / tokens as f64)?;
        let of_hidden = slope.matmul(head)?.broadcast_mul(&share)?;
        let of_head = slope.t()?.matmul(&hidden.contiguous()?)?;
        Ok((of_hidden, of_head.broadcast_mul(&share)?))
    };
    detour2(hidden, head, |_, _| Ok(value), back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};

    /// Of a loss over what rows in memory have loops for.
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
