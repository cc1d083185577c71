//! The open pack.

mod resident;

use std::{path::Path, sync::Arc, time::Instant};

use engram_format::{Batch, Column, Hasher, LayerId, Manifest, Profile, RowCodec, Scheme};

use crate::{
    config::Config,
    error::{LookupError, OpenError},
    fetch::{Fetch, Intake, Pool, Workers},
    gather::{Destination, Slice},
    metrics::{Counters, Metrics},
    open::{self, Backend},
    seed::{SeededTable, Seeding, Source},
    table::Table,
    ticket::{Buffer, Ticket},
};

pub use resident::ResidentColumn;

/// Rows read at a time to warm the cache.
const WARM_ROWS: usize = 4_096;

/// An open pack. Shared freely between threads.
#[derive(Debug)]
pub struct Store {
    manifest: Manifest,
    hasher: Hasher,
    tables: Vec<Table>,
    check_seals: bool,
    backend: Backend,
    pool: Arc<Pool>,
    /// Where a profile has rows for a cache.
    seeding: Option<Seeding>,
    /// Where rows are read past the page cache.
    workers: Option<Arc<Workers>>,
}

impl Store {
    /// Opens the pack in the folder `path` and checks its manifest, its token map, and the size and
    /// header of every shard (of every source file where the pack is attached).
    ///
    /// # Errors
    /// A missing, damaged, foreign or newer file; see [`OpenError`].
    pub fn open(path: impl AsRef<Path>, config: Config) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let _span = tracing::debug_span!("open", pack = %path.display()).entered();
        let parts = open::open(path, &config)?;
        tracing::debug!(backend = %parts.backend, "opened");
        let scheme = &parts.manifest.scheme;
        let tables = parts.manifest.tables.iter().zip(parts.rows).enumerate();
        let tables: Vec<Table> = tables
            .map(|(index, (table, (rows, disk)))| {
                let columns: Vec<Column> = scheme.columns(index).collect();
                Table {
                    layer: table.layer,
                    codec: table.codec,
                    row_count: columns.iter().map(|column| column.row_count).sum(),
                    columns,
                    rows,
                    disk,
                    counters: Counters::default(),
                }
            })
            .collect();
        let mut store = Self {
            tables,
            manifest: parts.manifest,
            hasher: parts.hasher,
            check_seals: config.check_seals,
            backend: parts.backend,
            pool: Arc::default(),
            seeding: None,
            workers: parts.workers.map(Arc::new),
        };
        store.seeding = match parts.profile {
            Some(profile) => store.seed(profile)?,
            None => None,
        };
        Ok(store)
    }

    /// Starts to read the rows of `profile` into the caches, where there are any.
    fn seed(&self, profile: Profile) -> Result<Option<Seeding>, OpenError> {
        let tables = self.tables.iter().enumerate();
        let tables: Vec<SeededTable> = tables
            .filter_map(|(layer_index, table)| {
                let disk = table.disk.as_ref()?;
                disk.cache.as_ref()?;
                Some(SeededTable {
                    layer_index,
                    columns: table.on_disk().copied().collect(),
                    disk: disk.clone(),
                })
            })
            .collect();
        let Some(workers) = self.workers.clone().filter(|_| !tables.is_empty()) else {
            return Ok(None);
        };
        let pool = self.pool.clone();
        let source = Source { workers, pool };
        let seeding = Seeding::start(profile, self.hasher.clone(), tables, source)?;
        Ok(Some(seeding))
    }

    /// What the pack says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How tokens address rows.
    pub fn scheme(&self) -> &Scheme {
        self.hasher.scheme()
    }

    /// Turns tokens into row ids.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// How files are read, as chosen and as the system allowed.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What has been done since the pack was opened.
    pub fn metrics(&self) -> Metrics {
        let tables = self
            .tables
            .iter()
            .map(|table| table.counters().snapshot(table.layer, table.on_disk()));
        let seeding = self.seeding.as_ref();
        let [seeded_rows, seed_failures] = seeding.map_or([0; 2], Seeding::counts);
        Metrics {
            tables: tables.collect(),
            in_flight: self
                .workers
                .as_ref()
                .map_or(0, |workers| workers.in_flight()),
            seeded_rows,
            seed_failures,
        }
    }

    /// How the rows of `layer` are encoded.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn codec(&self, layer: LayerId) -> Result<RowCodec, LookupError> {
        Ok(self.table(layer)?.codec)
    }

    /// The columns of `layer`'s table, in order.
    ///
    /// # Errors
    /// As [`Self::codec`].
    pub fn columns(&self, layer: LayerId) -> Result<&[Column], LookupError> {
        Ok(&self.table(layer)?.columns)
    }

    /// Copies the rows of `batch` to `out`, one after another: `[token][column][row bytes]`.
    ///
    /// Blocks while it reads. Rows in memory are copied where they lie, without allocation, while the
    /// others are on their way.
    ///
    /// # Errors
    /// A layer or row that is not there, an `out` of another size than the rows, a failed read, or a
    /// damaged record. Then `out` is all zero.
    pub fn lookup(&self, batch: Batch<'_>, out: &mut [u8]) -> Result<(), LookupError> {
        let _span =
            tracing::trace_span!("lookup", layer = batch.layer().0, rows = batch.len()).entered();
        // No byte of a bad row may be mistaken for a good one.
        self.look_up(batch, out).inspect_err(|_| out.fill(0))
    }

    /// A buffer for `rows` rows of `layer`, whose contents mean nothing yet.
    ///
    /// # Errors
    /// A layer without a table, or no memory.
    pub fn buffer(&self, layer: LayerId, rows: usize) -> Result<Buffer, LookupError> {
        let parts = self.table(layer)?.parts();
        Ok(Buffer::new(
            self.pool.buffer(rows, parts)?,
            self.pool.clone(),
        ))
    }

    /// Begins to read the rows of `batch` into `destination`: `[token][column][row bytes]`. Rows in memory
    /// are there when it returns, the others when the ticket is done.
    ///
    /// # Errors
    /// A layer or row that is not there, a `destination` of another size than the rows, or a damaged record
    /// in memory; other errors come with the ticket.
    pub fn submit(&self, batch: Batch<'_>, destination: Buffer) -> Result<Ticket, LookupError> {
        let _span =
            tracing::trace_span!("submit", layer = batch.layer().0, rows = batch.len()).entered();
        self.begin(batch, destination, Intake::Offer)
    }

    fn begin(
        &self,
        batch: Batch<'_>,
        destination: Buffer,
        intake: Intake,
    ) -> Result<Ticket, LookupError> {
        let began = Instant::now();
        let table = self.table(batch.layer())?;
        table.check(batch.row_ids(), destination.len())?;
        let (mut buffer, home) = destination.into_parts();
        buffer.reset(batch.len(), table.parts());
        let mut fetch = self.pool.fetch();
        let mine = Arc::get_mut(&mut fetch).expect("nobody else has it yet");
        (mine.buffer, mine.home) = (Some(buffer), Some(home));
        mine.began = Some(began);
        if let (Some(disk), Some(workers)) = (&table.disk, &self.workers) {
            mine.rows = Some(disk.clone());
            mine.intake = intake;
            let Fetch { plan, buffer, .. } = mine;
            let out = buffer.as_mut().expect("just put there").bytes();
            let row_bytes = table.codec.row_bytes();
            table.split(disk, batch.row_ids(), plan, &mut Slice { out, row_bytes });
            if intake == Intake::Offer {
                disk.count(&plan.counts);
            }
            plan.make_reads(disk, workers.slot_bytes);
            workers.submit(&fetch);
        }
        let ticket = Ticket::new(fetch, self.pool.clone());
        table.gather(
            batch.row_ids(),
            self.check_seals,
            &mut ticket.fetch().buffer(),
        )?;
        ticket.fetch().part_ended();
        Ok(ticket)
    }

    /// Reads the rows of `batch` into the cache, some thousands at a time in this order, so that look-ups
    /// find them there. Every column's rows are taken in, in the place of others if need be, so the most wanted should
    /// come last; nothing is counted as a look. Without a cache it only reads.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn warm(&self, batch: Batch<'_>) -> Result<(), LookupError> {
        let layer = batch.layer();
        for rows in batch.row_ids().chunks(WARM_ROWS) {
            let buffer = self.buffer(layer, rows.len())?;
            self.begin(Batch::new(layer, rows), buffer, Intake::Warm)?
                .wait()?;
        }
        Ok(())
    }

    /// Waits until the rows of [`Config::profile`] are in the cache, as many as it had room for, and returns how many
    /// were read: 0 without a profile or a cache.
    ///
    /// Look-ups need not wait: each finds what is there already. A cache in a shared folder that is full of
    /// what others have read is left as it is.
    ///
    /// # Errors
    /// The first rows that could not be read, or a damaged record. The others have been taken in all the same.
    pub fn seeded(&self) -> Result<u64, &LookupError> {
        self.seeding.as_ref().map_or(Ok(0), Seeding::wait)
    }

    fn look_up(&self, batch: Batch<'_>, out: &mut [u8]) -> Result<(), LookupError> {
        let table = self.table(batch.layer())?;
        table.check(batch.row_ids(), out.len())?;
        let row_bytes = table.codec.row_bytes();
        let mut out = Slice { out, row_bytes };
        let (Some(disk), Some(workers)) = (&table.disk, &self.workers) else {
            return table.gather(batch.row_ids(), self.check_seals, &mut out);
        };
        let mut fetch = self.pool.fetch();
        let mine = Arc::get_mut(&mut fetch).expect("nobody else has it yet");
        mine.rows = Some(disk.clone());
        table.split(disk, batch.row_ids(), &mut mine.plan, &mut out);
        disk.count(&mine.plan.counts);
        if mine.plan.wants.is_empty() {
            self.pool.put_fetch(fetch);
            return table.gather(batch.row_ids(), self.check_seals, &mut out);
        }
        mine.plan.make_reads(disk, workers.slot_bytes);
        // The caller's memory is only borrowed, so what the threads read goes through a buffer.
        let slots = mine.plan.share_slots();
        mine.buffer = Some(self.pool.buffer(slots, table.parts())?);
        workers.submit(&fetch);
        let gathered = table.gather(batch.row_ids(), self.check_seals, &mut out);
        let mine = Fetch::finish(&mut fetch);
        gathered?;
        let mut buffer = mine.take_result()?;
        let found = buffer.bytes();
        for want in &mine.plan.wants {
            let start = want.slot as usize * row_bytes;
            let row = &found[start..start + row_bytes];
            out.row(want.index as usize, |out| out.copy_from_slice(row));
        }
        mine.buffer = Some(buffer);
        self.pool.put_fetch(fetch);
        Ok(())
    }

    fn table(&self, layer: LayerId) -> Result<&Table, LookupError> {
        let table = self.tables.iter().find(|table| table.layer == layer);
        table.ok_or_else(|| LookupError::UnknownLayer {
            layer,
            layers: self.tables.iter().map(|table| table.layer).collect(),
        })
    }
}
