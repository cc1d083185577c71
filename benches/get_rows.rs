//! What `engine/capi/examples/get_rows.c --time` does, in Rust: the same ids, calls and output.
//!
//! `get_rows PACK OPTIONS LAYER ROWS` measures calls with ROWS random ids, for a second.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engram::{Batch, Config, LayerId, RowId, Store};

/// Calls with other ids before the first ones come again.
const BATCHES: usize = 64;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [pack, options, layer, rows] = &args[..] else {
        anyhow::bail!("usage: get_rows PACK OPTIONS LAYER ROWS");
    };
    let (layer, rows): (u32, usize) = (layer.parse()?, rows.parse()?);
    let store = Store::open(pack, Config::from_json(options)?)?;
    let layer = (store.scheme().layers.iter()).find(|found| found.id == LayerId(layer));
    let layer = layer.context("the pack has no such layer")?;

    let below = layer.row_count.min(i32::MAX as u64);
    let layer = layer.id;
    let mut state = 1;
    let ids: Vec<RowId> = (0..BATCHES * rows)
        .map(|_| RowId(next_random(&mut state) % below))
        .collect();
    let mut values = vec![0.0_f32; rows * store.codec(layer)?.width()];
    let (mut calls, start) = (0, Instant::now());
    while start.elapsed() < Duration::from_secs(1) {
        let ids = &ids[calls % BATCHES * rows..][..rows];
        store.lookup_values(Batch::new(layer, ids), &mut values[..])?;
        calls += 1;
    }
    let took = start.elapsed().as_secs_f64();
    let rate = 1e-6 * f64::from(u32::try_from(calls * rows)?) / took;
    println!("{calls} calls of {rows} rows in {took:.3} s: {rate:.3} million rows a second");
    Ok(())
}

/// The generator of the C program.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
