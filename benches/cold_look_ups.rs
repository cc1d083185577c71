//! What a look-up from a cold pack costs beside the same from the packed one.
//!
//!     cargo run --release -p engram-criterion --example cold_look_ups -- PACK COLD
//!
//! Rows of the first table, one at a time and 432 at a time, each once; medians of microseconds. The files are in the
//! page cache, but `io_uring` reads past it.

use std::{collections::BTreeSet, path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use engram::{Batch, Config, LayerId, Reader, RowId, Store, read_manifest};

/// Rows of a batch, as of eighteen tokens of DeepSeek-V4.1-Flash.
const BATCH: usize = 432;
const ROUNDS: usize = 400;
/// Frames from which cached rows are taken.
const FRAMES: u64 = 16;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let pack = arguments.next().context("no PACK is given")?;
    let cold = arguments.next().context("no COLD is given")?;
    let manifest = read_manifest(&cold)?;
    let column = manifest.scheme.columns(0).next().context("no column")?;
    let frames = manifest
        .cold_column(0, column)
        .context("COLD is not cold")?;
    let rows: u64 = manifest.scheme.layers[0].buckets.iter().sum();
    let anywhere = spread(rows, 2 * ROUNDS * BATCH / 8);
    // Rows of a few frames, but the first of each, by which those come into the cache.
    let near = FRAMES.min(frames.frames()) * frames.frame_rows;
    let near: Vec<RowId> = spread(near.min(column.row_count), usize::MAX)
        .into_iter()
        .filter(|row| row.0 % frames.frame_rows != 0)
        .collect();
    let no_cache = || Config::new().cache_bytes(0);
    let layer = manifest.tables[0].layer;
    println!("{:34} {:>10} {:>14}", "", "1 row, us", "432 rows, us");
    for (name, pack, config, rows) in [
        (
            "packed, pread",
            &pack,
            no_cache().reader(Reader::Pread),
            &anywhere,
        ),
        ("packed, io_uring", &pack, no_cache(), &anywhere),
        (
            "packed, threads",
            &pack,
            no_cache().reader(Reader::DirectThreads),
            &anywhere,
        ),
        ("cold, a frame each", &cold, no_cache(), &anywhere),
        ("cold, frames in the cache", &cold, Config::new(), &near),
        (
            "packed, io_uring, the same rows",
            &pack,
            Config::new(),
            &near,
        ),
    ] {
        let store = Store::open(pack, config)?;
        let first: Vec<RowId> = (0..FRAMES)
            .map(|frame| RowId(frame * frames.frame_rows))
            .collect();
        let mut out = vec![0; BATCH * store.codec(layer)?.row_bytes()];
        look_up(&store, layer, &first, &mut out)?;
        // No row twice, or the cache of rows would have it.
        let (ones, others) = rows.split_at(ROUNDS.min(rows.len() / 4));
        let one = median(&store, layer, ones.chunks(1), &mut out)?;
        let many = median(
            &store,
            layer,
            others.chunks_exact(BATCH).take(100),
            &mut out,
        )?;
        println!("{name:34} {one:10.1} {many:14.1}");
    }
    Ok(())
}

/// Different rows below `rows`, in no order.
fn spread(rows: u64, most: usize) -> Vec<RowId> {
    let (mut state, mut seen, mut chosen) = (1_u64, BTreeSet::new(), Vec::new());
    let count = most.min(usize::try_from(rows).unwrap_or(usize::MAX) / 2);
    while chosen.len() < count {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let row = (state >> 16) % rows;
        if seen.insert(row) {
            chosen.push(RowId(row));
        }
    }
    chosen
}

fn look_up(store: &Store, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
    let bytes = rows.len() * store.codec(layer)?.row_bytes();
    Ok(store.lookup(Batch::new(layer, rows), &mut out[..bytes])?)
}

fn median<'a>(
    store: &Store,
    layer: LayerId,
    batches: impl Iterator<Item = &'a [RowId]>,
    out: &mut [u8],
) -> Result<f64> {
    let mut times = Vec::new();
    for rows in batches {
        let start = Instant::now();
        look_up(store, layer, rows, out)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_unstable_by(f64::total_cmp);
    times
        .get(times.len() / 2)
        .copied()
        .context("a pack with more rows is needed")
}
