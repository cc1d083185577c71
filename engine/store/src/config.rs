//! How a pack is opened.

mod json;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use engram_format::Columns;
use engram_io::{Io, SystemIo};

use crate::{
    backing::OpenBacking,
    open::{MemoryLimit, cache_bytes},
    tier::Tier,
};

pub use json::ConfigError;

/// Deep enough for any drive, and for a batch of a few tokens at once.
const DEFAULT_DEPTH: u16 = 256;

/// Some tickets of a prompt of a thousand tokens.
const DEFAULT_POOL_BYTES: usize = 64 << 20;

/// How the files of a pack are read. All readers return the same bytes.
///
/// A cold pack is read by [`Self::Direct`] or [`Self::DirectThreads`], which then are the same: threads that read
/// frames through the page cache and decompress them. [`Self::Memory`] decompresses all of it when it is opened; the
/// others refuse it ([`OpenError::ColdUnsuited`](crate::OpenError::ColdUnsuited)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reader {
    /// Mapped into memory: the page cache serves what it holds, faults fetch the rest, one at a time.
    Mmap,
    /// One system call a row through the page cache, and no mapping.
    Pread,
    /// Past the page cache, many rows at a time: by `io_uring`, or by threads where the system refuses that or the
    /// file system is served by a process (FUSE) or over Plan 9's protocol, where a ring would wait for each read.
    /// Files that take no direct reads are read through the page cache. [`Store::backend`](crate::Store::backend)
    /// says which it is.
    #[default]
    Direct,
    /// As [`Self::Direct`], always by threads.
    DirectThreads,
    /// Loaded whole when the pack is opened.
    Memory,
}

impl Reader {
    pub(crate) fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::DirectThreads)
    }
}

/// Which columns of a pack are loaded when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resident {
    /// None but with [`Reader::Memory`].
    #[default]
    None,
    /// Those of n-grams of up to this many tokens.
    Orders(u32),
    /// Whole columns, as long as the next one still fits this many bytes: short n-grams first, or with a profile
    /// those that save the drive most look-ups for each byte beside the cache.
    Bytes(u64),
}

/// Settings of an open pack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// How files are read.
    pub reader: Reader,
    /// Whether each row is checked against its seal; in an attached pack, whose rows have none,
    /// whether some known rows are when it is opened.
    pub check_seals: bool,
    /// Folder of the checkpoint behind an attached pack, where it has moved since.
    ///
    /// Its rows have no seals, so its files are watched: after rows have been read, size and times of their file must
    /// be what they were when the pack was opened. Else that lookup and all later ones of the table are
    /// [`LookupError::SourceChanged`](crate::LookupError::SourceChanged). Rows that a cache has were read before the
    /// change, and are served until a read finds it; those of [`Reader::Memory`] were all read when the pack was
    /// opened, and a [backing](Self::backing) of the caller's is the caller's to watch. What the system dates too
    /// coarsely or too late is not seen: a write in the same tick of its clock (some milliseconds) as the one before,
    /// if the pack was opened between them; one through a mapping that had touched the page before; one by another
    /// machine that this one has not heard of. A file that another takes the name of is still open, and is served as
    /// it was.
    pub checkpoint: Option<PathBuf>,
    /// Folders of those stripes of the pack, by number, that do not lie where they did when it was built: each has the
    /// shards as the stripe has them. `engram-pack inspect` lists the stripes.
    pub stripes: BTreeMap<u32, PathBuf>,
    /// Which columns of each layer are open, where several processes or machines share the work, as ranks of a
    /// tensor-parallel model do: the store's [`hasher`](crate::Store::hasher) gives their rows alone, no other row is
    /// served ([`LookupError::ColumnNotOpen`](crate::LookupError::ColumnNotOpen)), and files that have none of them are
    /// not opened, so these may be missing. Caches, profiles and resident columns are about open columns only.
    pub columns: Columns,
    /// Columns that are loaded into memory, whatever the reader. Attached packs have none; those of a cold pack are
    /// decompressed when it is opened.
    pub resident: Resident,
    /// Folder, best on a memory file system, for one copy of the resident columns that all processes with
    /// this pack map; if not given, each process has its own. A process that finds the copies writes nothing there, so
    /// it may be of another user, and the folder read-only. A copy that turns out to be damaged is removed, or replaced
    /// when the pack is opened next. Not for cold packs. [`shared_files`](crate::shared_files) lists what lies there.
    pub resident_folder: Option<PathBuf>,
    /// Bytes for rows read before, for all tables together. Only rows that are fetched, by a direct reader or a
    /// backing of the caller's, are cached, and only where a row is one read. [`Metrics::cache_bytes`] tells the size.
    ///
    /// If not given, 256 MiB, or less where the container or the machine has less: at most a quarter of the memory
    /// that the limits of the process's control groups (cgroups) and the machine leave free when the pack is opened;
    /// with [`Self::cache_folder`] at most a quarter of the limit itself, so that processes agree. More than the limit
    /// is taken as given, with a warning.
    ///
    /// Of a cold pack, an eighth of it is for decompressed frames
    /// ([`FrameMetrics::cache_bytes`](crate::FrameMetrics::cache_bytes)), and the rest for rows.
    ///
    /// Once the pack is open, a thread takes the memory from the system, as long as enough stays free for others;
    /// the rest comes as rows do.
    ///
    /// [`Metrics::cache_bytes`]: crate::Metrics::cache_bytes
    pub cache_bytes: Option<usize>,
    /// Folder of the cache's memory, best on a memory file system, so that several processes with the
    /// same pack and size share it; if not given, the cache is the process's own. All of them must be allowed to write
    /// its files, so users need a group in common and a umask that lets it write; a process that may not has a cache of
    /// its own instead, with a warning, and [`Metrics::shared_cache_bytes`] tells. Nobody may cut a file shorter while
    /// it is in use: the system would end the process (SIGBUS).
    ///
    /// [`Metrics::shared_cache_bytes`]: crate::Metrics::shared_cache_bytes
    pub cache_folder: Option<PathBuf>,
    /// Counts of n-grams to be expected (`format-spec/PROFILE.md`). The file is read and checked when the pack is
    /// opened, in some 40 ns an n-gram; then a thread reads the rows that are wanted most into the cache, where it
    /// has room, until that is full. Look-ups share the drive with it meanwhile;
    /// [`Store::wait_seeded`](crate::Store::wait_seeded) waits for it.
    pub profile: Option<PathBuf>,
    /// Threads that read; 0 for as many as suit the reader. Each of `io_uring` holds
    /// [`Self::io_depth`] reads in flight, each other thread one. Where `io_uring` is refused, as many
    /// threads as suit. Each stripe of a pack has as many, so that a slow drive holds no other up.
    pub io_threads: usize,
    /// Reads in flight of each `io_uring` thread, at least 1.
    pub io_depth: u16,
    /// Threads of the store that gather and plan large batches for their callers
    /// ([`Store::submit_owned`](crate::Store::submit_owned)) and free what large batches leave, started when the pack
    /// is opened; with 0 callers do it themselves. A large [`lookup`](crate::Store::lookup) is gathered by as many, its
    /// caller's among them. If not given, there are as many as cores, 4 at most, and of the store's own one less, which
    /// leaves a core to decode steps.
    pub gather_threads: Option<usize>,
    /// Bytes that buffers of tickets and lookups keep, all together, while nobody uses them.
    pub pool_bytes: usize,
    /// Tiers that are asked before all others, in this order: they serve rows in the place of the pack's.
    pub tiers: Vec<Arc<dyn Tier>>,
    /// Where rows are fetched from that no tier has, whatever the reader; if not given, direct readers fetch
    /// them from the pack's own files. Manifest, token map and resident columns are read there in any case,
    /// and of an attached pack the headers of its files.
    pub backing: Option<Arc<dyn OpenBacking>>,
    /// What gives access to files; a test may give one whose reads fail.
    pub file_access: Arc<dyn Io>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reader: Reader::default(),
            check_seals: true,
            checkpoint: None,
            stripes: BTreeMap::new(),
            columns: Columns::All,
            resident: Resident::None,
            resident_folder: None,
            cache_bytes: None,
            cache_folder: None,
            profile: None,
            io_threads: 0,
            io_depth: DEFAULT_DEPTH,
            gather_threads: None,
            pool_bytes: DEFAULT_POOL_BYTES,
            tiers: Vec::new(),
            backing: None,
            file_access: Arc::new(SystemIo),
        }
    }
}

impl Config {
    /// Whether rows that are not resident are fetched from a backing.
    pub(crate) fn fetches(&self) -> bool {
        self.reader.is_direct() || self.backing.is_some()
    }

    /// Bytes of the caches that a store would have if it were opened now: [`Self::cache_bytes`], or what is chosen
    /// where that says nothing.
    pub fn cache_bytes_now(&self) -> usize {
        cache_bytes(self, MemoryLimit::now())
    }

    /// Direct reads with a cache of 256 MiB, or less where the container has less; seals checked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses how files are read.
    #[must_use]
    pub fn reader(mut self, reader: Reader) -> Self {
        self.reader = reader;
        self
    }

    /// Chooses whether each row is checked against its seal.
    #[must_use]
    pub fn check_seals(mut self, check: bool) -> Self {
        self.check_seals = check;
        self
    }

    /// Chooses the columns that are loaded into memory.
    #[must_use]
    pub fn resident(mut self, resident: Resident) -> Self {
        self.resident = resident;
        self
    }

    /// Shares the resident columns through files in `folder`, which stay there.
    #[must_use]
    pub fn resident_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.resident_folder = Some(folder.into());
        self
    }

    /// Grants `bytes` to a cache of rows.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Shares the cache through files in `folder`.
    #[must_use]
    pub fn cache_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache_folder = Some(folder.into());
        self
    }

    /// Seeds the cache, and chooses resident columns, by the profile at `path`.
    #[must_use]
    pub fn profile(mut self, path: impl Into<PathBuf>) -> Self {
        self.profile = Some(path.into());
        self
    }

    /// Chooses how many threads read, and how many reads each `io_uring` thread has in flight.
    #[must_use]
    pub fn io(mut self, threads: usize, depth: u16) -> Self {
        (self.io_threads, self.io_depth) = (threads, depth);
        self
    }

    /// Chooses how many threads gather large batches from memory.
    #[must_use]
    pub fn gather_threads(mut self, threads: usize) -> Self {
        self.gather_threads = Some(threads);
        self
    }

    /// Says where the checkpoint behind an attached pack lies now.
    #[must_use]
    pub fn checkpoint(mut self, folder: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(folder.into());
        self
    }

    /// Says where a stripe of the pack lies now.
    #[must_use]
    pub fn stripe(mut self, stripe: u32, folder: impl Into<PathBuf>) -> Self {
        self.stripes.insert(stripe, folder.into());
        self
    }

    /// Chooses the columns that are open.
    ///
    /// ```
    /// use engram::{Columns, Config, RowIds, Sequence, Store};
    /// # let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/vectors/deepseek");
    ///
    /// let config = Config::new().columns(Columns::Rank { rank: 1, ranks: 2 });
    /// let store = Store::open(pack, config)?;
    /// let mut row_ids = RowIds::new();
    /// store.hasher().extend(&mut Sequence::new(), &[0, 3, 15], &mut row_ids)?;
    /// for batch in row_ids.batches() {
    ///     let columns = store.columns(batch.layer())?.len(); // half of the layer's
    ///     assert_eq!(batch.len(), 3 * columns); // [token][column of the rank]
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Limits the memory of unused buffers.
    #[must_use]
    pub fn pool_bytes(mut self, bytes: usize) -> Self {
        self.pool_bytes = bytes;
        self
    }

    /// Adds a tier that is asked before the pack's own, after those that were added before.
    #[must_use]
    pub fn tier(mut self, tier: Arc<dyn Tier>) -> Self {
        self.tiers.push(tier);
        self
    }

    /// Fetches rows that no tier has from a storage of the caller's.
    #[must_use]
    pub fn backing(mut self, backing: Arc<dyn OpenBacking>) -> Self {
        self.backing = Some(backing);
        self
    }

    /// Reads files through `io` instead of the operating system's calls.
    #[must_use]
    pub fn file_access(mut self, io: Arc<dyn Io>) -> Self {
        self.file_access = io;
        self
    }
}
