//! An addressing scheme with every constant written out.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{error::SchemeError, ids::LayerId};

/// The largest n-gram order that a scheme may use.
pub const MAX_ORDER: usize = 8;

/// Columns of a layer.
const MAX_COLUMNS: u64 = 1024;
const MAX_LAYERS: u64 = 1024;
/// Seals carry the layer in 16 bits and the row id in 48.
const LAYER_LIMIT: u32 = 1 << 16;
const ROW_LIMIT: u64 = 1 << 48;
/// Column sizes stay far below the point where a hash could overflow.
pub(super) const BUCKET_LIMIT: u64 = 1 << 36;

/// Checks the numbers from which the size of a scheme follows, before anything of that size is made: those of a scheme
/// of n-grams, the shortest of which have two tokens.
pub(super) fn check_dimensions(
    max_order: u32,
    heads: u32,
    layers: usize,
) -> Result<(), SchemeError> {
    check_range("max_order", max_order, 2..=MAX_ORDER as u64)?;
    check_size(max_order, heads, layers)
}

/// As [`check_dimensions`], of any scheme.
pub(super) fn check_size(max_order: u32, heads: u32, layers: usize) -> Result<(), SchemeError> {
    check_range("max_order", max_order, 1..=MAX_ORDER as u64)?;
    check_range("heads", heads, 1..=MAX_COLUMNS)?;
    let columns = u64::from(heads) * u64::from(orders(max_order));
    check_range("columns", columns, 1..=MAX_COLUMNS)?;
    check_range("layers", layers as u64, 1..=MAX_LAYERS)
}

/// The smallest order that has columns: 1 where there is no other, else 2.
pub(crate) const fn first_order(max_order: u32) -> u32 {
    if max_order < 2 { max_order } else { 2 }
}

/// How many orders have columns.
const fn orders(max_order: u32) -> u32 {
    if max_order < 2 { 1 } else { max_order - 1 }
}

/// Checks that `found` lies in `range`.
pub(super) fn check_range(
    field: &'static str,
    found: impl Into<u64>,
    range: RangeInclusive<u64>,
) -> Result<(), SchemeError> {
    let found = found.into();
    if range.contains(&found) {
        return Ok(());
    }
    Err(SchemeError::Field {
        field,
        found,
        expected: format!("{} to {}", range.start(), range.end()),
    })
}

/// How the n-grams of a model address the rows of its tables.
///
/// Columns lie order-major: order 2 head 0, order 2 head 1, ..., order 3 head 0, and so on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// The model family or model that uses it, for people.
    pub name: String,
    /// Whether token ids pass through a token map before they are hashed.
    pub compressed: bool,
    /// How many different ids can be hashed: the compressed vocabulary, or the raw one.
    pub hashed_vocab_size: u32,
    /// The hashed id that stands for a token before the start of the history.
    pub fill: u32,
    /// Hashed ids that end the history, where the model has such.
    pub boundary: Option<Boundary>,
    /// The largest n-gram order N; orders 2 to N have columns, or order 1 where N is 1.
    pub max_order: u32,
    /// Heads of each order.
    pub heads: u32,
    /// One entry for each layer that has a table, in the model's order.
    pub layers: Vec<LayerScheme>,
}

/// Tokens across which no n-gram reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boundary {
    /// Hashed ids.
    pub tokens: Vec<u32>,
    /// What happens at such a token.
    pub rule: BoundaryRule,
}

/// What a boundary token does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundaryRule {
    /// Its own n-grams look back; those of later tokens reach neither it nor what precedes it.
    EndsHistory,
    /// It is a dead position: its own n-grams are all fill as well.
    Dead,
}

/// The constants of one layer's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerScheme {
    /// The model's id of the layer.
    #[serde(rename = "layer")]
    pub id: LayerId,
    /// How a window becomes a 64-bit hash.
    pub hash: HashRule,
    /// Rows of each column, in column order.
    pub buckets: Vec<u64>,
    /// Rows of the whole table in the checkpoint; rows past the last column are padding.
    pub row_count: u64,
}

/// How a window of hashed ids `w[0]` (newest), `w[1]`, ... becomes a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum HashRule {
    /// Order n hashes to the exclusive or of `w[k] * multipliers[k]` for k < n; the bucket is that
    /// modulo the column's bucket count.
    XorMultiply {
        /// One odd factor for each window place, newest first.
        multipliers: Vec<u64>,
    },
    /// Order n hashes to the sum of `w[k] * (base^k mod buckets)` for k < n, modulo the column's
    /// bucket count.
    Polynomial {
        /// The base, which is the vocabulary size.
        base: u64,
    },
    /// A column of order n hashes to `w[k] * factors[column][k]` for k < n, mixed; the bucket is that modulo the
    /// column's bucket count.
    PerColumn {
        /// How the products become one number.
        mix: Mix,
        /// For each column, in column order, a factor for each token of its n-grams, newest first.
        factors: Vec<Vec<u64>>,
    },
}

/// How the products of ids and factors become a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// Their sum.
    Sum,
    /// Their exclusive or.
    Xor,
}

/// One (order, head) pair of a layer, with its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// 0-based index among the layer's columns.
    pub index: u32,
    /// Tokens in its n-grams.
    pub order: u32,
    /// 0-based index among the hashes of its order.
    pub head: u32,
    /// Row id of its first row.
    pub first_row: u64,
    /// Its number of rows, or buckets.
    pub row_count: u64,
}

impl Scheme {
    /// Columns of each layer: (N - 1) * heads, or as many as heads where N is 1.
    pub fn column_count(&self) -> usize {
        (orders(self.max_order) * self.heads) as usize
    }

    /// The order of the first columns: 2, or 1 where N is 1.
    pub fn first_order(&self) -> u32 {
        first_order(self.max_order)
    }

    /// The order of the columns at `index`.
    pub(crate) fn order_of(&self, index: u32) -> u32 {
        index / self.heads + self.first_order()
    }

    /// The place of `layer` in [`Self::layers`].
    pub fn layer_index(&self, layer: LayerId) -> Option<usize> {
        self.layers.iter().position(|l| l.id == layer)
    }

    /// The columns of the layer at `layer_index`, in table order.
    ///
    /// # Panics
    /// If `layer_index` is not below the number of layers.
    pub fn columns(&self, layer_index: usize) -> impl Iterator<Item = Column> + '_ {
        let mut first_row = 0;
        (0..)
            .zip(&self.layers[layer_index].buckets)
            .map(move |(index, &row_count)| {
                let column = Column {
                    index,
                    order: self.order_of(index),
                    head: index % self.heads,
                    first_row,
                    row_count,
                };
                first_row += row_count;
                column
            })
    }

    /// Checks everything that the hash and the pack rely on.
    ///
    /// # Errors
    /// A field out of its range, or constants with which a hash would overflow.
    pub fn validate(&self) -> Result<(), SchemeError> {
        check_size(self.max_order, self.heads, self.layers.len())?;
        let field = |field, found: u64, expected: String| {
            Err(SchemeError::Field {
                field,
                found,
                expected,
            })
        };
        if self.hashed_vocab_size == 0 || self.hashed_vocab_size == u32::MAX {
            return field(
                "hashed_vocab_size",
                self.hashed_vocab_size.into(),
                format!("1 to {}", u32::MAX - 1),
            );
        }
        let below_vocab = format!("below {}", self.hashed_vocab_size);
        if self.fill >= self.hashed_vocab_size {
            return field("fill", self.fill.into(), below_vocab);
        }
        let boundary = self.boundary.iter().flat_map(|b| &b.tokens);
        if let Some(&token) = boundary.into_iter().find(|&&t| t >= self.hashed_vocab_size) {
            return field("boundary token", token.into(), below_vocab);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if layer.id.0 >= LAYER_LIMIT {
                return field("layer", layer.id.0.into(), format!("below {LAYER_LIMIT}"));
            }
            if self.layer_index(layer.id) != Some(index) {
                return field("layer", layer.id.0.into(), "layers that differ".into());
            }
            self.validate_layer(layer)?;
        }
        Ok(())
    }

    fn validate_layer(&self, layer: &LayerScheme) -> Result<(), SchemeError> {
        let field = |field, found: u64, expected: String| {
            Err(SchemeError::Field {
                field,
                found,
                expected,
            })
        };
        if layer.buckets.len() != self.column_count() {
            return field(
                "buckets",
                layer.buckets.len() as u64,
                format!("one for each of {} columns", self.column_count()),
            );
        }
        let mut sum = 0;
        for &buckets in &layer.buckets {
            if buckets == 0 || buckets >= BUCKET_LIMIT {
                return field(
                    "buckets of a column",
                    buckets,
                    format!("1 to {}", BUCKET_LIMIT - 1),
                );
            }
            // At most 1024 columns below 2^36 each: no overflow.
            sum += buckets;
        }
        if sum > layer.row_count {
            return Err(SchemeError::RowSum {
                layer: layer.id,
                sum,
                row_count: layer.row_count,
            });
        }
        if layer.row_count >= ROW_LIMIT {
            return field("row_count", layer.row_count, format!("below {ROW_LIMIT}"));
        }
        self.validate_hash(layer)
    }

    /// Checks that no hash of `layer`, whose buckets are as they should be, can overflow.
    fn validate_hash(&self, layer: &LayerScheme) -> Result<(), SchemeError> {
        let field = |field, found: u64, expected: String| {
            Err(SchemeError::Field {
                field,
                found,
                expected,
            })
        };
        let largest_id = u64::from(self.hashed_vocab_size - 1);
        let overflow = |factor| {
            Err(SchemeError::HashOverflow {
                layer: layer.id,
                largest_id,
                factor,
            })
        };
        let fits = |factor: u64| {
            let product = largest_id.checked_mul(factor);
            product.is_some_and(|product| i64::try_from(product).is_ok())
        };
        match &layer.hash {
            HashRule::XorMultiply { multipliers } => {
                if multipliers.len() != self.max_order as usize {
                    return field(
                        "multipliers",
                        multipliers.len() as u64,
                        format!("one for each of {} window places", self.max_order),
                    );
                }
                if let Some(&factor) = multipliers.iter().find(|&&factor| !fits(factor)) {
                    return overflow(factor);
                }
            }
            HashRule::Polynomial { base } => {
                if *base == 0 || *base > u64::from(u32::MAX) {
                    return field("base", *base, format!("1 to {}", u32::MAX));
                }
                let factor = layer.buckets.iter().max().copied().unwrap_or(1) - 1;
                let terms = u64::from(self.max_order);
                let sum = largest_id
                    .checked_mul(factor)
                    .and_then(|p| p.checked_mul(terms));
                if sum.is_none() {
                    return overflow(factor);
                }
            }
            HashRule::PerColumn { mix, factors } => {
                if factors.len() != self.column_count() {
                    return field(
                        "lists of factors",
                        factors.len() as u64,
                        format!("one for each of {} columns", self.column_count()),
                    );
                }
                for (column, factors) in (0..).zip(factors) {
                    let order = self.order_of(column);
                    if factors.len() != order as usize {
                        return field(
                            "factors of a column",
                            factors.len() as u64,
                            format!("one for each of the {order} tokens of column {column}"),
                        );
                    }
                    let most = factors.iter().copied().max().unwrap_or(0);
                    let products = factors.iter().map(|&factor| largest_id.checked_mul(factor));
                    let sum = products
                        .reduce(|sum, product| sum?.checked_add(product?))
                        .flatten();
                    let good = match mix {
                        Mix::Sum => sum.is_some(),
                        Mix::Xor => fits(most),
                    };
                    if !good {
                        return overflow(most);
                    }
                }
            }
        }
        Ok(())
    }
}
