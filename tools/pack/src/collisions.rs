//! Which n-grams of a text share their rows.

use engram::{Hasher, LayerId, Profile, RowId};
use serde::Serialize;

/// N-grams that are named of a shared row.
const NAMED_NGRAMS: usize = 4;

/// The rows that different n-grams of a text share.
#[derive(Debug, Clone, Serialize)]
pub struct CollisionReport {
    /// Tokens of the text.
    pub tokens: u64,
    /// Each order of each layer.
    pub orders: Vec<OrderCollisions>,
    /// The rows that most n-grams share, most first.
    pub shared_rows: Vec<SharedRow>,
    /// The n-grams that would gain most from an exact entry in an overlay, most first.
    pub suggested: Vec<SuggestedNGram>,
}

/// The n-grams of one order, in the table of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct OrderCollisions {
    /// The layer.
    pub layer: LayerId,
    /// Tokens in each n-gram.
    pub order: usize,
    /// Different n-grams.
    pub ngrams: usize,
    /// Those that share the rows of all heads with another, so that no row tells the two apart.
    pub alike: usize,
    /// How many of these there would be if every head hashed at random.
    pub alike_expected: f64,
    /// Each head.
    pub heads: Vec<ColumnCollisions>,
}

/// The n-grams of one order, in one column.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnCollisions {
    /// The head.
    pub head: usize,
    /// Rows of the column.
    pub rows: u64,
    /// Rows that the text reads.
    pub rows_read: usize,
    /// N-grams whose row another n-gram of the text reads, too.
    pub sharing: usize,
    /// How many of these there would be if n-grams were hashed at random.
    pub sharing_expected: f64,
    /// Tokens of the text that read such a row.
    pub sharing_tokens: u64,
}

/// A row that several n-grams read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedRow {
    /// The layer.
    pub layer: LayerId,
    /// Tokens in each n-gram.
    pub order: usize,
    /// The head.
    pub head: usize,
    /// The row.
    pub row: RowId,
    /// Different n-grams that read it.
    pub ngrams: usize,
    /// Tokens of the text that read it.
    pub tokens: u64,
    /// The most frequent of the n-grams: ids as they are hashed, newest first.
    pub most_frequent: Vec<Vec<u32>>,
}

/// An n-gram whose rows others read much.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SuggestedNGram {
    /// Ids as they are hashed, newest first.
    pub ngram: Vec<u32>,
    /// Tokens of the text that end it.
    pub tokens: u64,
    /// The share of the reads of its rows that are of other n-grams, over all heads and layers.
    pub foreign: f64,
}

impl SuggestedNGram {
    /// Reads that get a row which is shaped more by others the greater it is.
    fn gain(&self) -> f64 {
        approximate(self.tokens) * self.foreign
    }
}

/// Counts what the n-grams of `profile` share, of which all should be kept; `most` shared rows and n-grams are named.
pub fn collisions(hasher: &Hasher, profile: &Profile, most: usize) -> CollisionReport {
    let mut report = CollisionReport {
        tokens: profile.tokens(),
        orders: Vec::new(),
        shared_rows: Vec::new(),
        suggested: Vec::new(),
    };
    let layers = hasher.scheme().layers.len();
    for counts in profile.orders() {
        let ngrams: Vec<(&[u32], u64)> = counts.iter().collect();
        let mut foreign = vec![0.0; ngrams.len()];
        for layer in 0..layers {
            let order = Order {
                hasher,
                layer,
                ngrams: &ngrams,
            };
            report
                .orders
                .push(order.count(most, &mut report.shared_rows, &mut foreign));
        }
        let columns = approximate((layers * hasher.scheme().heads as usize) as u64);
        let suggested = ngrams
            .iter()
            .zip(foreign)
            .map(|(&(ngram, tokens), foreign)| SuggestedNGram {
                ngram: ngram.to_vec(),
                tokens,
                foreign: foreign / columns,
            });
        report
            .suggested
            .extend(suggested.filter(|ngram| ngram.foreign > 0.0));
        report
            .suggested
            .sort_by(|a, b| b.gain().total_cmp(&a.gain()));
        report.suggested.truncate(most);
    }
    report
        .orders
        .sort_by_key(|order| hasher.scheme().layer_index(order.layer));
    report
}

/// The n-grams of one order with their counts, most frequent first, in the table of one layer.
struct Order<'a> {
    hasher: &'a Hasher,
    /// Index of the layer.
    layer: usize,
    ngrams: &'a [(&'a [u32], u64)],
}

impl Order<'_> {
    /// Adds the rows that most n-grams share to `shared`, and to `foreign`, for each n-gram, the share of the reads of
    /// its row that are of others.
    fn count(
        &self,
        most: usize,
        shared: &mut Vec<SharedRow>,
        foreign: &mut [f64],
    ) -> OrderCollisions {
        let scheme = self.hasher.scheme();
        let layer = scheme.layers[self.layer].id;
        let order = self.ngrams.first().map_or(2, |(ngram, _)| ngram.len());
        let columns: Vec<_> = scheme.columns(self.layer).collect();
        let columns = columns
            .iter()
            .filter(|column| column.order as usize == order);
        // Of each n-gram, the rows of all heads before this one, as a number of their own.
        let mut alike = vec![0_usize; self.ngrams.len()];
        let mut all_rows = 1.0;
        let mut heads = Vec::new();
        for column in columns {
            let rows = self.ngrams.iter().map(|(ngram, _)| {
                self.hasher
                    .ngram_row(self.layer, column.index as usize, ngram)
            });
            let mut by_row: Vec<(RowId, usize)> = rows.zip(0..).collect();
            let rows: Vec<RowId> = by_row.iter().map(|&(row, _)| row).collect();
            by_row.sort_unstable();
            let mut found = ColumnCollisions {
                head: column.head as usize,
                rows: column.row_count,
                rows_read: 0,
                sharing: 0,
                sharing_expected: sharing_expected(
                    self.ngrams.len(),
                    approximate(column.row_count),
                ),
                sharing_tokens: 0,
            };
            for group in by_row.chunk_by(|a, b| a.0 == b.0) {
                found.rows_read += 1;
                let tokens: u64 = group.iter().map(|&(_, index)| self.ngrams[index].1).sum();
                if group.len() == 1 {
                    continue;
                }
                found.sharing += group.len();
                found.sharing_tokens += tokens;
                for &(_, index) in group {
                    let own = self.ngrams[index].1;
                    foreign[index] += approximate(tokens - own) / approximate(tokens);
                }
                // Ends with the least, once there are enough.
                let worst = shared.last().filter(|_| shared.len() >= most);
                if worst.is_none_or(|worst| (group.len(), tokens) > (worst.ngrams, worst.tokens)) {
                    let named = group.iter().take(NAMED_NGRAMS);
                    shared.push(SharedRow {
                        layer,
                        order,
                        head: column.head as usize,
                        row: group[0].0,
                        ngrams: group.len(),
                        tokens,
                        most_frequent: named
                            .map(|&(_, index)| self.ngrams[index].0.to_vec())
                            .collect(),
                    });
                    shared.sort_by_key(|row| std::cmp::Reverse((row.ngrams, row.tokens)));
                    shared.truncate(most);
                }
            }
            heads.push(found);
            all_rows *= approximate(column.row_count);
            number(&mut alike, &rows);
        }
        let mut of_number = vec![0; self.ngrams.len()];
        alike.iter().for_each(|&number| of_number[number] += 1);
        OrderCollisions {
            layer,
            order,
            ngrams: self.ngrams.len(),
            alike: of_number.into_iter().filter(|&ngrams| ngrams > 1).sum(),
            alike_expected: sharing_expected(self.ngrams.len(), all_rows),
            heads,
        }
    }
}

/// Numbers n-grams anew, so that two have one number where they had one and also the same of `rows`.
fn number(numbers: &mut [usize], rows: &[RowId]) {
    let keys = numbers
        .iter()
        .zip(rows)
        .map(|(&number, &row)| (number, row));
    let mut keys: Vec<_> = keys.zip(0..).collect();
    keys.sort_unstable();
    for (number, group) in keys.chunk_by(|a, b| a.0 == b.0).enumerate() {
        group.iter().for_each(|&(_, index)| numbers[index] = number);
    }
}

/// Of `ngrams` that fall on `rows` rows at random, how many share theirs with another: each shares it unless all others
/// fall elsewhere.
fn sharing_expected(ngrams: usize, rows: f64) -> f64 {
    let ngrams = approximate(ngrams as u64);
    let others = (ngrams - 1.0).max(0.0);
    // 1 - (1 - 1 / rows) ^ others, without loss where rows are many.
    ngrams * -(others * (-1.0 / rows).ln_1p()).exp_m1()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn approximate(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birthdays_are_as_in_the_textbook() {
        // Of 23 people in 365 days, 23 * (1 - (364/365)^22) share their birthday.
        let expected = 23.0 * (1.0 - (364.0_f64 / 365.0).powi(22));
        assert!((sharing_expected(23, 365.0) - expected).abs() < 1e-9);
        assert_eq!(sharing_expected(0, 10.0), 0.0);
        assert_eq!(sharing_expected(1, 10.0), 0.0);
        assert!((sharing_expected(2, 1.0) - 2.0).abs() < 1e-9);
        // A million n-grams in 10^40 rows: some 10^-28, not nothing.
        let few = sharing_expected(1_000_000, 1e40);
        assert!((few / 1e-28 - 1.0).abs() < 1e-3, "{few}");
    }
}
