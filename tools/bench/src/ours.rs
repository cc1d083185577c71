//! Our own readers as contenders.

use anyhow::Result;
use engram::{Backend, Batch, Config, LayerId, OwnedBatch, Reader, Resident, RowId, Store, Ticket};

use crate::{
    mixed::{Contender, Open},
    pack::PackArgs,
    serve::{self, Done, Server},
};

/// Our readers.
pub const READERS: [(&str, Open); 5] = [
    ("direct + cache", |pack, memory| {
        open(pack, direct().cache_bytes(usize::try_from(memory)?))
    }),
    ("direct + columns + cache", |pack, memory| {
        let resident = Resident::Bytes(memory / 2);
        open(
            pack,
            direct()
                .resident(resident)
                .cache_bytes(usize::try_from(memory / 2)?),
        )
    }),
    ("direct", |pack, _| open(pack, direct())),
    ("mmap", |pack, _| {
        open(pack, Config::new().reader(Reader::Mmap))
    }),
    ("pread", |pack, _| {
        open(pack, Config::new().reader(Reader::Pread))
    }),
];

/// Our readers under a server's traffic.
pub const SERVERS: [(&str, serve::Open); 4] = [
    ("io_uring", |pack, memory| {
        open_server(pack, memory, Reader::Direct)
    }),
    ("threads", |pack, memory| {
        open_server(pack, memory, Reader::DirectThreads)
    }),
    ("mmap", |pack, memory| {
        open_server(pack, memory, Reader::Mmap)
    }),
    ("pread", |pack, memory| {
        open_server(pack, memory, Reader::Pread)
    }),
];

fn open_server(pack: &PackArgs, memory: u64, reader: Reader) -> Result<Box<dyn Server>> {
    let config = Config::new().reader(reader);
    let store = pack.open(config.cache_bytes(usize::try_from(memory)?))?;
    Ok(Box::new(Ours(store)))
}

fn direct() -> Config {
    Config::new().reader(Reader::Direct).cache_bytes(0)
}

struct Ours(Store);

fn open(pack: &PackArgs, config: Config) -> Result<Box<dyn Contender>> {
    Ok(Box::new(Ours(pack.open(config)?)))
}

impl Contender for Ours {
    fn describe(&self) -> String {
        let columns: usize = self
            .0
            .metrics()
            .tables
            .iter()
            .map(|t| t.columns.len())
            .sum();
        let all: usize = self.0.scheme().layers.iter().map(|l| l.buckets.len()).sum();
        match self.0.backend() {
            Backend::Direct { .. } => {
                format!(
                    "{}; {} of {all} columns in memory",
                    self.0.backend(),
                    all - columns
                )
            }
            other => other.to_string(),
        }
    }

    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        Ok(self.0.lookup(Batch::new(layer, rows), out)?)
    }
}

impl Server for Ours {
    fn describe(&self) -> String {
        self.0.backend().to_string()
    }

    fn ask(&mut self, batch: OwnedBatch, done: Done) -> Result<Option<Ticket>> {
        let asked = batch.as_batch();
        let buffer = self.0.buffer(asked.layer(), asked.len())?;
        let ticket = self.0.submit_owned(batch, buffer)?;
        ticket.on_done(done);
        Ok(Some(ticket))
    }
}
