//! Adam with decoupled weight decay (Loshchilov and Hutter 2019), for tensors and for rows.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};

/// Decay of the mean of gradients (beta 1).
const FIRST: f64 = 0.9;
/// Decay of the mean of squared gradients (beta 2).
const SECOND: f64 = 0.95;
/// Added to the root that updates are divided by (epsilon).
const EPS: f64 = 1e-8;

/// The parameters of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    pub(crate) rate: f64,
    /// Weight decay of matrices, as a share of the rate.
    pub(crate) decay: f64,
    /// Gradients are multiplied by this first, to clip their norm.
    pub(crate) scale: f64,
}

/// The means of a tensor's gradients, and of their squares.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub(crate) first: Tensor,
    pub(crate) second: Tensor,
    /// Updates so far; a tensor of an expert without tokens has none in a step.
    pub(crate) updates: u32,
}

/// The moments of all tensors, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adam {
    pub(crate) moments: BTreeMap<String, Moments>,
}

/// Bias correction: means that began with zero are divided by this after so many updates.
#[expect(clippy::cast_possible_wrap, reason = "few updates")]
fn bias(updates: u32) -> (f64, f64) {
    (
        1.0 - FIRST.powi(updates as i32),
        1.0 - SECOND.powi(updates as i32),
    )
}

impl Adam {
    /// Updates the variable called `name` by `gradient`.
    pub(crate) fn update(
        &mut self,
        name: &str,
        variable: &Var,
        gradient: &Tensor,
        update: Update,
    ) -> Result<()> {
        let moments = match self.moments.get_mut(name) {
            Some(moments) => moments,
            None => self.moments.entry(name.into()).or_insert(Moments {
                first: gradient.zeros_like()?,
                second: gradient.zeros_like()?,
                updates: 0,
            }),
        };
        let scale = update.scale;
        let first = ((&moments.first * FIRST)? + (gradient * (scale * (1.0 - FIRST)))?)?;
        let square = (gradient.sqr()? * (scale * scale * (1.0 - SECOND)))?;
        let second = ((&moments.second * SECOND)? + square)?;
        moments.updates += 1;
        let (first_bias, second_bias) = bias(moments.updates);
        let root = second.sqrt()?.affine(1.0 / second_bias.sqrt(), EPS)?;
        let change = (first.div(&root)? * (update.rate / first_bias))?;
        let is_matrix = variable.rank() == 2;
        let kept = if is_matrix {
            1.0 - update.rate * update.decay
        } else {
            1.0
        };
        variable.set(&(variable.as_tensor() * kept)?.sub(&change)?)?;
        (moments.first, moments.second) = (first, second);
        Ok(())
    }
}

/// Updates one row that has had `updates` updates, this one included. A row that is not touched keeps its means: they
/// are over the steps that touched it, and so is the correction of their bias.
#[expect(clippy::cast_possible_truncation, reason = "rows are f32")]
pub(crate) fn update_row(
    values: &mut [f32],
    [first, second]: [&mut [f32]; 2],
    updates: u32,
    gradient: &[f32],
    update: Update,
) {
    let (first_bias, second_bias) = bias(updates);
    let rate = (update.rate / first_bias) as f32;
    let root_bias = (1.0 / second_bias.sqrt()) as f32;
    let (keep_first, keep_second) = (FIRST as f32, SECOND as f32);
    for (((value, first), second), gradient) in
        values.iter_mut().zip(first).zip(second).zip(gradient)
    {
        let gradient = gradient * update.scale as f32;
        *first = keep_first * *first + (1.0 - keep_first) * gradient;
        *second = keep_second * *second + (1.0 - keep_second) * gradient * gradient;
        *value -= rate * *first / (second.sqrt() * root_bias + EPS as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const UPDATE: Update = Update {
        rate: 0.1,
        decay: 0.5,
        scale: 2.0,
    };

    /// By the formula, in f64: three updates of one value by its gradients.
    fn by_hand(mut value: f64, decay: f64, gradients: &[f64]) -> f64 {
        let (mut first, mut second) = (0.0, 0.0);
        for (step, gradient) in (1..).zip(gradients) {
            let gradient = 2.0 * gradient;
            first = 0.9 * first + 0.1 * gradient;
            second = 0.95 * second + 0.05 * gradient * gradient;
            let (first, second) = (
                first / (1.0 - 0.9_f64.powi(step)),
                second / (1.0 - 0.95_f64.powi(step)),
            );
            value -= 0.1 * decay * value + 0.1 * first / (second.sqrt() + 1e-8);
        }
        value
    }

    #[test]
    fn tensors_and_rows_follow_the_formula() {
        let gradients = [0.3_f32, -0.1, 0.7];
        let mut adam = Adam::default();
        let matrix = Var::new(&[[1.0_f32]], &Device::Cpu).unwrap();
        let vector = Var::new(&[1.0_f32], &Device::Cpu).unwrap();
        let (mut row, mut first, mut second) = ([1.0_f32], [0.0], [0.0]);
        for (updates, gradient) in (1..).zip(gradients) {
            let of_vector = Tensor::new(&[gradient], &Device::Cpu).unwrap();
            let of_matrix = of_vector.unsqueeze(0).unwrap();
            adam.update("matrix", &matrix, &of_matrix, UPDATE).unwrap();
            adam.update("vector", &vector, &of_vector, UPDATE).unwrap();
            update_row(
                &mut row,
                [&mut first, &mut second],
                updates,
                &[gradient],
                UPDATE,
            );
        }
        let gradients = gradients.map(f64::from);
        let matrix = f64::from(matrix.to_vec2::<f32>().unwrap()[0][0]);
        let vector = f64::from(vector.to_vec1::<f32>().unwrap()[0]);
        assert!(
            (matrix - by_hand(1.0, 0.5, &gradients)).abs() < 1e-6,
            "{matrix}"
        );
        for value in [vector, f64::from(row[0])] {
            assert!(
                (value - by_hand(1.0, 0.0, &gradients)).abs() < 1e-6,
                "{value}"
            );
        }
    }
}
