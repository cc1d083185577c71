//! The families of schemes: how a model derives its constants from its configuration.

use super::{
    LayerId,
    pcg64::Pcg64,
    primes::PrimePool,
    scheme::{
        BUCKET_LIMIT, Boundary, BoundaryRule, HashRule, LayerScheme, MAX_LAYERS, MAX_ORDER, Scheme,
    },
};
use crate::error::SchemeError;

/// Distance between the seeds of two layers.
const LAYER_SEED_STEP: u64 = 10_007;
/// 2^64 divided by the golden ratio, the step of splitmix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Engram as its authors define it: the demo of January 2026 and DeepSeek-V4.1-Flash.
///
/// Multipliers come from `NumPy`'s PCG64 seeded with `seed + 10007 * layer`; bucket counts are
/// distinct primes over the whole model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngramFamily {
    /// Name of the scheme.
    pub name: String,
    /// 0-based ids of the layers with a table.
    pub layers: Vec<u32>,
    /// Heads of each order.
    pub heads: u32,
    /// Where the search for primes starts, for orders 2, 3, ...
    pub bucket_starts: Vec<u64>,
    /// Size of the compressed vocabulary.
    pub compressed_vocab_size: u32,
    /// Compressed id of the pad token.
    pub pad: u32,
    /// Base seed.
    pub seed: u64,
}

/// The n-gram embedding of Qwen3.8-Flash-Next (`qwen4_exp`): raw ids, splitmix64, one bucket start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QwenFamily {
    /// Name of the scheme.
    pub name: String,
    /// 0-based ids of the layers with a table.
    pub layers: Vec<u32>,
    /// Largest n-gram order.
    pub max_order: u32,
    /// Heads of each order.
    pub heads: u32,
    /// Where the search for primes starts.
    pub bucket_start: u64,
    /// Row counts are rounded up to a multiple of this.
    pub row_multiple: u64,
    /// Raw vocabulary size.
    pub vocab_size: u32,
    /// End-of-sequence token, which bounds and fills the history.
    pub eos: u32,
    /// Base seed.
    pub seed: u64,
}

/// The n-gram input embedding of LongCat-Flash-Lite: polynomial hashes modulo consecutive odd sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongCatFamily {
    /// Name of the scheme.
    pub name: String,
    /// Largest n-gram order (`emb_neighbor_num`).
    pub max_order: u32,
    /// Hashes of each order (`emb_split_num`).
    pub heads: u32,
    /// The bucket counts are this plus 1, 3, 5, ...
    pub bucket_base: u64,
    /// Raw vocabulary size.
    pub vocab_size: u32,
    /// Tokens that read no n-gram rows and end the history, as `SGLang` and `vLLM` treat them.
    pub ignored: Vec<u32>,
}

impl EngramFamily {
    /// Derives all constants.
    ///
    /// # Errors
    /// Parameters from which no valid scheme follows.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        let max_order = u32::try_from(self.bucket_starts.len() + 1).unwrap_or(u32::MAX);
        checked("max_order", max_order.into(), 2, MAX_ORDER as u64)?;
        checked("layers", self.layers.len() as u64, 1, MAX_LAYERS as u64)?;
        for &start in &self.bucket_starts {
            checked("bucket start", start, 1, BUCKET_LIMIT / 2)?;
        }
        checked("heads", self.heads.into(), 1, 1024)?;
        let half = half_range(self.compressed_vocab_size)?;
        // Below that, NumPy draws from 32-bit halves, which no model needs.
        checked("range of the multipliers", half, (1 << 32) + 1, u64::MAX)?;

        let mut pool = PrimePool::default();
        let layers = self.layers.iter().map(|&layer| {
            let seed = LAYER_SEED_STEP
                .wrapping_mul(layer.into())
                .wrapping_add(self.seed);
            let mut rng = Pcg64::new(seed);
            let multipliers = (0..max_order).map(|_| 2 * rng.below(half) + 1).collect();
            let starts = self.bucket_starts.iter();
            let buckets: Vec<u64> = starts
                .flat_map(|&start| pool.take(start, self.heads as usize))
                .collect();
            LayerScheme {
                id: LayerId(layer),
                hash: HashRule::XorMultiply { multipliers },
                row_count: buckets.iter().sum(),
                buckets,
            }
        });
        valid(Scheme {
            name: self.name.clone(),
            compressed: true,
            hashed_vocab_size: self.compressed_vocab_size,
            fill: self.pad,
            boundary: None,
            max_order,
            heads: self.heads,
            layers: layers.collect(),
        })
    }
}

impl QwenFamily {
    /// Derives all constants.
    ///
    /// # Errors
    /// Parameters from which no valid scheme follows.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        checked("max_order", self.max_order.into(), 2, MAX_ORDER as u64)?;
        checked("layers", self.layers.len() as u64, 1, MAX_LAYERS as u64)?;
        checked("bucket start", self.bucket_start, 1, BUCKET_LIMIT / 2)?;
        checked("row multiple", self.row_multiple, 1, BUCKET_LIMIT)?;
        checked("heads", self.heads.into(), 1, 1024)?;
        let half = half_range(self.vocab_size)?;
        let columns = (self.max_order as usize - 1) * self.heads as usize;

        let mut pool = PrimePool::default();
        let layers = (0_u64..).zip(&self.layers).map(|(index, &layer)| {
            let base = LAYER_SEED_STEP.wrapping_mul(index).wrapping_add(self.seed);
            let draw = |place: u64| splitmix64(GOLDEN.wrapping_mul(place + 1).wrapping_add(base));
            let multipliers =
                (0..u64::from(self.max_order)).map(|place| 2 * (draw(place) % half) + 1);
            let buckets = pool.take(self.bucket_start, columns);
            LayerScheme {
                id: LayerId(layer),
                hash: HashRule::XorMultiply {
                    multipliers: multipliers.collect(),
                },
                row_count: buckets
                    .iter()
                    .sum::<u64>()
                    .next_multiple_of(self.row_multiple),
                buckets,
            }
        });
        valid(Scheme {
            name: self.name.clone(),
            compressed: false,
            hashed_vocab_size: self.vocab_size,
            fill: self.eos,
            boundary: Some(Boundary {
                tokens: vec![self.eos],
                rule: BoundaryRule::EndsHistory,
            }),
            max_order: self.max_order,
            heads: self.heads,
            layers: layers.collect(),
        })
    }
}

impl LongCatFamily {
    /// Derives all constants. The table replaces the input embedding, so its layer is 0.
    ///
    /// # Errors
    /// Parameters from which no valid scheme follows.
    pub fn scheme(&self) -> Result<Scheme, SchemeError> {
        checked("max_order", self.max_order.into(), 2, MAX_ORDER as u64)?;
        checked("bucket base", self.bucket_base, 1, BUCKET_LIMIT / 2)?;
        checked("heads", self.heads.into(), 1, 128)?;
        let columns = u64::from(self.max_order - 1) * u64::from(self.heads);
        let buckets: Vec<u64> = (0..columns).map(|i| self.bucket_base + 2 * i + 1).collect();
        valid(Scheme {
            name: self.name.clone(),
            compressed: false,
            hashed_vocab_size: self.vocab_size,
            // Token 0 adds nothing to the sum.
            fill: 0,
            boundary: Some(Boundary {
                tokens: self.ignored.clone(),
                rule: BoundaryRule::Dead,
            }),
            max_order: self.max_order,
            heads: self.heads,
            layers: vec![LayerScheme {
                id: LayerId(0),
                hash: HashRule::Polynomial {
                    base: self.vocab_size.into(),
                },
                row_count: buckets.iter().sum(),
                buckets,
            }],
        })
    }
}

/// The models whose scheme is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresetName {
    /// `engram_demo_v1`, the authors' demo.
    EngramDemoV1,
    /// DeepSeek-V4.1-Flash.
    DeepSeekV41Flash,
    /// Qwen3.8-Flash-Next.
    Qwen38FlashNext,
    /// LongCat-Flash-Lite.
    LongCatFlashLite,
}

impl PresetName {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::EngramDemoV1,
        Self::DeepSeekV41Flash,
        Self::Qwen38FlashNext,
        Self::LongCatFlashLite,
    ];

    /// The name used on command lines and in packs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EngramDemoV1 => "engram-demo-v1",
            Self::DeepSeekV41Flash => "deepseek-v4.1-flash",
            Self::Qwen38FlashNext => "qwen3.8-flash-next",
            Self::LongCatFlashLite => "longcat-flash-lite",
        }
    }

    /// The published scheme of the full-size model.
    #[expect(clippy::missing_panics_doc, reason = "a test derives all of them")]
    pub fn scheme(self) -> Scheme {
        let name = self.as_str().to_owned();
        let scheme = match self {
            Self::EngramDemoV1 => EngramFamily {
                name,
                layers: vec![1, 15],
                heads: 8,
                bucket_starts: vec![646_400; 2],
                compressed_vocab_size: 98_627,
                pad: 2,
                seed: 0,
            }
            .scheme(),
            Self::DeepSeekV41Flash => EngramFamily {
                name,
                layers: vec![1, 14],
                heads: 8,
                bucket_starts: vec![16_000_000; 3],
                compressed_vocab_size: 99_092,
                pad: 2,
                seed: 0,
            }
            .scheme(),
            Self::Qwen38FlashNext => QwenFamily {
                name,
                layers: vec![1],
                max_order: 3,
                heads: 8,
                bucket_start: 20_000_000,
                row_multiple: 128,
                vocab_size: 248_320,
                eos: 248_044,
                seed: 1234,
            }
            .scheme(),
            Self::LongCatFlashLite => LongCatFamily {
                name,
                max_order: 4,
                heads: 4,
                bucket_base: 78 * 131_072,
                vocab_size: 131_072,
                ignored: vec![2],
            }
            .scheme(),
        };
        scheme.expect("published constants are valid")
    }
}

impl std::str::FromStr for PresetName {
    type Err = SchemeError;

    fn from_str(name: &str) -> Result<Self, SchemeError> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.as_str() == name)
            .ok_or_else(|| SchemeError::UnknownName { name: name.into() })
    }
}

fn valid(scheme: Scheme) -> Result<Scheme, SchemeError> {
    scheme.validate()?;
    Ok(scheme)
}

/// Half of the largest multiplier with which no id of the vocabulary overflows an i64.
fn half_range(vocab_size: u32) -> Result<u64, SchemeError> {
    checked(
        "vocabulary size",
        vocab_size.into(),
        1,
        u64::from(u32::MAX) - 1,
    )?;
    Ok((i64::MAX as u64 / u64::from(vocab_size) / 2).max(1))
}

fn checked(field: &'static str, found: u64, least: u64, most: u64) -> Result<(), SchemeError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(SchemeError::Field {
            field,
            found,
            expected: format!("{least} to {most}"),
        })
    }
}

/// The output function of splitmix64 (Steele, Lea and Flood, 2014) after one step from `state`.
fn splitmix64(state: u64) -> u64 {
    let v = state.wrapping_add(GOLDEN);
    let v = (v ^ (v >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let v = (v ^ (v >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    v ^ (v >> 31)
}
