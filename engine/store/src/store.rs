//! The open pack.

mod resident;

use std::{path::Path, sync::Arc, time::Instant};

use engram_format::{Column, Hasher, Manifest, RowCodec, RowId, Scheme};

use crate::{
    columns::InTurn,
    config::Config,
    error::{LookupError, OpenError},
    fetch::{DiskRows, Fetch, Plan, Pool, Want, Workers},
    gather::{Destination, Slice, copy_hits, gather},
    metrics::{Counters, Metrics, add},
    open::{self, Backend},
    rows::Rows,
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
    /// Where rows are read past the page cache.
    workers: Option<Workers>,
}

/// The row requests of one call, all from one layer.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The model's layer id.
    pub layer: u32,
    /// Row ids `[token][column]`, or any others.
    pub rows: &'a [RowId],
}

#[derive(Debug)]
struct Table {
    layer: u32,
    codec: RowCodec,
    row_count: u64,
    columns: Vec<Column>,
    rows: Rows,
    /// The columns' rows that are not in memory.
    disk: Option<Arc<DiskRows>>,
    /// Where all rows are in memory.
    counters: Counters,
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
        let tables = tables.map(|(index, (table, (rows, disk)))| {
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
        });
        Ok(Self {
            tables: tables.collect(),
            manifest: parts.manifest,
            hasher: parts.hasher,
            check_seals: config.check_seals,
            backend: parts.backend,
            pool: Arc::default(),
            workers: parts.workers,
        })
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
        let tables = self.tables.iter().map(|table| {
            let on_disk = table.columns.iter();
            let on_disk =
                on_disk.filter(|column| table.disk.is_some() && !table.rows.holds(column));
            table.counters().snapshot(table.layer, on_disk)
        });
        Metrics {
            tables: tables.collect(),
            in_flight: self.workers.as_ref().map_or(0, Workers::in_flight),
        }
    }

    /// How the rows of `layer` are encoded.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn codec(&self, layer: u32) -> Result<RowCodec, LookupError> {
        Ok(self.table(layer)?.codec)
    }

    /// The columns of `layer`'s table, in order.
    ///
    /// # Errors
    /// As [`Self::codec`].
    pub fn columns(&self, layer: u32) -> Result<&[Column], LookupError> {
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
        let _span = tracing::trace_span!("lookup", batch.layer, rows = batch.rows.len()).entered();
        // No byte of a bad row may be mistaken for a good one.
        self.look_up(batch, out).inspect_err(|_| out.fill(0))
    }

    /// A buffer for `rows` rows of `layer`, whose contents mean nothing yet.
    ///
    /// # Errors
    /// A layer without a table, or no memory.
    pub fn buffer(&self, layer: u32, rows: usize) -> Result<Buffer, LookupError> {
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
        let _span = tracing::trace_span!("submit", batch.layer, rows = batch.rows.len()).entered();
        self.begin(batch, destination, false)
    }

    fn begin(
        &self,
        batch: Batch<'_>,
        destination: Buffer,
        warm: bool,
    ) -> Result<Ticket, LookupError> {
        let began = Instant::now();
        let table = self.table(batch.layer)?;
        table.check(batch.rows, destination.len())?;
        let (mut buffer, home) = destination.into_parts();
        buffer.reset(batch.rows.len(), table.parts());
        let mut fetch = self.pool.fetch();
        let mine = Arc::get_mut(&mut fetch).expect("nobody else has it yet");
        (mine.buffer, mine.home) = (Some(buffer), Some(home));
        mine.began = Some(began);
        if let (Some(disk), Some(workers)) = (&table.disk, &self.workers) {
            mine.rows = Some(disk.clone());
            mine.warm = warm;
            let Fetch { plan, buffer, .. } = mine;
            let out = buffer.as_mut().expect("just put there").bytes();
            let row_bytes = table.codec.row_bytes();
            table.split(disk, batch.rows, plan, &mut Slice { out, row_bytes });
            if !warm {
                disk.count(&plan.counts);
            }
            plan.make_reads(disk, workers.slot_bytes);
            workers.submit(&fetch);
        }
        let ticket = Ticket::new(fetch, self.pool.clone());
        table.gather(batch.rows, self.check_seals, &mut ticket.fetch().buffer())?;
        ticket.fetch().part_ended();
        Ok(ticket)
    }

    /// Reads the rows of `batch` into the cache, some thousands at a time in this order, so that look-ups
    /// find them there: for example those of a profile, the most wanted last. Every column's rows are
    /// taken in, and nothing is counted as a look. Without a cache it only reads.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn warm(&self, batch: Batch<'_>) -> Result<(), LookupError> {
        let layer = batch.layer;
        for rows in batch.rows.chunks(WARM_ROWS) {
            let buffer = self.buffer(layer, rows.len())?;
            self.begin(Batch { layer, rows }, buffer, true)?.wait()?;
        }
        Ok(())
    }

    fn look_up(&self, batch: Batch<'_>, out: &mut [u8]) -> Result<(), LookupError> {
        let table = self.table(batch.layer)?;
        table.check(batch.rows, out.len())?;
        let row_bytes = table.codec.row_bytes();
        let mut out = Slice { out, row_bytes };
        let (Some(disk), Some(workers)) = (&table.disk, &self.workers) else {
            return table.gather(batch.rows, self.check_seals, &mut out);
        };
        let mut fetch = self.pool.fetch();
        let mine = Arc::get_mut(&mut fetch).expect("nobody else has it yet");
        mine.rows = Some(disk.clone());
        table.split(disk, batch.rows, &mut mine.plan, &mut out);
        disk.count(&mine.plan.counts);
        if mine.plan.wants.is_empty() {
            self.pool.put_fetch(fetch);
            return table.gather(batch.rows, self.check_seals, &mut out);
        }
        mine.plan.make_reads(disk, workers.slot_bytes);
        // The caller's memory is only borrowed, so what the threads read goes through a buffer.
        let slots = mine.plan.share_slots();
        mine.buffer = Some(self.pool.buffer(slots, table.parts())?);
        workers.submit(&fetch);
        let gathered = table.gather(batch.rows, self.check_seals, &mut out);
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

    fn table(&self, layer: u32) -> Result<&Table, LookupError> {
        let table = self.tables.iter().find(|table| table.layer == layer);
        table.ok_or_else(|| LookupError::UnknownLayer {
            layer,
            layers: self.tables.iter().map(|table| table.layer).collect(),
        })
    }
}

impl Table {
    fn counters(&self) -> &Counters {
        match &self.disk {
            Some(disk) => &disk.counters,
            None => &self.counters,
        }
    }

    /// Bytes of the parts that a row is read in.
    fn parts(&self) -> [usize; 2] {
        match &self.disk {
            Some(disk) => disk.parts(),
            None => [self.codec.row_bytes(), 0],
        }
    }

    /// Checks a batch and the size of its output.
    fn check(&self, rows: &[RowId], found: usize) -> Result<(), LookupError> {
        let row_bytes = self.codec.row_bytes();
        let expected = rows.len() * row_bytes;
        if found != expected {
            return Err(LookupError::OutputSize {
                rows: rows.len(),
                row_bytes,
                expected,
                found,
            });
        }
        match rows.iter().position(|row| row.0 >= self.row_count) {
            None => {
                add(&self.counters().batches, 1);
                add(&self.counters().rows, rows.len() as u64);
                Ok(())
            }
            Some(index) => Err(LookupError::RowOutOfRange {
                layer: self.layer,
                index,
                row: rows[index],
                row_count: self.row_count,
            }),
        }
    }

    /// Copies the rows that are in the cache to `out`, and adds those that are not in memory either to
    /// `plan`.
    fn split(&self, disk: &DiskRows, rows: &[RowId], plan: &mut Plan, out: &mut Slice<'_>) {
        let Plan { wants, counts, .. } = plan;
        counts.resize(self.columns.len(), [0; 2]);
        let mut in_turn = InTurn::new(&self.columns);
        let column_of_missing = |row| {
            let column = in_turn.of(row);
            (!self.rows.holds(column)).then_some(column.index as usize)
        };
        let looked = |place: usize, column: usize, hit: bool| {
            let [looks, hits] = &mut counts[column];
            *looks += 1;
            *hits += u32::from(hit);
            if !hit {
                let index = u32::try_from(place).expect("a batch of less than 2^32 rows");
                wants.push(Want {
                    row: rows[place],
                    index,
                    slot: index,
                });
            }
        };
        let cache = disk.cache.as_ref().map(|cache| &cache.rows);
        copy_hits(cache, rows, column_of_missing, out, looked);
    }

    /// Copies the rows that are in memory to their places in `out`.
    fn gather(
        &self,
        rows: &[RowId],
        check: bool,
        out: &mut impl Destination,
    ) -> Result<(), LookupError> {
        gather(&self.rows, &self.columns, rows, check, out)
    }
}
