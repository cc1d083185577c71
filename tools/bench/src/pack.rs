//! The pack that is measured.

use std::path::{Path, PathBuf};

use anyhow::Result;
use engram::{Config, Manifest, Storage, Store, read_manifest, shard_paths};
use engram_kit::moved_stripes::MovedStripes;

/// The pack that a command measures, and where its stripes lie now.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct PackArgs {
    /// Folder of the pack
    pack: PathBuf,
    #[command(flatten)]
    moved: MovedStripes,
}

impl PackArgs {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.pack
    }

    /// What the pack says of itself.
    ///
    /// # Errors
    /// A manifest that cannot be read.
    pub fn manifest(&self) -> Result<Manifest> {
        Ok(read_manifest(&self.pack)?)
    }

    /// Opens it as `config` says.
    ///
    /// # Errors
    /// A pack that cannot be opened.
    pub fn open(&self, mut config: Config) -> Result<Store> {
        config.stripes = self.moved.by_number();
        Ok(Store::open(&self.pack, config)?)
    }

    /// The files that hold its rows.
    ///
    /// # Errors
    /// A moved stripe that the pack has not.
    pub fn files(&self, manifest: &Manifest) -> Result<Vec<PathBuf>> {
        Ok(match &manifest.storage {
            Storage::Attached { checkpoint } => {
                let sources = manifest.sources.iter();
                sources
                    .map(|file| PathBuf::from(checkpoint).join(&file.name))
                    .collect()
            }
            Storage::Packed | Storage::Cold { .. } => {
                let paths = shard_paths(&self.pack, manifest, &self.moved.by_number())?;
                paths.into_iter().flatten().collect()
            }
        })
    }
}
