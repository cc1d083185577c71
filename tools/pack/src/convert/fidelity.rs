//! How near the values of a column come to what they were.

use engram_format::{Column, LayerId};
use serde::{Deserialize, Serialize};

/// Bins of the distances from a cosine of 1, a 64th of an octave each, from 2^-40 to 2.
const BINS: usize = 41 * BINS_AN_OCTAVE;
const BINS_AN_OCTAVE: usize = 64;
const LEAST_EXPONENT: f64 = -40.0;
/// Sums that are taken side by side.
const LANES: usize = 8;

/// How near the rows of a column are to what they were before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnFidelity {
    /// The model's layer id.
    pub layer: LayerId,
    /// Tokens in its n-grams.
    pub order: u32,
    /// 0-based index among the hashes of its order.
    pub head: u32,
    /// Its rows.
    pub rows: u64,
    /// Root of the sum of squared errors over that of squared values; 0 if all values are zero.
    pub relative_rmse: f64,
    /// Mean over its rows of the cosine between a row and what it was; 1 for a row of zeros that has stayed so.
    pub cosine_mean: f64,
    /// The cosine that 1 in 100 rows is below, to 1 % of its distance from 1.
    pub cosine_p1: f64,
    /// The least cosine.
    pub cosine_worst: f64,
    /// Id of the first row that has it.
    pub worst_row: u64,
    /// Sum of squared errors.
    pub squared_error: f64,
    /// Sum of squared values, as they were.
    pub squared_values: f64,
}

/// Measures a column from its first row to the last.
pub(super) struct Measure {
    squared_error: f64,
    squared_values: f64,
    cosines: f64,
    worst: Option<(f64, u64)>,
    bins: Vec<u64>,
    rows: u64,
}

impl Measure {
    pub(super) fn new() -> Self {
        Self {
            squared_error: 0.0,
            squared_values: 0.0,
            cosines: 0.0,
            worst: None,
            bins: vec![0; BINS],
            rows: 0,
        }
    }

    /// Adds the row `row`, which had the values `before` and has `now`.
    pub(super) fn add(&mut self, row: u64, before: &[f32], now: &[f32]) {
        let [of_before, of_now, product, error] = sums(before, now);
        self.squared_error += error;
        self.squared_values += of_before;
        let cosine = if of_before == 0.0 && of_now == 0.0 {
            1.0
        } else if of_before == 0.0 || of_now == 0.0 {
            0.0
        } else {
            (product / (of_before.sqrt() * of_now.sqrt())).clamp(-1.0, 1.0)
        };
        self.cosines += cosine;
        self.rows += 1;
        if self.worst.is_none_or(|(worst, _)| cosine < worst) {
            self.worst = Some((cosine, row));
        }
        self.bins[bin(1.0 - cosine)] += 1;
    }

    pub(super) fn finish(&self, layer: LayerId, column: &Column) -> ColumnFidelity {
        let (cosine_worst, worst_row) = self.worst.unwrap_or((1.0, column.first_row));
        ColumnFidelity {
            layer,
            order: column.order,
            head: column.head,
            rows: self.rows,
            relative_rmse: relative_rmse(self.squared_error, self.squared_values),
            cosine_mean: self.cosines / as_f64(self.rows.max(1)),
            cosine_p1: self.percentile().max(cosine_worst),
            cosine_worst,
            worst_row,
            squared_error: self.squared_error,
            squared_values: self.squared_values,
        }
    }

    /// The cosine at the farther end of the bin in which the hundredth part of the rows ends, counted from the worst.
    fn percentile(&self) -> f64 {
        let wanted = self.rows.div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.bins.iter().enumerate().rev() {
            seen += count;
            if seen >= wanted {
                return 1.0 - farther_end(index);
            }
        }
        1.0
    }
}

/// The root of the relative squared error.
pub(super) fn relative_rmse(squared_error: f64, squared_values: f64) -> f64 {
    if squared_error == 0.0 {
        0.0
    } else {
        (squared_error / squared_values).sqrt()
    }
}

/// The squares of the values before and now, their products, and the squared errors.
fn sums(before: &[f32], now: &[f32]) -> [f64; 4] {
    // Some sums side by side are a vector, and always the same.
    let mut sums = [[0.0; LANES]; 4];
    let mut add = |lane: usize, before: f32, now: f32| {
        let (before, now) = (f64::from(before), f64::from(now));
        let error = before - now;
        sums[0][lane] += before * before;
        sums[1][lane] += now * now;
        sums[2][lane] += before * now;
        sums[3][lane] += error * error;
    };
    let (blocks, rest) = before.as_chunks::<LANES>();
    let (now_blocks, now_rest) = now.as_chunks::<LANES>();
    for (before, now) in blocks.iter().zip(now_blocks) {
        for lane in 0..LANES {
            add(lane, before[lane], now[lane]);
        }
    }
    for (lane, (&before, &now)) in rest.iter().zip(now_rest).enumerate() {
        add(lane, before, now);
    }
    sums.map(|lanes| lanes.iter().sum())
}

fn bin(distance: f64) -> usize {
    let octave = distance.max(f64::MIN_POSITIVE).log2() - LEAST_EXPONENT;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a small number, or is made one"
    )]
    let bin = (octave * as_f64(BINS_AN_OCTAVE as u64)).clamp(0.0, as_f64(BINS as u64 - 1)) as usize;
    bin
}

fn farther_end(bin: usize) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    (as_f64(bin as u64 + 1) / as_f64(BINS_AN_OCTAVE as u64) + LEAST_EXPONENT).exp2()
}

#[expect(clippy::cast_precision_loss, reason = "a table has below 2^53 rows")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, to: f64) {
        assert!(
            (found - expected).abs() <= to,
            "{found}, expected {expected}"
        );
    }

    #[test]
    fn columns_are_measured_by_the_definitions() {
        let column = Column {
            index: 0,
            order: 2,
            head: 1,
            first_row: 10,
            row_count: 300,
        };
        let mut measure = Measure::new();
        // Angles from 0 on, in steps of a thousandth: two values of ten are turned.
        let mut squared_error = 0.0;
        for row in 0..300_u16 {
            let angle = f32::from(row) / 1_000.0;
            let mut before = [0.0; 10];
            let mut now = before;
            before[9] = 2.0;
            (now[9], now[3]) = (2.0 * angle.cos(), 2.0 * angle.sin());
            squared_error += f64::from(2.0 - now[9]).powi(2) + f64::from(now[3]).powi(2);
            measure.add(10 + u64::from(row), &before, &now);
        }
        let found = measure.finish(LayerId(4), &column);
        close(found.relative_rmse, (squared_error / 1_200.0).sqrt(), 1e-9);
        close(found.cosine_worst, 0.299_f64.cos(), 1e-6);
        assert_eq!((found.worst_row, found.rows), (309, 300));
        let mean = (0..300)
            .map(|row| (f64::from(row) / 1_000.0).cos())
            .sum::<f64>()
            / 300.0;
        close(found.cosine_mean, mean, 1e-6);
        // Three rows are the hundredth part.
        let p1 = 1.0 - 0.297_f64.cos();
        close(1.0 - found.cosine_p1, p1, 0.011 * p1);
    }

    #[test]
    fn rows_of_zeros_are_like_themselves_and_unlike_others() {
        let column = Column {
            index: 0,
            order: 2,
            head: 0,
            first_row: 0,
            row_count: 2,
        };
        let mut measure = Measure::new();
        measure.add(0, &[0.0; 3], &[0.0; 3]);
        let found = measure.finish(LayerId(0), &column);
        assert_eq!((found.relative_rmse, found.cosine_mean), (0.0, 1.0));
        assert_eq!((found.cosine_p1, found.cosine_worst), (1.0, 1.0));
        measure.add(1, &[0.5, 0.0, 0.0], &[0.0; 3]);
        let found = measure.finish(LayerId(0), &column);
        assert_eq!((found.cosine_mean, found.cosine_worst), (0.5, 0.0));
        assert_eq!((found.relative_rmse, found.worst_row), (1.0, 1));
    }
}
