use std::path::PathBuf;

use anyhow::{Result, ensure};
use engram::{Batch, Config, Manifest, Reader, RowId, Store, read_manifest};
use engram_format::Column;
use engram_io::{MemoryReader, ReadAt};
use serde::Serialize;

use crate::{
    cold,
    random::{self, Random},
    raw,
    report::{self, figure},
    timing::{Stopwatch, median},
};

/// Rows of a batch: 680 tokens of DeepSeek-V4.1-Flash.
const BATCH_ROWS: usize = 680 * 24;
/// Rows whose memory is on its way in the bare loop.
const AHEAD: usize = 16;

/// Read random rows from memory, beside a bare prefetching copy in the same run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the pack, which must fit in memory three times
    #[arg(long)]
    pack: PathBuf,
    /// Rows of each run
    #[arg(long, default_value_t = 2_000_000)]
    rows: usize,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seed of the rows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Figures {
    name: &'static str,
    rows_per_second: f64,
    ns_per_row: f64,
    of_limit: f64,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let manifest = read_manifest(&self.pack)?;
        let layer = manifest.tables[0].layer;
        let columns: Vec<Column> = manifest.scheme.columns(0).collect();
        let table_rows: u64 = columns.iter().map(|column| column.row_count).sum();
        let row_bytes = manifest.tables[0].codec.row_bytes();
        let mut random = Random::new(self.seed);

        let bare = Bare::open(&self.pack, &manifest, &columns)?;
        let open = |config: Config| Store::open(&self.pack, config);
        // Room for every row of a table in its share.
        let tables = manifest.tables.len() as u64;
        let cache_bytes = usize::try_from(tables * table_rows)? * (row_bytes + 40) * 5 / 4;
        let cached = Config::new()
            .reader(Reader::Direct)
            .cache_bytes(cache_bytes);
        let stores = [
            ("memory", open(Config::new().reader(Reader::Memory))?),
            (
                "memory, seals unchecked",
                open(Config::new().reader(Reader::Memory).check_seals(false))?,
            ),
            ("row cache", open(cached)?),
            (
                "mmap, in the page cache",
                open(Config::new().reader(Reader::Mmap))?,
            ),
        ];
        // A fresh choice each round would also measure the page tables; these rows stay.
        let rows = random::rows(&columns, self.rows, &mut random);
        let mut out = vec![0; BATCH_ROWS * row_bytes];
        let mut seconds = vec![Vec::new(); stores.len() + 1];
        let mut filled = (0, 0);
        for round in 0..=self.rounds {
            let mut times = vec![bare.time(&rows, &mut out)];
            for (_, store) in &stores {
                times.push(time(store, layer, &rows, &mut out)?);
            }
            // The first fills the cache and the page tables.
            if round == 0 {
                filled = of_cache(&stores[2].1);
            } else {
                seconds
                    .iter_mut()
                    .zip(times)
                    .for_each(|(all, time)| all.push(time));
            }
        }
        let (looks, hits) = of_cache(&stores[2].1);
        let (looks, hits) = (looks - filled.0, hits - filled.1);
        ensure!(
            hits * 10 > 8 * looks,
            "only {hits} of {looks} rows came from the cache"
        );
        let names = ["bare prefetching copy"]
            .into_iter()
            .chain(stores.iter().map(|(name, _)| *name));
        let mut all: Vec<Figures> = names
            .zip(seconds)
            .map(|(name, seconds)| {
                let rate = raw::rate(
                    rows.len(),
                    std::time::Duration::from_secs_f64(median(seconds)),
                );
                Figures {
                    name,
                    rows_per_second: rate,
                    ns_per_row: 1e9 / rate,
                    of_limit: 1.0,
                }
            })
            .collect();
        let limit = all[0].rows_per_second;
        for figures in &mut all {
            figures.of_limit = figures.rows_per_second / limit;
        }
        println!(
            "{} rows of {row_bytes} bytes at random out of {table_rows}, {BATCH_ROWS} a call, one thread, median of {}",
            rows.len(),
            self.rounds
        );
        let cells: Vec<Vec<String>> = all
            .iter()
            .map(|figures| {
                vec![
                    figures.name.into(),
                    figure(figures.rows_per_second),
                    figure(figures.ns_per_row),
                    format!("{:.0} %", 100.0 * figures.of_limit),
                ]
            })
            .collect();
        report::table(&["", "rows/s", "ns/row", "of limit"], &cells)?;
        report::json(self.json.as_deref(), &all)
    }
}

/// The rows of a table in memory, to be copied without any check.
struct Bare {
    columns: Vec<(Column, MemoryReader)>,
    layout: engram_format::RecordLayout,
}

impl Bare {
    fn open(pack: &std::path::Path, manifest: &Manifest, columns: &[Column]) -> Result<Self> {
        let files = cold::files(pack, manifest);
        ensure!(
            files.len() >= columns.len(),
            "an attached pack has no shards to copy from"
        );
        let columns = columns.iter().zip(files);
        Ok(Self {
            columns: columns
                .map(|(&column, path)| Ok((column, MemoryReader::open(&path)?)))
                .collect::<Result<_>>()?,
            layout: manifest.tables[0].layout(),
        })
    }

    /// Seconds to copy `rows`, prefetched one by one or in blocks, whichever is faster; where each lies is
    /// worked out before.
    fn time(&self, rows: &[RowId], out: &mut [u8]) -> f64 {
        let places: Vec<(&MemoryReader, u64)> = rows
            .iter()
            .map(|row| {
                let next = self
                    .columns
                    .partition_point(|(column, _)| column.first_row <= row.0);
                let (column, reader) = &self.columns[next - 1];
                (reader, self.layout.record_offset(row.0 - column.first_row))
            })
            .collect();
        let row_bytes = self.layout.row_bytes();
        let prefetch = |places: &[(&MemoryReader, u64)]| {
            for (reader, offset) in places {
                reader.prefetch(*offset, row_bytes);
            }
        };
        let copy = |index: usize, (reader, offset): (&MemoryReader, u64), out: &mut [u8]| {
            let start = index % BATCH_ROWS * row_bytes;
            let row = &mut out[start..start + row_bytes];
            reader
                .read_at(offset, row)
                .expect("the record lies in the shard");
        };
        let watch = Stopwatch::start();
        for (index, &place) in places.iter().enumerate() {
            prefetch(
                places
                    .get(index + AHEAD..=index + AHEAD)
                    .unwrap_or_default(),
            );
            copy(index, place, out);
        }
        let one_by_one = watch.stop().wall;
        let watch = Stopwatch::start();
        for (turn, block) in places.chunks(AHEAD / 2).enumerate() {
            let next = (turn + 2) * AHEAD / 2;
            let last = (next + AHEAD / 2).min(places.len());
            prefetch(places.get(next..last).unwrap_or_default());
            for (index, &place) in (turn * AHEAD / 2..).zip(block) {
                copy(index, place, out);
            }
        }
        one_by_one.min(watch.stop().wall).as_secs_f64()
    }
}

/// Looks at the cache, and hits among them.
fn of_cache(store: &Store) -> (u64, u64) {
    let table = &store.metrics().tables[0];
    (
        table.rows,
        table.columns.iter().map(|column| column.cached).sum(),
    )
}

/// Seconds to look `rows` up.
fn time(store: &Store, layer: u32, rows: &[RowId], out: &mut [u8]) -> Result<f64> {
    let row_bytes = store.codec(layer)?.row_bytes();
    let watch = Stopwatch::start();
    for rows in rows.chunks(BATCH_ROWS) {
        store.lookup(Batch { layer, rows }, &mut out[..rows.len() * row_bytes])?;
    }
    Ok(watch.stop().wall.as_secs_f64())
}
