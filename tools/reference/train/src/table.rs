//! Trainable tables: rows in memory, of which a step changes those it reads.

use candle_core::{Device, Result, Tensor};
use engram::{RowId, Scheme};
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Normal};

use crate::adam::{Update, update_row};

/// Standard deviation of initial rows.
const DEVIATION: f32 = 0.02;

/// The rows of one layer, and the moments by which they are updated.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainableTable {
    pub(crate) width: usize,
    /// `[rows][width]`.
    pub(crate) values: Vec<f32>,
    /// The mean gradient of each value.
    pub(crate) first: Vec<f32>,
    /// The mean squared gradient of each value.
    pub(crate) second: Vec<f32>,
    /// How often each row has been updated.
    pub(crate) updates: Vec<u32>,
}

/// The different rows that some tokens read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    /// In order.
    pub(crate) rows: Vec<u64>,
    /// The place in `rows` of each row that was asked for.
    pub(crate) places: Vec<u32>,
}

impl Touched {
    pub(crate) fn new(ids: &[RowId]) -> Self {
        let mut rows: Vec<u64> = ids.iter().map(|id| id.0).collect();
        rows.sort_unstable();
        rows.dedup();
        let place = |id: &RowId| rows.partition_point(|&row| row < id.0);
        let places = ids
            .iter()
            .map(|id| u32::try_from(place(id)).expect("rows of a batch are few"));
        Self {
            places: places.collect(),
            rows,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rows are in memory")]
impl TrainableTable {
    /// The tables of `scheme`, whose rows have `width` values; the same for the same `seed`.
    pub(crate) fn fresh(scheme: &Scheme, width: usize, seed: u64) -> Vec<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let normal = Normal::new(0.0, DEVIATION).expect("a finite deviation");
        let tables = scheme.layers.iter().map(|layer| {
            let rows = layer.row_count as usize;
            let values: Vec<f32> = normal.sample_iter(&mut random).take(rows * width).collect();
            Self {
                width,
                first: vec![0.0; values.len()],
                second: vec![0.0; values.len()],
                updates: vec![0; rows],
                values,
            }
        });
        tables.collect()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.updates.len()
    }

    /// The number of rows that have been updated.
    pub fn touched(&self) -> usize {
        self.updates.iter().filter(|&&updates| updates > 0).count()
    }

    /// The number of values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values, `[rows][width]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows at `rows` as a tensor, `[rows, width]`.
    pub(crate) fn gather(&self, rows: &[u64], device: &Device) -> Result<Tensor> {
        let mut values = Vec::with_capacity(rows.len() * self.width);
        for &row in rows {
            values.extend_from_slice(&self.values[row as usize * self.width..][..self.width]);
        }
        Tensor::from_vec(values, (rows.len(), self.width), device)
    }

    /// Updates the rows at `rows`, which must be different ones, by their gradients, `[rows][width]`.
    pub(crate) fn update(&mut self, rows: &[u64], gradients: &[f32], update: Update) {
        for (&row, gradient) in rows.iter().zip(gradients.chunks_exact(self.width)) {
            let place = row as usize * self.width..(row as usize + 1) * self.width;
            let updates = &mut self.updates[row as usize];
            *updates += 1;
            let moments = [
                &mut self.first[place.clone()],
                &mut self.second[place.clone()],
            ];
            update_row(&mut self.values[place], moments, *updates, gradient, update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_again_by_their_places() {
        let ids = [7, 3, 7, 90, 3].map(RowId);
        let touched = Touched::new(&ids);
        assert_eq!(touched.rows, [3, 7, 90]);
        assert_eq!(touched.places, [1, 0, 1, 2, 0]);
    }
}
