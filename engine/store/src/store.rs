//! The open pack.

mod at_priority;
mod planning;
mod resident;
mod submit_buffer;

use std::{borrow::Cow, path::Path, sync::Arc, time::Instant};

use engram_format::{Batch, Column, Hasher, LayerId, Manifest, OwnedBatch, RowCodec, Scheme};

use crate::{
    backing::{Backing, Destination, Fetch},
    buffer_pool::{Buffer, BufferPool},
    config::Config,
    error::{LookupError, OpenError},
    fill::fill_cache,
    gather::GatherPool,
    lookup::{Scratch, Table, check_shape},
    metrics::Metrics,
    open::{self, Backend, Populating, Reading},
    output::{Output, ValueType, ValuesMut, row_bytes},
    owner::Owner,
    pools::Pools,
    priority::Priority,
    seed::Seeding,
    ticket::Ticket,
    tier::{Admit, CacheTier, Tier},
};

pub use at_priority::AtPriority;
use planning::Planning;
pub use resident::ResidentColumn;
use submit_buffer::SubmitBuffer;

/// Rows of the largest batch that its caller plans, whoever else could: a decode step should not wait for a thread that
/// may be planning a prompt.
const INLINE_ROWS: usize = 1_024;
/// Rows whose memory a reading thread frees without holding others up: some megabytes.
const FREED_AT_ONCE_ROWS: usize = 1 << 14;
/// Rows read at a time to warm the cache.
const WARM_ROWS: usize = 4_096;

/// An open pack: tables of rows, and the scheme by which tokens address them. Shared freely between
/// threads.
///
/// # After a fork
///
/// A store with a backing (a direct reader's, or one of [`Config::backing`]) belongs to the process that opened it. Its
/// reading threads are not copied by `fork`, so in a forked process every lookup and every ticket, those submitted
/// before the fork too, is [`LookupError::Forked`] at once, even where rows are cached or resident. Stores without a
/// backing, of the other readers, serve there as before. Dropping a store or a ticket in the forked process is safe:
/// what belongs to the threads is left alone and never freed there. Nothing of this touches the parent; a store that
/// the forked process opens is its own. A callback of [`Ticket::on_done`] that forks must end the forked process
/// itself, by `exec` or `_exit`, since there it is the reading thread that goes on.
///
/// ```
/// use engram::{Config, RowIds, Sequence, Store};
/// # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
///
/// let store = Store::open(pack, Config::new())?;
///
/// // Hash the tokens of a prompt to the rows that it needs, in every layer that has a table.
/// let (mut sequence, mut row_ids) = (Sequence::new(), RowIds::new());
/// store.hasher().extend(&mut sequence, &[0, 3, 15], &mut row_ids)?;
///
/// for batch in row_ids.batches() {
///     let codec = store.codec(batch.layer())?;
///     let mut values = vec![0.0_f32; batch.len() * codec.width()]; // [token][column][value]
///     store.lookup_values(batch, &mut values[..])?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Store {
    manifest: Manifest,
    hasher: Hasher,
    tables: Vec<Arc<Table>>,
    reading: Reading,
    pools: Arc<Pools>,
    /// Where a profile has rows for a cache.
    seeding: Option<Seeding>,
    /// Where rows are fetched from.
    backing: Option<Arc<dyn Backing>>,
    /// Tiers of the caller's, which may serve other rows than the pack has.
    own_tiers: Vec<Arc<dyn Tier>>,
    /// Ends with the store.
    _populating: Option<Populating>,
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
        tracing::debug!(backend = %parts.reading.backend(), "opened");
        let owner = Owner::current(parts.backing.is_some());
        let pools = Arc::new(Pools::new(owner, config.pool_bytes, config.gather_threads));
        let seeding = match (parts.profile, &parts.backing) {
            (Some(profile), Some(_)) => {
                Seeding::start(profile, &parts.hasher, &parts.tables, &pools)
            }
            _ => None,
        };
        Ok(Self {
            manifest: parts.manifest,
            hasher: parts.hasher,
            tables: parts.tables,
            reading: parts.reading,
            pools,
            seeding,
            backing: parts.backing,
            own_tiers: config.tiers,
            _populating: parts.populating,
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

    /// Turns tokens into row ids of the columns that are open.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// How files are read, as chosen and as the system allows now.
    pub fn backend(&self) -> Backend {
        self.reading.backend()
    }

    /// What has been done since the pack was opened.
    pub fn metrics(&self) -> Metrics {
        let tables = self.tables.iter().map(|table| {
            let backed = table.columns.iter().enumerate();
            let backed = backed.filter(|(place, _)| table.is_backed[*place]);
            table.counters.snapshot(table.layer, backed)
        });
        let caches = || self.tables.iter().filter_map(|table| table.cache());
        let bytes = |cache: &CacheTier| cache.rows().bytes() as u64;
        let seeding = self.seeding.as_ref();
        let [seeded_rows, seed_failures] = seeding.map_or([0; 2], Seeding::counts);
        Metrics {
            tables: tables.collect(),
            in_flight: self
                .backing
                .as_ref()
                .map_or(0, |backing| backing.in_flight()),
            cache_bytes: caches().map(bytes).sum(),
            frames: self.reading.frames(),
            shared_cache_bytes: caches().filter(|cache| cache.is_shared()).map(bytes).sum(),
            pooled_bytes: self.pools.buffers.unused_bytes(),
            seeded_rows,
            seed_failures,
        }
    }

    /// Whether a [tier](Config::tier) of the caller's changes rows while the store is open, so that whoever keeps a
    /// copy of a row may have an old one.
    pub fn rows_change(&self) -> bool {
        let mut tiers = self.own_tiers.iter();
        tiers.any(|tier| tier.pinned().is_some())
    }

    /// How the rows of `layer` are encoded.
    ///
    /// # Errors
    /// A layer without a table.
    pub fn codec(&self, layer: LayerId) -> Result<RowCodec, LookupError> {
        Ok(self.table(layer)?.codec)
    }

    /// The open columns of `layer`'s table, in order: all, or those that [`Config::columns`] chose. They follow one
    /// another.
    ///
    /// # Errors
    /// As [`Self::codec`].
    pub fn columns(&self, layer: LayerId) -> Result<&[Column], LookupError> {
        Ok(&self.table(layer)?.columns)
    }

    /// Checks that the rows of `batch`, and the n-grams behind them if it carries any, can be looked up.
    ///
    /// # Errors
    /// A layer or row that is not there or not open, or n-grams of other columns.
    pub fn check(&self, batch: Batch<'_>) -> Result<(), LookupError> {
        self.table(batch.layer())?.check_rows(&batch)
    }

    /// Looks rows up before or after what others want, rather than by the size of the batch.
    pub fn at(&self, priority: Priority) -> AtPriority<'_> {
        AtPriority::new(self, priority)
    }

    /// Copies the rows of `batch` to `out`, one after another: `[token][column][row bytes]`.
    ///
    /// Blocks while rows are read. Rows in memory are copied where they lie, by several threads from 16,384 rows on
    /// ([`Config::gather_threads`](crate::Config::gather_threads)); a smaller batch whose rows are all in memory
    /// neither allocates nor takes a lock.
    ///
    /// ```
    /// use engram::{Batch, Config, LayerId, RowId, Store};
    /// # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
    ///
    /// let store = Store::open(pack, Config::new())?;
    /// let row_ids = [RowId(0), RowId(7)];
    /// let mut bytes = vec![0; row_ids.len() * store.codec(LayerId(1))?.row_bytes()];
    /// store.lookup(Batch::new(LayerId(1), &row_ids), &mut bytes)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A layer or row that is not there, an `out` of another size than the rows, a failed read, or a
    /// damaged record. Then `out` is all zero.
    pub fn lookup(&self, batch: Batch<'_>, out: &mut [u8]) -> Result<(), LookupError> {
        self.answer(batch, Priority::of_rows(batch.len()), None, out)
    }

    /// As [`Self::lookup`], with the rows decoded to `f32`, `f16` or `bf16` as they are copied:
    /// `[token][column][value]`.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn lookup_values<'a>(
        &self,
        batch: Batch<'_>,
        out: impl Into<ValuesMut<'a>>,
    ) -> Result<(), LookupError> {
        let (value_type, out) = out.into().into_bytes();
        let priority = Priority::of_rows(batch.len());
        self.answer(batch, priority, Some(value_type), out)
    }

    fn answer(
        &self,
        batch: Batch<'_>,
        priority: Priority,
        value_type: Option<ValueType>,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        let span = tracing::trace_span!("lookup", layer = batch.layer().0, rows = batch.len());
        let _entered = span.entered();
        let answered = self.table(batch.layer()).and_then(|table| {
            self.pools.owner.check()?;
            let mut output = Output::new(table.codec, value_type, out);
            table.check(&batch, &output)?;
            table.counters.add_batch(priority, batch.len());
            let tiers = table.pinned();
            Scratch::with(|scratch| {
                table.gather(&self.pools.gather, &tiers, batch, &mut output, scratch)?;
                if scratch.missing.is_empty() {
                    return Ok(());
                }
                self.fetch_missing(table, priority, &mut output, scratch)
            })
        });
        // No byte of a bad row may be mistaken for a good one.
        answered.inspect_err(|_| out.fill(0))
    }

    /// Fetches the rows that no tier has, and waits for them. The caller's memory is only borrowed, so they
    /// come to a buffer of the store's first.
    fn fetch_missing(
        &self,
        table: &Table,
        priority: Priority,
        output: &mut Output<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), LookupError> {
        let mut fetch = self.pools.fetches.take();
        let (_, mut work) = Fetch::prepare(&mut fetch);
        work.priority = priority;
        let backed = table.plan(&mut work, &mut scratch.missing);
        let rows = work.plan.rows.len();
        work.destination = Destination::Staging(self.pools.buffers.take(rows, table.parts())?);
        fetch.set_work(work);
        backed.start(Fetch::begin(&fetch));
        let ended = Fetch::wait_counted(&mut fetch);
        let result = ended.result();
        if let Destination::Staging(mut buffer) = ended.take_destination() {
            if result.is_ok() {
                let row_bytes = table.codec.row_bytes();
                let found = buffer.bytes();
                let mut place = 0;
                for equal in ended.rows().chunk_by(|a, b| a.row_id == b.row_id) {
                    let row = &found[place * row_bytes..][..row_bytes];
                    equal
                        .iter()
                        .for_each(|wanted| output.put(wanted.index as usize, row));
                    place += equal.len();
                }
            }
            self.pools.buffers.recycle(buffer);
        }
        self.pools.fetches.put_back(fetch);
        result
    }

    /// A buffer for the bytes of `rows` rows of `layer`, whose contents mean nothing yet.
    ///
    /// # Errors
    /// A layer without a table, or no memory.
    pub fn buffer(&self, layer: LayerId, rows: usize) -> Result<Buffer, LookupError> {
        let parts = self.table(layer)?.parts();
        let buffer = self.pools.buffers.take_shaped(rows, parts)?;
        Ok(Buffer::new(buffer, self.pools.buffers.clone()))
    }

    /// A buffer for `rows` rows of `layer` that are decoded to `value_type` as they come.
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn value_buffer(
        &self,
        layer: LayerId,
        rows: usize,
        value_type: ValueType,
    ) -> Result<Buffer, LookupError> {
        let bytes = row_bytes(self.codec(layer)?, Some(value_type));
        let buffer = self.pools.buffers.take_shaped(rows, [bytes, 0])?;
        Ok(Buffer::new(buffer, self.pools.buffers.clone()).of_values(value_type))
    }

    /// Begins to read the rows of `batch` into `destination`, as bytes `[token][column][row bytes]` or as
    /// values, whichever the buffer is for. Rows in memory are there when it returns, the others when the
    /// ticket is done. Reads are planned before it returns, some 100 ns a row: see [`Self::submit_owned`] for large
    /// batches.
    ///
    /// ```
    /// use engram::{Config, RowIds, Sequence, Store, ValueType};
    /// # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
    ///
    /// let store = Store::open(pack, Config::new())?;
    /// let mut row_ids = RowIds::new();
    /// store.hasher().extend(&mut Sequence::new(), &[0, 3, 15], &mut row_ids)?;
    ///
    /// // Ask for the rows of all layers before the model runs its first one.
    /// let mut tickets = Vec::new();
    /// for batch in row_ids.batches() {
    ///     let buffer = store.value_buffer(batch.layer(), batch.len(), ValueType::F32)?;
    ///     tickets.push(store.submit(batch, buffer)?);
    /// }
    /// for ticket in tickets {
    ///     // ... earlier layers compute ...
    ///     let values = ticket.wait()?;
    ///     assert!(values.as_f32().iter().all(|value| value.is_finite()));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A layer or row that is not there, a `destination` of another size than the rows or not aligned for its
    /// values, no memory, or what a tier cannot serve; errors of fetched rows come with the ticket.
    pub fn submit(&self, batch: Batch<'_>, destination: Buffer) -> Result<Ticket, LookupError> {
        self.ask(batch, Priority::of_rows(batch.len()), destination)
    }

    fn ask(
        &self,
        batch: Batch<'_>,
        priority: Priority,
        destination: Buffer,
    ) -> Result<Ticket, LookupError> {
        let span = tracing::trace_span!("submit", layer = batch.layer().0, rows = batch.len());
        let _entered = span.entered();
        let began = Instant::now();
        let table = self.table(batch.layer())?;
        self.pools.owner.check()?;
        let mut destination = SubmitBuffer(destination);
        table.check(&batch, &destination.output(table)?)?;
        table.counters.add_batch(priority, batch.len());
        destination.reset(table, batch.len());
        let tiers = table.pinned();
        Scratch::with(|scratch| {
            let mut output = destination.output(table)?;
            table.gather(&self.pools.gather, &tiers, batch, &mut output, scratch)?;
            let mut fetch = self.pools.fetches.take();
            let (mine, mut work) = Fetch::prepare(&mut fetch);
            mine.began = Some(began);
            work.priority = priority;
            work.freed_by = self.freed_by(batch.len());
            let backed =
                (!scratch.missing.is_empty()).then(|| table.plan(&mut work, &mut scratch.missing));
            let rows = work.plan.rows.len();
            work.destination = destination.into_fetch(table, rows, &self.pools)?;
            fetch.set_work(work);
            if let Some(backed) = backed {
                backed.start(Fetch::begin(&fetch));
            }
            fetch.note_time();
            let version = table.version(&tiers);
            Ok(Ticket::new(fetch, self.pools.clone(), version))
        })
    }

    /// As [`Self::submit`], and returns within some microseconds however large the batch is: batches of more than 1,024
    /// rows are checked, gathered and planned by threads of the store's
    /// ([`Config::gather_threads`](crate::Config::gather_threads)). Smaller ones are
    /// served by the caller as by [`Self::submit`]; that takes up to 100 microseconds where their rows are in memory,
    /// and as long as the reads where files are read through.
    ///
    /// # Errors
    /// As [`Self::submit`], but for a row that is not there and what a tier cannot serve, which come with the ticket
    /// where the batch is that large.
    pub fn submit_owned(
        &self,
        batch: OwnedBatch,
        destination: Buffer,
    ) -> Result<Ticket, LookupError> {
        let priority = Priority::of_rows(batch.as_batch().len());
        self.ask_owned(batch, priority, destination)
    }

    fn ask_owned(
        &self,
        batch: OwnedBatch,
        priority: Priority,
        destination: Buffer,
    ) -> Result<Ticket, LookupError> {
        let asked = batch.as_batch();
        if asked.len() <= INLINE_ROWS {
            return self.ask(asked, priority, destination);
        }
        self.pools.owner.check()?;
        let began = Instant::now();
        let table = self.table(asked.layer())?;
        let mut destination = SubmitBuffer(destination);
        check_shape(&asked, &destination.output(table)?)?;
        table.counters.add_batch(priority, asked.len());
        let freed_by = self.freed_by(asked.len());
        let mut fetch = self.pools.fetches.take();
        let (mine, mut work) = Fetch::prepare(&mut fetch);
        mine.began = Some(began);
        (work.priority, work.freed_by) = (priority, freed_by);
        let tiers = table.pinned();
        let version = table.version(&tiers);
        let planning = Planning {
            tiers: match tiers {
                Cow::Borrowed(_) => None,
                Cow::Owned(tiers) => Some(tiers),
            },
            table: table.clone(),
            batch,
            work,
            destination,
            pools: self.pools.clone(),
            next: 0,
            missing: Vec::new(),
            part: Fetch::begin(&fetch),
        };
        planning.begin();
        Ok(Ticket::new(fetch, self.pools.clone(), version))
    }

    /// Who frees the memory of a batch of `rows` rows; nobody but its last holder if that is soon done.
    fn freed_by(&self, rows: usize) -> Option<Arc<GatherPool>> {
        (rows > FREED_AT_ONCE_ROWS).then(|| self.pools.gather.clone())
    }

    /// Reads the rows of `batch` into the cache, some thousands at a time in this order, so that lookups
    /// find them there. The rows of every column are taken in, in the place of others if need be, so the
    /// most wanted should come last. No metric counts them as asked for. Without a cache it only reads.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn warm(&self, batch: Batch<'_>) -> Result<(), LookupError> {
        let table = self.table(batch.layer())?;
        self.pools.owner.check()?;
        table.check_rows(&batch)?;
        let row_bytes = table.codec.row_bytes();
        for row_ids in batch.row_ids().chunks(WARM_ROWS) {
            let mut buffer = self.pools.buffers.take(row_ids.len(), [row_bytes, 0])?;
            let warmed = self.warm_piece(table, Batch::new(table.layer, row_ids), buffer.bytes());
            self.pools.buffers.recycle(buffer);
            warmed?;
        }
        Ok(())
    }

    fn warm_piece(
        &self,
        table: &Table,
        batch: Batch<'_>,
        out: &mut [u8],
    ) -> Result<(), LookupError> {
        let mut output = Output::new(table.codec, None, out);
        Scratch::with(|scratch| {
            table.serve(table.tiers_before_cache(), batch, &mut output, scratch)?;
            let Some(backed) = &table.backed else {
                return Ok(());
            };
            let cache = backed.receiver.cache.as_ref();
            let missing = scratch.missing.iter().copied();
            let uncached =
                missing.filter(|row| cache.is_none_or(|cache| !cache.rows().contains(row.row_id)));
            fill_cache(backed, uncached, Admit::Always, &self.pools).map(drop)
        })
    }

    /// Waits until the rows of [`Config::profile`] are in the cache, as many as it had room for, and returns
    /// how many were read: 0 without a profile or a cache.
    ///
    /// Lookups need not wait: each finds what is there already. A cache in a shared folder that is full of
    /// what others have read is left as it is.
    ///
    /// # Errors
    /// The first rows that could not be read, or a damaged record. The others have been taken in all the same.
    pub fn wait_seeded(&self) -> Result<u64, &LookupError> {
        self.seeding.as_ref().map_or(Ok(0), Seeding::wait)
    }

    fn table(&self, layer: LayerId) -> Result<&Arc<Table>, LookupError> {
        let table = self.tables.iter().find(|table| table.layer == layer);
        table.ok_or_else(|| LookupError::UnknownLayer {
            layer,
            layers: self.tables.iter().map(|table| table.layer).collect(),
        })
    }
}
