//! The storages by name.

use engram_bench::{mixed::Open, serve};

#[cfg(feature = "rocksdb")]
use crate::rocks;
use crate::{
    apart::Apart,
    known::Known,
    peers::{EngramDb, Plain, Pool, lmdb},
    profile::Warmed,
    python::Take,
    view::View,
};

/// Names of those that need Python with a package.
pub const WITH_PYTHON: [(&str, &str); 2] = [
    ("numpy memmap take", "numpy"),
    ("torch index_select", "torch"),
];

pub const PEERS: [(&str, Open); 10] = [
    ("warmed, other text", |pack, memory| {
        Ok(Box::new(Warmed::open(pack, memory, Known::Other)?))
    }),
    ("warmed, this text", |pack, memory| {
        Ok(Box::new(Warmed::open(pack, memory, Known::All)?))
    }),
    ("EngramDB, 32 threads", |pack, _| {
        Ok(Box::new(EngramDb::open(pack.folder())?))
    }),
    ("EngramDB, view of other text", |pack, _| {
        Ok(Box::new(View::open(pack.folder(), Known::Other)?))
    }),
    ("EngramDB, view of this text", |pack, _| {
        Ok(Box::new(View::open(pack.folder(), Known::All)?))
    }),
    ("LMDB", |pack, _| lmdb(pack.folder())),
    ("plain mmap, random", |pack, _| {
        Ok(Box::new(Plain::open(pack.folder())?))
    }),
    ("pread pool, 32 threads", |pack, _| {
        Ok(Box::new(Pool::open(pack.folder())?))
    }),
    (WITH_PYTHON[0].0, |pack, _| {
        Ok(Box::new(Take::open(pack.folder(), WITH_PYTHON[0].1)?))
    }),
    (WITH_PYTHON[1].0, |pack, _| {
        Ok(Box::new(Take::open(pack.folder(), WITH_PYTHON[1].1)?))
    }),
];

/// RocksDB, if it was compiled.
#[cfg(feature = "rocksdb")]
pub const ROCKSDB: Option<(&str, Open)> = Some(("RocksDB MultiGet", rocks::open));
#[cfg(not(feature = "rocksdb"))]
pub const ROCKSDB: Option<(&str, Open)> = None;

/// Those that are run under a server's traffic.
pub const SERVERS: [(&str, serve::Open); 2] = [
    ("EngramDB, 32 threads", |pack, _| {
        let row_bytes = pack.manifest()?.tables[0].codec.row_bytes();
        let rows = Box::new(EngramDb::open(pack.folder())?);
        Ok(Box::new(serve::Waiting::new(rows, row_bytes)))
    }),
    ("EngramDB, prompts apart", |pack, _| {
        Ok(Box::new(Apart::open(pack.folder())?))
    }),
];
