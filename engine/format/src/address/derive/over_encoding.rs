//! N-gram embeddings of research models, whose constants a file gives.

use serde::{Deserialize, Serialize};

use super::common::validated;
use crate::{
    address::{
        powers::powers,
        primes::PrimePool,
        scheme::{
            BUCKET_LIMIT, Boundary, HashRule, LayerScheme, Mix, Scheme, check_dimensions,
            check_range,
        },
    },
    error::SchemeError,
    ids::LayerId,
};

/// An over-encoding as the papers on over-tokenized transformers have it: polynomial hashes of n-grams, or others,
/// modulo sizes of each column's own.
///
/// It is read from JSON:
///
/// ```
/// use engram_format::OverEncodingParameters;
///
/// let json = r#"{"name": "my-model", "vocab_size": 50257, "max_order": 3, "heads": 2, "layers": [
///     {"layer": 0, "sizes": {"primes_from": 1000}, "hash": {"rule": "polynomial", "bases": [50257]}}]}"#;
/// let scheme = serde_json::from_str::<OverEncodingParameters>(json)?.scheme()?;
/// assert_eq!(scheme.layers[0].buckets, [1009, 1013, 1019, 1021]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverEncodingParameters {
    /// Name of the scheme.
    pub name: String,
    /// Whether token ids pass through a token map before they are hashed.
    #[serde(default)]
    pub compressed: bool,
    /// How many different ids can be hashed: the raw vocabulary, or the compressed one.
    pub vocab_size: u32,
    /// The hashed id that stands for a token before the start of the history.
    #[serde(default)]
    pub fill: u32,
    /// Hashed ids that end the history.
    #[serde(default)]
    pub boundary: Option<Boundary>,
    /// Largest n-gram order, from 2 on.
    pub max_order: u32,
    /// Hashes of each order.
    pub heads: u32,
    /// The table of each layer that has one.
    pub layers: Vec<OverEncodingLayer>,
}

/// The table of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverEncodingLayer {
    /// The model's 0-based id of the layer; 0 for an input embedding.
    pub layer: u32,
    /// Rows of the columns.
    pub sizes: OverEncodingSizes,
    /// How an n-gram becomes a number, which is taken modulo the size.
    pub hash: OverEncodingHash,
}

/// Rows of the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverEncodingSizes {
    /// Ascending primes from this number on, no prime twice in a model.
    PrimesFrom(u64),
    /// This number plus 1, 3, 5, ...
    OddAbove(u64),
    /// These, in column order.
    Each(Vec<u64>),
}

/// How an n-gram becomes a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum OverEncodingHash {
    /// Ids, newest first, times 1, b, b^2, ..., each power modulo the column's size.
    Polynomial {
        /// The base b of all columns, of each head, or of each column.
        bases: Vec<u64>,
        /// How the products are mixed: their sum, if nothing is said.
        #[serde(default = "sum")]
        mix: Mix,
    },
    /// As [`HashRule::XorMultiply`].
    XorMultiply {
        /// One factor for each window place, newest first.
        multipliers: Vec<u64>,
    },
    /// As [`HashRule::PerColumn`].
    PerColumn {
        /// How the products are mixed.
        mix: Mix,
        /// For each column, a factor for each token of its n-grams, newest first.
        factors: Vec<Vec<u64>>,
    },
}

fn sum() -> Mix {
    Mix::Sum
}

impl OverEncodingParameters {
    /// Derives all constants.
    ///
    /// # Errors
    /// Parameters from which no valid scheme follows.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        check_dimensions(self.max_order, self.heads, self.layers.len())?;
        let columns = ((self.max_order - 1) * self.heads) as usize;
        let mut pool = PrimePool::default();
        let layers = self.layers.iter().map(|layer| {
            let buckets = layer.sizes.buckets(columns, &mut pool)?;
            Ok(LayerScheme {
                id: LayerId(layer.layer),
                hash: layer.hash.rule(&buckets, self.heads)?,
                // Whatever the sizes, there are at most 1,024 of them.
                row_count: buckets
                    .iter()
                    .fold(0, |sum: u64, &rows| sum.saturating_add(rows)),
                buckets,
            })
        });
        validated(Scheme {
            name: self.name.clone(),
            compressed: self.compressed,
            hashed_vocab_size: self.vocab_size,
            fill: self.fill,
            boundary: self.boundary.clone(),
            max_order: self.max_order,
            heads: self.heads,
            layers: layers.collect::<Result<_, SchemeError>>()?,
        })
    }
}

impl OverEncodingSizes {
    fn buckets(&self, columns: usize, pool: &mut PrimePool) -> Result<Vec<u64>, SchemeError> {
        match *self {
            Self::PrimesFrom(start) => {
                check_range("primes_from", start, 1..=BUCKET_LIMIT / 2)?;
                Ok(pool.take(start, columns))
            }
            Self::OddAbove(base) => {
                check_range("odd_above", base, 0..=BUCKET_LIMIT / 2)?;
                Ok((0..columns as u64).map(|i| base + 2 * i + 1).collect())
            }
            Self::Each(ref sizes) => {
                if sizes.len() != columns {
                    return Err(SchemeError::Field {
                        field: "sizes",
                        found: sizes.len() as u64,
                        expected: format!("{columns}, one for each column"),
                    });
                }
                // What follows divides by them.
                for &size in sizes {
                    check_range("size of a column", size, 1..=BUCKET_LIMIT - 1)?;
                }
                Ok(sizes.clone())
            }
        }
    }
}

impl OverEncodingHash {
    /// The rule for columns with these sizes.
    fn rule(&self, buckets: &[u64], heads: u32) -> Result<HashRule, SchemeError> {
        match self {
            Self::XorMultiply { multipliers } => Ok(HashRule::XorMultiply {
                multipliers: multipliers.clone(),
            }),
            Self::PerColumn { mix, factors } => Ok(HashRule::PerColumn {
                mix: *mix,
                factors: factors.clone(),
            }),
            Self::Polynomial { bases, mix } => polynomial(bases, *mix, buckets, heads),
        }
    }
}

fn polynomial(
    bases: &[u64],
    mix: Mix,
    buckets: &[u64],
    heads: u32,
) -> Result<HashRule, SchemeError> {
    if let &[base] = bases
        && mix == Mix::Sum
        && u32::try_from(base).is_ok()
    {
        return Ok(HashRule::Polynomial { base });
    }
    let heads = heads as usize;
    let is_one_of = |count: usize| bases.len() == count;
    if !is_one_of(1) && !is_one_of(heads) && !is_one_of(buckets.len()) {
        return Err(SchemeError::Field {
            field: "bases",
            found: bases.len() as u64,
            expected: format!(
                "one, one for each of {heads} heads, or one for each of {} columns",
                buckets.len()
            ),
        });
    }
    let factors = (0_usize..).zip(buckets).map(|(column, &rows)| {
        let order = u32::try_from(column / heads + 2).expect("a scheme has few orders");
        powers(bases[column % bases.len()], rows, order)
    });
    Ok(HashRule::PerColumn {
        mix,
        factors: factors.collect(),
    })
}
