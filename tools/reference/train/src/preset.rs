//! Recipes for models of some sizes.

use crate::{EngramRecipe, Recipe};

/// A recipe by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// A minute on one core, for studies of many trainings.
    Study,
    /// Minutes on two cores.
    Tiny,
    /// For some cores and hours; not trained yet.
    Small,
    /// For a GPU. Not trained yet.
    Base,
}

impl Preset {
    /// All of them, the smallest first.
    pub const ALL: [Self; 4] = [Self::Study, Self::Tiny, Self::Small, Self::Base];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Study => "study",
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Base => "base",
        }
    }

    /// The one called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// Its recipe.
    pub fn recipe(self) -> Recipe {
        match self {
            Self::Tiny => tiny(),
            Self::Study => Recipe {
                vocabulary: 1024,
                hidden: 64,
                latent: 24,
                experts: 12,
                inner: 128,
                engram: Some(EngramRecipe {
                    heads: 2,
                    ..engram(&[1], 8, 200_000)
                }),
                rate: 4e-3,
                steps: 600,
                measured: 65_536,
                ..tiny()
            },
            Self::Small => Recipe {
                vocabulary: 4096,
                hidden: 192,
                layers: 6,
                heads: 6,
                head: 32,
                rotated: 16,
                latent: 64,
                experts: 16,
                inner: 128,
                engram: Some(engram(&[1], 16, 400_000)),
                sequences: 16,
                window: 256,
                steps: 2000,
                warmup: 100,
                rate: 2e-3,
                measured: 65_536,
                ..tiny()
            },
            Self::Base => Recipe {
                vocabulary: 16_384,
                hidden: 512,
                layers: 12,
                heads: 8,
                head: 64,
                rotated: 32,
                latent: 192,
                experts: 32,
                chosen: 4,
                inner: 256,
                engram: Some(engram(&[1, 5], 32, 4_000_000)),
                sequences: 32,
                window: 512,
                steps: 10_000,
                warmup: 300,
                rate: 1e-3,
                measured: 262_144,
                ..tiny()
            },
        }
    }
}

fn tiny() -> Recipe {
    Recipe {
        seed: 0,
        vocabulary: 2048,
        hidden: 96,
        layers: 4,
        heads: 4,
        head: 16,
        rotated: 8,
        latent: 32,
        experts: 8,
        chosen: 2,
        inner: 64,
        engram: Some(engram(&[1], 8, 200_000)),
        sequences: 8,
        window: 128,
        steps: 300,
        warmup: 30,
        rate: 3e-3,
        rows_rate: 5.0,
        decay: 0.1,
        clip: 1.0,
        balance: 1e-2,
        measured: 16_384,
    }
}

fn engram(layers: &[u32], width: u32, rows: u64) -> EngramRecipe {
    EngramRecipe {
        layers: layers.into(),
        max_order: 3,
        heads: 4,
        width,
        rows,
    }
}
