//! The published models: their names and the parameters of their schemes, which stand here alone.

use super::{
    derive::{EngramParameters, LongCatParameters, PerLayerParameters, QwenParameters},
    scheme::Scheme,
};
use crate::error::SchemeError;

/// The models whose scheme is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemeName {
    /// `engram_demo_v1`, the authors' demo.
    EngramDemoV1,
    /// DeepSeek-V4.1-Flash.
    DeepSeekV41Flash,
    /// Qwen3.8-Flash-Next.
    Qwen38FlashNext,
    /// LongCat-Flash-Lite.
    LongCatFlashLite,
    /// The LongCat-Lite with a residual stream of 4,096 values.
    LongCatLite4096,
    /// LongCat-2.0.
    LongCat2,
    /// Gemma 3n.
    Gemma3n,
    /// Gemma 4, of the sizes that have per-layer embeddings.
    Gemma4,
}

impl SchemeName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::EngramDemoV1,
        Self::DeepSeekV41Flash,
        Self::Qwen38FlashNext,
        Self::LongCatFlashLite,
        Self::LongCatLite4096,
        Self::LongCat2,
        Self::Gemma3n,
        Self::Gemma4,
    ];

    /// The name used on command lines and in packs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EngramDemoV1 => "engram-demo-v1",
            Self::DeepSeekV41Flash => "deepseek-v4.1-flash",
            Self::Qwen38FlashNext => "qwen3.8-flash-next",
            Self::LongCatFlashLite => "longcat-flash-lite",
            Self::LongCatLite4096 => "longcat-lite-4096",
            Self::LongCat2 => "longcat-2.0",
            Self::Gemma3n => "gemma-3n",
            Self::Gemma4 => "gemma-4",
        }
    }

    /// The published scheme of the full-size model.
    #[expect(clippy::missing_panics_doc, reason = "a test derives all of them")]
    pub fn scheme(self) -> Scheme {
        let scheme = match self {
            Self::EngramDemoV1 => EngramParameters::engram_demo_v1().scheme(),
            Self::DeepSeekV41Flash => EngramParameters::deepseek_v41_flash().scheme(),
            Self::Qwen38FlashNext => QwenParameters::qwen38_flash_next().scheme(),
            Self::LongCatFlashLite => LongCatParameters::longcat_flash_lite().scheme(),
            Self::LongCatLite4096 => LongCatParameters::longcat_lite_4096().scheme(),
            Self::LongCat2 => LongCatParameters::longcat_2().scheme(),
            Self::Gemma3n => PerLayerParameters::gemma_3n().scheme(),
            Self::Gemma4 => PerLayerParameters::gemma_4().scheme(),
        };
        scheme.expect("published parameters are valid")
    }
}

impl EngramParameters {
    /// The parameters of `engram_demo_v1`.
    pub fn engram_demo_v1() -> Self {
        Self {
            name: SchemeName::EngramDemoV1.as_str().into(),
            layers: vec![1, 15],
            heads: 8,
            bucket_starts: vec![646_400; 2],
            compressed_vocab_size: 98_627,
            pad: 2,
            seed: 0,
        }
    }

    /// The parameters of DeepSeek-V4.1-Flash.
    pub fn deepseek_v41_flash() -> Self {
        Self {
            name: SchemeName::DeepSeekV41Flash.as_str().into(),
            layers: vec![1, 14],
            heads: 8,
            bucket_starts: vec![16_000_000; 3],
            compressed_vocab_size: 99_092,
            pad: 2,
            seed: 0,
        }
    }
}

impl QwenParameters {
    /// The parameters of Qwen3.8-Flash-Next.
    pub fn qwen38_flash_next() -> Self {
        Self {
            name: SchemeName::Qwen38FlashNext.as_str().into(),
            layers: vec![1],
            max_order: 3,
            heads: 8,
            bucket_start: 20_000_000,
            row_multiple: 128,
            vocab_size: 248_320,
            eos: 248_044,
            seed: 1_234,
        }
    }
}

impl LongCatParameters {
    /// The parameters of LongCat-Flash-Lite.
    pub fn longcat_flash_lite() -> Self {
        Self {
            name: SchemeName::LongCatFlashLite.as_str().into(),
            max_order: 4,
            heads: 4,
            bucket_base: 78 * 131_072,
            vocab_size: 131_072,
            ignored: vec![2],
        }
    }

    /// The parameters of the LongCat-Lite whose residual stream has 4,096 values: 59.604 times its vocabulary, rounded
    /// down, and a scope of tokens that read the first row of each column.
    pub fn longcat_lite_4096() -> Self {
        let scope = [0..4, 36..55].into_iter().flatten();
        let others = scope.filter(|&token| token != 2);
        Self {
            name: SchemeName::LongCatLite4096.as_str().into(),
            max_order: 5,
            heads: 4,
            bucket_base: 9_765_519,
            vocab_size: 163_840,
            // The end-of-sequence token comes first, as the configuration of any LongCat names it first.
            ignored: [2].into_iter().chain(others).collect(),
        }
    }

    /// The parameters of LongCat-2.0: 100.567 times its vocabulary, rounded down.
    pub fn longcat_2() -> Self {
        Self {
            name: SchemeName::LongCat2.as_str().into(),
            max_order: 5,
            heads: 4,
            bucket_base: 16_476_897,
            vocab_size: 163_840,
            ignored: vec![2, 3],
        }
    }
}

impl PerLayerParameters {
    /// The parameters of Gemma 3n, of all its sizes.
    pub fn gemma_3n() -> Self {
        Self {
            name: SchemeName::Gemma3n.as_str().into(),
            vocab_size: 262_144,
            pad: 0,
        }
    }

    /// The parameters of Gemma 4, of the sizes that have per-layer embeddings.
    pub fn gemma_4() -> Self {
        Self {
            name: SchemeName::Gemma4.as_str().into(),
            ..Self::gemma_3n()
        }
    }
}

impl std::str::FromStr for SchemeName {
    type Err = SchemeError;

    fn from_str(name: &str) -> Result<Self, SchemeError> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| SchemeError::UnknownName {
                name: name.into(),
                known: Self::ALL.map(Self::as_str).join(", "),
            })
    }
}
