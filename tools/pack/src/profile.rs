//! Counts the n-grams of texts.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use engram::{Hasher, Profile, Sequence};
use engram_format::{ProfileCounter, WindowRules};
use engram_io::publish_bytes;
use engram_kit::texts::Texts;
use serde::Serialize;

use crate::Progress;

/// Tokens counted between two calls of the progress.
const CHUNK: usize = 1 << 16;

/// What a profile says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct ProfileSummary {
    /// What its n-grams follow from.
    pub rules: WindowRules,
    /// Tokens counted.
    pub tokens: u64,
    /// Of each order.
    pub orders: Vec<OrderSummary>,
}

/// What a profile says of the n-grams of one order.
#[derive(Debug, Clone, Serialize)]
pub struct OrderSummary {
    /// Tokens in each.
    pub order: usize,
    /// Different ones in the text.
    pub distinct: u64,
    /// Those in the profile.
    pub kept: usize,
    /// Tokens that end one of these.
    pub covered: u64,
}

/// Counts the `top` most frequent n-grams of each order in `texts`, each file a sequence of its own, and writes them to
/// the file `out`.
///
/// # Errors
/// A text that cannot be read or has tokens that `hasher` does not know, or a file that cannot be written.
pub fn profile(
    hasher: &Hasher,
    texts: &Texts,
    top: usize,
    out: &Path,
    progress: Progress<'_>,
) -> Result<ProfileSummary> {
    let mut counter = ProfileCounter::new(hasher);
    texts.each(|path, tokens| {
        let context = || path.display().to_string();
        let mut left = fs::metadata(path).with_context(context)?.len();
        let mut sequence = Sequence::with_capacity(tokens.len());
        let chunks = tokens.chunks(CHUNK);
        let bytes = left / chunks.len().max(1) as u64;
        for chunk in chunks {
            counter.count(&mut sequence, chunk).with_context(context)?;
            progress(bytes);
            left -= bytes;
        }
        progress(left);
        Ok(())
    })?;
    let profile = counter.finish(top).context("the texts have no tokens")?;
    publish_bytes(out, &profile.to_bytes())?;
    Ok(ProfileSummary::of(&profile))
}

impl ProfileSummary {
    /// That of `profile`.
    pub fn of(profile: &Profile) -> Self {
        let orders = profile.orders().iter().map(|counts| OrderSummary {
            order: counts.order(),
            distinct: counts.distinct(),
            kept: counts.kept(),
            covered: counts.total(),
        });
        Self {
            rules: *profile.rules(),
            tokens: profile.tokens(),
            orders: orders.collect(),
        }
    }
}
