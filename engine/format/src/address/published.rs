//! The published models: their names and the parameters of their schemes, which stand here alone.

use super::{
    derive::{EngramParameters, LongCatParameters, QwenParameters},
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
}

impl SchemeName {
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
        let scheme = match self {
            Self::EngramDemoV1 => EngramParameters::engram_demo_v1().scheme(),
            Self::DeepSeekV41Flash => EngramParameters::deepseek_v41_flash().scheme(),
            Self::Qwen38FlashNext => QwenParameters::qwen38_flash_next().scheme(),
            Self::LongCatFlashLite => LongCatParameters::longcat_flash_lite().scheme(),
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
