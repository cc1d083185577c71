//! Devices and packs to test with.

#![allow(dead_code, reason = "each test uses its part")]

use std::{path::PathBuf, sync::Arc};

use engram::{Batch, Config, LayerId, Reader, RowId, Store};
use engram_cuda::{Device, ValueType};

/// The packs of the format's vectors: every codec, rows of 16 to 4,400 bytes.
pub(crate) const PACKS: [&str; 5] = ["deepseek", "demo", "qwen", "longcat", "long-rows"];

pub(crate) const VALUE_TYPES: [ValueType; 3] = [ValueType::F32, ValueType::F16, ValueType::Bf16];

pub(crate) fn pack(name: &str) -> PathBuf {
    // Elsewhere than where they were built, tests are told where the packs are.
    let vectors = std::env::var_os("ENGRAM_VECTORS").map(PathBuf::from);
    let here = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../format-spec/vectors");
    vectors.unwrap_or_else(here).join(name)
}

pub(crate) fn open(name: &str, config: Config) -> Arc<Store> {
    Arc::new(Store::open(pack(name), config).unwrap())
}

pub(crate) fn direct() -> Config {
    Config::new().reader(Reader::Direct)
}

/// The stand-in, and a GPU where there is one; says so where there is none, and fails if `ENGRAM_NEEDS_GPU` is set.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = vec![Device::host()];
    match Device::cuda(0) {
        Ok(gpu) => devices.push(gpu),
        Err(reason) => {
            assert!(std::env::var_os("ENGRAM_NEEDS_GPU").is_none(), "{reason}");
            println!("skipped on a GPU: {reason}");
        }
    }
    devices
}

pub(crate) fn layers(store: &Store) -> Vec<LayerId> {
    store.scheme().layers.iter().map(|layer| layer.id).collect()
}

/// Rows as batches have them, columns in turn, many of them more than once.
pub(crate) fn some_rows(store: &Store, layer: LayerId, count: usize, seed: u64) -> Vec<RowId> {
    let columns = store.columns(layer).unwrap();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let rows = columns.iter().cycle().take(count).map(|column| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        RowId(column.first_row + (state >> 33) % column.row_count)
    });
    rows.collect()
}

/// What a device must make of the rows.
pub(crate) fn expected(
    store: &Store,
    layer: LayerId,
    rows: &[RowId],
    value_type: ValueType,
) -> Vec<u8> {
    let codec = store.codec(layer).unwrap();
    let mut bytes = vec![0; rows.len() * codec.row_bytes()];
    store.lookup(Batch::new(layer, rows), &mut bytes).unwrap();
    value_type.decode(codec, &bytes)
}
