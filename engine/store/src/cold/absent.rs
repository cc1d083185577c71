//! What a store has in the place of cold packs when it is built without them.

use std::{path::Path, sync::Arc};

use engram_format::{Column, Manifest, Storage};
use engram_io::{IoError, MemoryReader};

use crate::{
    backing::Backing,
    config::Config,
    error::OpenError,
    metrics::FrameMetrics,
    open::{PackFiles, Reading},
    source::Source,
};

/// There is none.
#[derive(Debug)]
pub(crate) enum ColdFile {}

/// There is none.
#[derive(Debug)]
pub(crate) enum ColdBacking {}

impl ColdBacking {
    pub(crate) fn threads(&self) -> usize {
        match *self {}
    }

    pub(crate) fn metrics(&self) -> FrameMetrics {
        match *self {}
    }
}

pub(crate) fn split_cache(_manifest: &Manifest, bytes: usize) -> (usize, usize) {
    (0, bytes)
}

pub(crate) fn open(
    pack: &Path,
    manifest: &Manifest,
    _columns: &[Arc<[Column]>],
    _files: &PackFiles,
    _config: &Config,
) -> Result<Option<Vec<ColdFile>>, OpenError> {
    match manifest.storage {
        Storage::Cold { .. } => Err(OpenError::ColdNotBuilt { pack: pack.into() }),
        Storage::Packed | Storage::Attached { .. } => Ok(None),
    }
}

pub(crate) fn load(file: &ColdFile) -> Result<MemoryReader, IoError> {
    match *file {}
}

pub(crate) fn backing(
    _sources: &[Arc<Source>],
    files: Vec<ColdFile>,
    _cache_bytes: usize,
    _config: &Config,
) -> Result<(Option<Arc<dyn Backing>>, Reading), OpenError> {
    match files.into_iter().next() {
        Some(file) => match file {},
        None => unreachable!("no cold pack is opened"),
    }
}
