//! Stripes that have moved since their pack was built.

use std::{collections::BTreeMap, path::PathBuf};

/// The option that names the folders of stripes which do not lie where they did when their pack was built.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MovedStripes {
    /// Where stripe N of the pack lies now; `inspect` lists the stripes
    #[arg(long = "stripe", value_name = "N=DIR", value_parser = moved)]
    stripes: Vec<(u32, PathBuf)>,
}

impl MovedStripes {
    /// The folders by the numbers of their stripes, as [`engram::Config::stripes`] has them.
    pub fn by_number(&self) -> BTreeMap<u32, PathBuf> {
        self.stripes.iter().cloned().collect()
    }
}

/// Reads `N=DIR`, for commands whose own `--stripe` means something else.
///
/// # Errors
/// Another form.
pub fn moved(text: &str) -> Result<(u32, PathBuf), String> {
    let parts = text.split_once('=').and_then(|(stripe, folder)| {
        let stripe = stripe.parse().ok()?;
        (!folder.is_empty()).then(|| (stripe, folder.into()))
    });
    parts.ok_or_else(|| {
        "expected the number of a stripe and its folder, such as 1=/mnt/drive/stripe".into()
    })
}
