//! Opening a pack: every file is checked against the manifest before a row is served.

mod attached;
mod backend;
mod backing;
mod caches;
mod documents;
mod files;
mod made_files;
mod memory_limit;
mod opened;
mod packed;
mod resident;
mod shard;
mod share;
mod space;
mod stripes;

use std::{io::ErrorKind, path::Path, sync::Arc};

use engram_format::{Column, Hasher, Manifest, Profile, Storage};
use engram_io::{IoError, MemoryReader, WatchedFile};

use crate::{
    backing::{Backed, Backing, Receiver},
    cold,
    config::{Config, Reader},
    error::OpenError,
    lookup::{Table, rows_of},
    metrics::Counters,
    source::{Source, SourceRows},
    tier::{ReaderTier, ResidentTier, Tier, TierFile},
    watch::Watch,
};

use caches::Caches;
use made_files::MadeFiles;
use memory_limit::MemoryLimits;
use shard::Shard;

pub use backend::Backend;
pub(crate) use backend::Reading;
pub(crate) use caches::Populating;
pub(crate) use caches::bytes as cache_bytes;
pub use documents::{read_hasher, read_manifest, read_profile};
pub(crate) use files::PackFiles;
#[cfg(feature = "cold")]
pub(crate) use files::open_each;
pub use memory_limit::MemoryLimit;
pub use stripes::shard_paths;

/// What an open pack is made of.
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) hasher: Hasher,
    pub(crate) profile: Option<Profile>,
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) backing: Option<Arc<dyn Backing>>,
    pub(crate) populating: Option<Populating>,
    pub(crate) reading: Reading,
}

pub(crate) fn open(pack: &Path, config: &Config) -> Result<Parts, OpenError> {
    let manifest = read_manifest(pack)?;
    let hasher = documents::hasher_of(pack, &manifest)?;
    let hasher = hasher.with_columns(&config.columns);
    let hasher = hasher.map_err(|cause| OpenError::Columns {
        pack: pack.into(),
        cause,
    })?;
    let columns = open_columns(&hasher);
    let profile = config.profile.as_deref();
    let profile = profile
        .map(|path| documents::profile_of(path, &hasher))
        .transpose()?;
    let folder = match &manifest.storage {
        Storage::Packed | Storage::Cold { .. } => pack,
        Storage::Attached { checkpoint } => config
            .checkpoint
            .as_deref()
            .unwrap_or(Path::new(checkpoint)),
    };
    let files = PackFiles::new(folder, &manifest, &columns, &config.stripes)?;
    let watched = attached::watch(&manifest, &files);
    let watched = watched.map_err(|error| explain(error, pack, folder, &manifest, &files))?;
    let sources = sources(&manifest, &columns, &files, &watched, config);
    let memory = MemoryLimits::find();
    let limit = memory.now();
    let (frame_cache_bytes, cache_bytes) =
        cold::split_cache(&manifest, caches::bytes(config, limit));
    let cached_tables = columns.iter().filter(|columns| !columns.is_empty()).count();
    let table_cache_bytes = cache_bytes / cached_tables.max(1);
    let made_files = MadeFiles::default();
    let caches = Caches {
        manifest: &manifest,
        columns: &columns,
        bytes: table_cache_bytes,
        folder: config.cache_folder.as_deref(),
        made_files: &made_files,
    };
    let frames = cold::open(pack, &manifest, &columns, &files, config);
    let frames = frames.map_err(|error| explain(error, pack, folder, &manifest, &files))?;
    let shards = match &manifest.storage {
        Storage::Packed | Storage::Cold { .. } => Some(packed::shards(
            &manifest,
            &columns,
            &files,
            frames.as_deref(),
            config,
            table_cache_bytes,
            profile.as_ref(),
        )),
        Storage::Attached { .. } => None,
    };
    let resident_bytes = match &shards {
        Some(shards) => {
            let loaded = shards.iter().filter(|shard| shard.takes_memory(config));
            loaded.map(Shard::bytes).sum()
        }
        None => attached::loaded_bytes(&manifest, &files, config),
    };
    memory_limit::warn_above(limit, frame_cache_bytes + cache_bytes, resident_bytes);
    let shared = shards.as_ref().and(config.resident_folder.as_deref());
    let copies = shared.map(|folder| (folder, resident_bytes));
    space::check(copies.into_iter().chain(caches.missing(&sources)))?;
    let opened = match &shards {
        Some(shards) => packed::open(&columns, shards, config, &made_files),
        None => attached::open(&manifest, &files, &sources, &columns, config),
    };
    let opened = opened.map_err(|error| explain(error, pack, folder, &manifest, &files))?;
    let backing = match frames {
        Some(frames) => cold::backing(&sources, frames, frame_cache_bytes, config),
        None => backing::open(&sources, &files, config),
    };
    let (backing, reading) =
        backing.map_err(|error| explain(error, pack, folder, &manifest, &files))?;
    let mut resident = opened.resident.into_iter();
    let mut tables = Vec::with_capacity(sources.len());
    for (index, source) in sources.into_iter().enumerate() {
        let parts = TableParts {
            columns: columns[index].clone(),
            source,
            files: &opened.files,
            resident: resident.next().unwrap_or_default(),
            first_file: files.first_files[index] as usize,
            backing: backing.as_ref(),
            caches: &caches,
        };
        tables.push(Arc::new(parts.table(&manifest, index, config)?));
    }
    // By their names, so that what was watched is what has been opened.
    watched.iter().try_for_each(WatchedFile::check_name)?;
    let populating = Populating::start(&tables, memory);
    made_files.keep();
    Ok(Parts {
        manifest,
        hasher,
        profile,
        tables,
        backing,
        populating,
        reading,
    })
}

/// Adds to an error about one file of the pack what only the pack knows.
fn explain(
    error: OpenError,
    pack: &Path,
    folder: &Path,
    manifest: &Manifest,
    files: &PackFiles,
) -> OpenError {
    let OpenError::Io(cause) = error else {
        return error;
    };
    let answer = cause.os_error().map(std::io::Error::kind);
    match (cause, &manifest.storage) {
        (IoError::TooManyFiles { limit, .. }, _) => OpenError::TooManyFiles {
            folder: folder.into(),
            needed: files.paths.len(),
            limit,
        },
        (cause, Storage::Attached { .. }) if answer == Some(ErrorKind::NotFound) => {
            OpenError::CheckpointMoved {
                pack: pack.into(),
                cause,
            }
        }
        (cause, Storage::Packed) if answer == Some(ErrorKind::NotFound) => {
            match files.stripe_of(&cause) {
                None => cause.into(),
                Some(stripe) => OpenError::StripeMissing {
                    pack: pack.into(),
                    stripe,
                    cause,
                },
            }
        }
        (cause, _) => cause.into(),
    }
}

/// The open columns of each table: those whose rows `hasher` gives.
fn open_columns(hasher: &Hasher) -> Vec<Arc<[Column]>> {
    let layers = 0..hasher.scheme().layers.len();
    let tables = layers.map(|layer| {
        let open = hasher.columns(layer);
        let columns = hasher.scheme().columns(layer);
        columns.skip(open.start).take(open.len()).collect()
    });
    tables.collect()
}

/// Where the rows of each table lie.
fn sources(
    manifest: &Manifest,
    columns: &[Arc<[Column]>],
    files: &PackFiles,
    watched: &Arc<[WatchedFile]>,
    config: &Config,
) -> Vec<Arc<Source>> {
    let reads_sources = matches!(manifest.storage, Storage::Attached { .. })
        && config.backing.is_none()
        && config.reader != Reader::Memory;
    let tables = manifest.tables.iter().zip(columns);
    let sources = tables
        .zip(&files.first_files)
        .map(|((table, columns), &first_file)| {
            let rows = match manifest.storage {
                // The backing of a cold pack makes records of the rows in its frames.
                Storage::Packed | Storage::Cold { .. } => SourceRows::Sealed {
                    layout: table.layout(),
                    columns: columns.clone(),
                    first_file,
                },
                Storage::Attached { .. } => SourceRows::Attached {
                    planes: attached::planes_of(table, columns, files),
                },
            };
            Arc::new(Source {
                layer: table.layer,
                check_seals: config.check_seals,
                rows,
                paths: files.paths.clone(),
                drives: files.drives.clone(),
                watch: reads_sources.then(|| Watch::new(table.layer, watched.clone())),
            })
        });
    sources.collect()
}

/// What one table is made of.
struct TableParts<'a> {
    /// Those that are open.
    columns: Arc<[Column]>,
    source: Arc<Source>,
    files: &'a Arc<[Option<TierFile>]>,
    resident: Vec<Option<MemoryReader>>,
    first_file: usize,
    backing: Option<&'a Arc<dyn Backing>>,
    caches: &'a Caches<'a>,
}

impl TableParts<'_> {
    /// Puts the tiers of the table at `index` in the order in which they are asked.
    fn table(self, manifest: &Manifest, index: usize, config: &Config) -> Result<Table, OpenError> {
        let (source, backing) = (self.source.clone(), self.backing);
        let table = &manifest.tables[index];
        let columns = self.columns.clone();
        let is_backed: Vec<bool> = (0..columns.len())
            .map(|column| backing.is_some() && !self.has_column(column))
            .collect();
        let reads = self.reads_files();
        let counters = Arc::new(Counters::new(columns.len()));
        let receiver = backing
            .map(|_| {
                let backed = is_backed.iter().filter(|backed| **backed).count();
                let cache = self.caches.open(&source, &columns, backed, &counters)?;
                Ok::<_, OpenError>(Receiver {
                    source: source.clone(),
                    cache: cache.map(Arc::new),
                    counters: counters.clone(),
                })
            })
            .transpose()?;
        let is_resident = self.resident.iter().any(Option::is_some);
        let resident = if is_resident {
            ResidentTier::new(source.clone(), self.resident).map(Arc::new)
        } else {
            None
        };
        let reader = reads.then(|| Arc::new(ReaderTier::new(source.clone(), self.files.clone())));
        let cache = receiver
            .as_ref()
            .and_then(|receiver| receiver.cache.clone());
        let mut tiers = config.tiers.clone();
        tiers.extend(resident.clone().map(|tier| tier as Arc<dyn Tier>));
        tiers.extend(reader.clone().map(|tier| tier as Arc<dyn Tier>));
        tiers.extend(cache.map(|tier| tier as Arc<dyn Tier>));
        Ok(Table {
            layer: table.layer,
            codec: table.codec,
            layer_columns: manifest.scheme.columns(index).collect(),
            open_rows: rows_of(&columns),
            columns,
            source: self.source,
            tiers,
            own_tiers: config.tiers.len(),
            backed: receiver.zip(backing).map(|(receiver, backing)| Backed {
                receiver: Arc::new(receiver),
                backing: backing.clone(),
            }),
            is_backed,
            resident,
            reader,
            counters,
        })
    }

    /// Whether a tier has the rows of the open column at `index`.
    fn has_column(&self, index: usize) -> bool {
        match &self.source.rows {
            SourceRows::Attached { .. } => self.reads_files(),
            SourceRows::Sealed { .. } => {
                self.resident[index].is_some() || self.files[self.first_file + index].is_some()
            }
        }
    }

    /// Whether a tier reads any of the table's files.
    fn reads_files(&self) -> bool {
        let files = match &self.source.rows {
            SourceRows::Attached { .. } => 0..self.files.len(),
            SourceRows::Sealed { columns, .. } => self.first_file..self.first_file + columns.len(),
        };
        self.files[files].iter().any(Option::is_some)
    }
}
