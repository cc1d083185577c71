//! The storages by name.

use engram_bench::mixed::Open;

use crate::{
    known::Known,
    peers::{EngramDb, Plain, Pool, lmdb, rocksdb},
    profile::Warmed,
    python::Take,
    view::View,
};

/// Names of those that need Python with a package.
pub const WITH_PYTHON: [(&str, &str); 2] = [
    ("numpy memmap take", "numpy"),
    ("torch index_select", "torch"),
];

pub const PEERS: [(&str, Open); 11] = [
    ("warmed, other text", |pack, memory| {
        Ok(Box::new(Warmed::open(pack, memory, Known::Other)?))
    }),
    ("warmed, this text", |pack, memory| {
        Ok(Box::new(Warmed::open(pack, memory, Known::All)?))
    }),
    ("EngramDB, 32 threads", |pack, _| {
        Ok(Box::new(EngramDb::open(pack)?))
    }),
    ("EngramDB, view of other text", |pack, _| {
        Ok(Box::new(View::open(pack, Known::Other)?))
    }),
    ("EngramDB, view of this text", |pack, _| {
        Ok(Box::new(View::open(pack, Known::All)?))
    }),
    ("RocksDB MultiGet", rocksdb),
    ("LMDB", lmdb),
    ("plain mmap, random", |pack, _| {
        Ok(Box::new(Plain::open(pack)?))
    }),
    ("pread pool, 32 threads", |pack, _| {
        Ok(Box::new(Pool::open(pack)?))
    }),
    (WITH_PYTHON[0].0, |pack, _| {
        Ok(Box::new(Take::open(pack, WITH_PYTHON[0].1)?))
    }),
    (WITH_PYTHON[1].0, |pack, _| {
        Ok(Box::new(Take::open(pack, WITH_PYTHON[1].1)?))
    }),
];
