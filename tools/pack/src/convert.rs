//! Encodes the rows of a pack anew, as a pack of its own.
//!
//! As a build, it writes one shard for each column and the manifest last, so it can be stopped at any point and goes on
//! with the shards that are missing.

mod codec;
mod column;
mod fidelity;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use engram::{Config, LayerId, Manifest, RowCodec, Store, read_manifest, shard_paths};
use engram_format::{Digest, Storage};
use engram_io::parallel;
use engram_kit::parallel::default_jobs;
use serde::Serialize;

use crate::{
    BuildPlan, Progress, Stop,
    build::{
        ShardFile, Striping, UNKNOWN, begin_of_pack, checked_text, end_stripes, is_finished, space,
        write_manifest, write_token_map,
    },
    claim::Claim,
};
use column::{ColumnJob, Converted};
use fidelity::{as_f64, relative_rmse};

pub use codec::CodecSpec;
pub use fidelity::ColumnFidelity;

/// What a pack is converted to, and how.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// How rows are to be encoded. Tables whose codec it is stay as they are.
    pub codec: CodecSpec,
    /// Layers whose tables stay as they are, to the bit.
    pub keep: Vec<LayerId>,
    /// Threads; 0 for a few.
    pub jobs: usize,
    /// Whether to go on with an unfinished conversion.
    pub resume: bool,
    /// Folders that the shards are spread over, as those of a build.
    pub stripes: Vec<PathBuf>,
    /// Folder of the checkpoint behind an attached pack, where it has moved.
    pub checkpoint: Option<PathBuf>,
    /// Folders of the source's stripes that have moved.
    pub moved_stripes: BTreeMap<u32, PathBuf>,
    /// Ends the conversion; it can be resumed as one that was killed.
    pub stop: Stop,
}

impl ConvertOptions {
    /// A conversion to `codec`, of every table, with a few threads.
    pub fn to(codec: CodecSpec) -> Self {
        Self {
            codec,
            keep: Vec::new(),
            jobs: 0,
            resume: false,
            stripes: Vec::new(),
            checkpoint: None,
            moved_stripes: BTreeMap::new(),
            stop: Stop::default(),
        }
    }

    /// Row bytes that are read for a pack with that manifest, for progress: twice those of tables whose scale has to be
    /// found first.
    ///
    /// # Errors
    /// As of [`convert`].
    pub fn source_bytes(&self, source: &Manifest) -> Result<u64> {
        let codecs = self.codecs(source)?;
        let tables = source.tables.iter().zip(&source.scheme.layers);
        let bytes = tables.zip(codecs).map(|((table, layer), to)| {
            let rows: u64 = layer.buckets.iter().sum();
            let passes = 1 + u64::from(self.is_found(table.codec, to));
            passes * rows * table.codec.row_bytes() as u64
        });
        Ok(bytes.sum())
    }

    /// The codec of each table of the new pack; a scale that is yet to be found is 0.
    fn codecs(&self, source: &Manifest) -> Result<Vec<RowCodec>> {
        let layers: Vec<LayerId> = source.tables.iter().map(|table| table.layer).collect();
        for layer in &self.keep {
            ensure!(
                layers.contains(layer),
                "layer {layer} is to be kept, but the pack has no such table; it has layers {layers:?}",
                layers = layers.iter().map(|layer| layer.0).collect::<Vec<_>>()
            );
        }
        let codecs = source.tables.iter().map(|table| {
            if self.keep.contains(&table.layer) {
                return Ok(table.codec);
            }
            let codec = self.codec.codec(table.codec.width());
            codec.with_context(|| {
                format!(
                    "the table of layer {} cannot be converted to {}",
                    table.layer, self.codec
                )
            })
        });
        codecs.collect()
    }

    /// Whether the scale of a table that is converted so has to be found in it.
    fn is_found(&self, from: RowCodec, to: RowCodec) -> bool {
        self.codec.finds_scale() && from != to && to.table_scale() == Some(0.0)
    }

    fn threads(&self) -> usize {
        match self.jobs {
            0 => default_jobs(),
            jobs => jobs,
        }
    }
}

/// What a conversion did.
#[derive(Debug, Clone, Serialize)]
pub struct ConvertReport {
    /// Rows of all tables.
    pub rows: u64,
    /// Shards of the new pack.
    pub shards: usize,
    /// Shards that an earlier conversion had finished.
    pub shards_resumed: usize,
    /// Row bytes of the source that were encoded now.
    pub bytes_read: u64,
    /// Shard bytes written now.
    pub bytes_written: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Of each table.
    pub tables: Vec<ConvertedTable>,
    /// How near each column is to what it was; none of a pack that was whole before.
    pub columns: Vec<ColumnFidelity>,
}

/// What a conversion made of one table.
#[derive(Debug, Clone, Serialize)]
pub struct ConvertedTable {
    /// The model's layer id.
    pub layer: LayerId,
    /// How its rows were encoded.
    pub from: RowCodec,
    /// How they are now.
    pub to: RowCodec,
    /// Root of the sum of squared errors over that of squared values; none where it was not measured.
    pub relative_rmse: Option<f64>,
    /// Mean over its rows of the cosine between a row and what it was.
    pub cosine_mean: Option<f64>,
}

/// Converts the pack in the folder `pack` to a packed one in `output`. `progress` counts bytes of
/// [`ConvertOptions::source_bytes`].
///
/// Each row is checked by its seal before it is used. The same pack and options give the same bytes.
///
/// # Errors
/// A source that cannot be opened or read, or is damaged; a codec that does not fit its rows; a value that the codec
/// cannot store; a folder that holds something else; or a drive that is full. What is finished stays, and `resume` goes
/// on from there.
pub fn convert(
    pack: &Path,
    output: &Path,
    options: &ConvertOptions,
    progress: Progress<'_>,
) -> Result<ConvertReport> {
    let start = Instant::now();
    refuse_itself(pack, output)?;
    let store = open(pack, options)?;
    let source = store.manifest();
    let mut plan = draft(source, options)?;
    let columns = [plan.tables.len(), plan.scheme.column_count()];
    let Striping { stripes, outside } = Striping::new(columns, output, &options.stripes)?;
    plan.stripes = stripes;
    // Scales follow from the source.
    let digest = Digest::of((checked_text(&plan)? + &source.to_text()).as_bytes());
    let (converted, jobs_bytes) = if options.resume && is_finished(output) {
        plan = check_finished(output, plan, options)?;
        end_stripes(&outside, digest)?;
        (Vec::new(), [0, 0])
    } else {
        let outside = outside.iter().map(PathBuf::as_path);
        let folders: Vec<&Path> = [output].into_iter().chain(outside).collect();
        let claims = begin_of_pack(&folders, &format!("{digest} converted"), options.resume)?;
        let done = finish(&store, output, &mut plan, options, progress);
        let done = done.with_context(|| {
            format!(
                "the conversion to {} is unfinished; run it again with --resume",
                output.display()
            )
        })?;
        // The pack's first: without its mark it is whole, whatever is left in stripes.
        claims.into_iter().try_for_each(Claim::end)?;
        done
    };
    let shards: usize = plan.tables.iter().map(|table| table.shards.len()).sum();
    let new = converted.iter().filter(|column| !column.resumed).count();
    let columns: Vec<ColumnFidelity> = converted.into_iter().map(|c| c.fidelity).collect();
    let tables = source.tables.iter().zip(&plan.tables);
    Ok(ConvertReport {
        rows: plan
            .scheme
            .layers
            .iter()
            .flat_map(|layer| &layer.buckets)
            .sum(),
        shards,
        shards_resumed: shards - new,
        bytes_read: jobs_bytes[0],
        bytes_written: jobs_bytes[1],
        seconds: start.elapsed().as_secs_f64(),
        tables: tables
            .map(|(from, to)| summary(from.layer, from.codec, to.codec, &columns))
            .collect(),
        columns,
    })
}

/// What a conversion would write.
///
/// # Errors
/// A source that cannot be read, a codec that does not fit its rows, or a finished pack in the folder `output`.
pub fn plan_conversion(pack: &Path, output: &Path, options: &ConvertOptions) -> Result<BuildPlan> {
    refuse_itself(pack, output)?;
    let store = open(pack, options)?;
    let source = store.manifest();
    let plan = draft(source, options)?;
    let mut notes = Vec::new();
    for (from, to) in source.tables.iter().zip(&plan.tables) {
        if options.is_found(from.codec, to.codec) {
            notes.push(format!(
                "the scale of layer {} is not known yet; it is found in a first pass over the table",
                from.layer
            ));
        }
    }
    let row_bytes = options.source_bytes(source)?;
    let map = store.hasher().token_map();
    BuildPlan::of(&plan, map, output, row_bytes, notes)
}

fn open(pack: &Path, options: &ConvertOptions) -> Result<Store> {
    // Every row is read once or twice, so none is worth a place in a cache.
    let mut config = Config::new().cache_bytes(0);
    config.checkpoint.clone_from(&options.checkpoint);
    config.stripes.clone_from(&options.moved_stripes);
    Ok(Store::open(pack, config)?)
}

fn refuse_itself(pack: &Path, output: &Path) -> Result<()> {
    let same = match (fs::canonicalize(pack), fs::canonicalize(output)) {
        (Ok(pack), Ok(output)) => pack == output,
        _ => false,
    };
    ensure!(
        !same,
        "{} is the pack that is to be converted; a conversion needs a folder of its own",
        output.display()
    );
    Ok(())
}

/// The manifest without what only the rows can tell.
fn draft(source: &Manifest, options: &ConvertOptions) -> Result<Manifest> {
    let mut plan = source.clone();
    plan.storage = Storage::Packed;
    plan.stripes = None;
    let codecs = options.codecs(source)?;
    for ((table, layer), to) in plan.tables.iter_mut().zip(&plan.scheme.layers).zip(codecs) {
        if table.codec != to {
            // Rows that were converted before are still the checkpoint's, by two steps.
            table.source_codec = table.source_codec.or(Some(table.codec));
            table.codec = to;
        }
        table.shards = vec![UNKNOWN; layer.buckets.len()];
        table.samples = Vec::new();
    }
    Ok(plan)
}

/// Checks that the finished pack in `output` is what `plan` would give, and returns its manifest.
fn check_finished(output: &Path, mut plan: Manifest, options: &ConvertOptions) -> Result<Manifest> {
    let found = read_manifest(output)?;
    for (table, found) in plan.tables.iter_mut().zip(&found.tables) {
        if options.codec.finds_scale() && table.codec.id() == found.codec.id() {
            table.codec = found.codec;
        }
        table.shards.clone_from(&found.shards);
    }
    ensure!(
        plan == found,
        "{} is a finished pack already, of another pack or with other options",
        output.display()
    );
    Ok(found)
}

/// Converts the columns that are missing, then writes the rest of the pack. Returns the columns, in the order of the
/// tables, and the bytes that were read and written now.
fn finish(
    store: &Store,
    output: &Path,
    plan: &mut Manifest,
    options: &ConvertOptions,
    progress: Progress<'_>,
) -> Result<(Vec<Converted>, [u64; 2])> {
    let files = |plan: &Manifest| shard_files(output, plan);
    let shards = files(plan)?;
    let shards = shards.iter().flatten();
    space::check(shards.map(|shard| (&*shard.path, shard.shard_bytes())))?;
    find_scales(store, output, plan, options, progress)?;
    let jobs = jobs(store, files(plan)?, options)?;
    let jobs: Vec<ColumnJob<'_>> = jobs.into_iter().flatten().collect();
    let converted = parallel::map(options.threads(), &jobs, |job| job.run(progress))?;
    let mut digests = converted.iter().map(|column| column.digests);
    for table in &mut plan.tables {
        let columns = table.shards.len();
        table.shards = digests.by_ref().take(columns).collect();
    }
    write_token_map(output, store.hasher().token_map())?;
    write_manifest(output, plan)?;
    jobs.iter().try_for_each(ColumnJob::clean_up)?;
    let new = jobs
        .iter()
        .zip(&converted)
        .filter(|(_, column)| !column.resumed);
    let bytes = new.fold([0, 0], |[read, written], (job, _)| {
        [read + job.source_bytes(), written + job.file.shard_bytes()]
    });
    Ok((converted, bytes))
}

/// Finds the scales of tables by their largest values.
fn find_scales(
    store: &Store,
    output: &Path,
    plan: &mut Manifest,
    options: &ConvertOptions,
    progress: Progress<'_>,
) -> Result<()> {
    let of_tables = jobs(store, shard_files(output, plan)?, options)?;
    for (table, jobs) in plan.tables.iter_mut().zip(&of_tables) {
        if !options.is_found(store.codec(table.layer)?, table.codec) {
            continue;
        }
        let largest = parallel::map(options.threads(), jobs, |job| job.largest(progress))?;
        let largest = largest.into_iter().fold(0.0, f32::max);
        table.codec = table.codec.with_table_scale(largest);
    }
    Ok(())
}

/// The shards of each table.
fn shard_files(output: &Path, plan: &Manifest) -> Result<Vec<Vec<ShardFile>>> {
    let paths = shard_paths(output, plan, &BTreeMap::new())?;
    let tables = plan.tables.iter().zip(paths).enumerate();
    let files = tables.map(|(index, (table, paths))| {
        let columns = plan.scheme.columns(index).zip(paths);
        let files = columns.map(|(column, path)| ShardFile {
            path,
            layer: table.layer,
            column,
            codec: table.codec,
        });
        files.collect()
    });
    Ok(files.collect())
}

fn jobs<'a>(
    store: &'a Store,
    files: Vec<Vec<ShardFile>>,
    options: &'a ConvertOptions,
) -> Result<Vec<Vec<ColumnJob<'a>>>> {
    let job = |file: ShardFile| {
        Ok(ColumnJob {
            store,
            from: store.codec(file.layer)?,
            file,
            stop: &options.stop,
        })
    };
    let of_table = |files: Vec<ShardFile>| files.into_iter().map(job).collect();
    files.into_iter().map(of_table).collect()
}

fn summary(
    layer: LayerId,
    from: RowCodec,
    to: RowCodec,
    columns: &[ColumnFidelity],
) -> ConvertedTable {
    let of = || columns.iter().filter(|column| column.layer == layer);
    let sum = |what: fn(&ColumnFidelity) -> f64| of().map(what).sum::<f64>();
    let rows: u64 = of().map(|column| column.rows).sum();
    let rmse = relative_rmse(sum(|c| c.squared_error), sum(|c| c.squared_values));
    let cosines = sum(|column| column.cosine_mean * as_f64(column.rows));
    ConvertedTable {
        layer,
        from,
        to,
        relative_rmse: (rows > 0).then_some(rmse),
        cosine_mean: (rows > 0).then(|| cosines / as_f64(rows)),
    }
}
