//! What a store has done since it was opened.

use std::{
    iter,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use engram_format::{Column, LayerId};
use serde_json::json;

use crate::{priority::Priority, resolve::RowRef};

/// Counts of one open pack. [`Self::cache_bytes`] and [`Self::shared_cache_bytes`] never change;
/// all others but [`Self::in_flight`] and [`Self::pooled_bytes`] only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// One for each table.
    pub tables: Vec<TableMetrics>,
    /// Reads that are at the drive now.
    pub in_flight: u64,
    /// Bytes that the caches of rows may fill, as [`Config::cache_bytes`](crate::Config::cache_bytes) says or as was
    /// chosen where it says nothing.
    pub cache_bytes: u64,
    /// Those of them in [`Config::cache_folder`](crate::Config::cache_folder); caches that could not be shared there
    /// are this process's own.
    pub shared_cache_bytes: u64,
    /// Of a cold pack, what was done with its frames; else zero.
    pub frames: FrameMetrics,
    /// Bytes of buffers that wait to be used again, at most [`Config::pool_bytes`](crate::Config::pool_bytes).
    pub pooled_bytes: u64,
    /// Rows that the profile put into the cache.
    pub seeded_rows: u64,
    /// Pieces of the profile's rows that could not be read; [`Store::wait_seeded`](crate::Store::wait_seeded)
    /// tells why.
    pub seed_failures: u64,
}

/// Counts of the frames of a cold pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FrameMetrics {
    /// Frames that were read and decompressed.
    pub reads: u64,
    /// Bytes of them in the pack's files.
    pub bytes_read: u64,
    /// Frames that were in the cache of frames when rows of them were read.
    pub hits: u64,
    /// Bytes that the cache of frames may fill: a part of those for rows, see
    /// [`Config::cache_bytes`](crate::Config::cache_bytes).
    pub cache_bytes: u64,
}

/// Counts of one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TableMetrics {
    /// The model's layer id.
    pub layer: LayerId,
    /// Batches looked up or submitted.
    pub batches: u64,
    /// Rows asked for.
    pub rows: u64,
    /// Of columns with rows that are fetched from the drive; those of other columns are in memory or mapped.
    pub columns: Vec<ColumnMetrics>,
    /// Reads of the drive that have ended.
    pub reads: u64,
    /// Bytes they brought.
    pub bytes_read: u64,
    /// Bytes of the rows wanted from them, each once a batch, without seals.
    pub bytes_used: u64,
    /// Time that callers spent waiting for rows.
    pub waited: Duration,
    /// The share of each priority in the batches, rows and time above, in the order of [`Priority::ALL`].
    pub priorities: [PriorityMetrics; Priority::ALL.len()],
}

/// Counts of one priority's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PriorityMetrics {
    /// Whose.
    pub priority: Priority,
    /// Batches looked up or submitted.
    pub batches: u64,
    /// Rows asked for.
    pub rows: u64,
    /// Time that callers spent waiting for rows.
    pub waited: Duration,
}

/// Counts of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnMetrics {
    /// Its index.
    pub column: u32,
    /// Tokens in its n-grams.
    pub order: u32,
    /// Its hash among those of its order.
    pub head: u32,
    /// Rows asked for.
    pub rows: u64,
    /// Rows that were in the row cache.
    pub cached: u64,
}

/// Counts that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    priorities: [PriorityCounters; Priority::ALL.len()],
    pub(crate) reads: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_used: AtomicU64,
    /// Rows found in the cache, and rows fetched, of each column.
    columns: Vec<[AtomicU64; 2]>,
}

#[derive(Debug, Default)]
struct PriorityCounters {
    batches: AtomicU64,
    rows: AtomicU64,
    waited_ns: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            columns: (0..columns).map(|_| Default::default()).collect(),
            ..Self::default()
        }
    }

    /// Counts a batch of `rows` rows that somebody asked for.
    pub(crate) fn add_batch(&self, priority: Priority, rows: usize) {
        let counters = &self.priorities[priority.index()];
        add(&counters.batches, 1);
        add(&counters.rows, rows as u64);
    }

    /// Counts time that a caller has waited.
    pub(crate) fn add_waited(&self, priority: Priority, waited: Duration) {
        let ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        add(&self.priorities[priority.index()].waited_ns, ns);
    }

    /// Counts rows of a column that were found in the cache.
    pub(crate) fn add_cached(&self, column: usize, rows: u32) {
        if rows > 0 {
            add(&self.columns[column][0], rows.into());
        }
    }

    /// Counts rows that are fetched from the backing.
    pub(crate) fn add_fetched(&self, rows: &[RowRef]) {
        for equal in rows.chunk_by(|a, b| a.column == b.column) {
            add(
                &self.columns[usize::from(equal[0].column)][1],
                equal.len() as u64,
            );
        }
    }

    pub(crate) fn snapshot<'a>(
        &self,
        layer: LayerId,
        backed: impl Iterator<Item = (usize, &'a Column)>,
    ) -> TableMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let columns = backed.map(|(place, column)| {
            let [cached, fetched] = self.columns[place].each_ref().map(read);
            ColumnMetrics {
                column: column.index,
                order: column.order,
                head: column.head,
                rows: cached + fetched,
                cached,
            }
        });
        let priorities = Priority::ALL.map(|priority| {
            let counters = &self.priorities[priority.index()];
            PriorityMetrics {
                priority,
                batches: read(&counters.batches),
                rows: read(&counters.rows),
                waited: Duration::from_nanos(read(&counters.waited_ns)),
            }
        });
        TableMetrics {
            layer,
            batches: priorities.iter().map(|of| of.batches).sum(),
            rows: priorities.iter().map(|of| of.rows).sum(),
            columns: columns.collect(),
            reads: read(&self.reads),
            bytes_read: read(&self.bytes_read),
            bytes_used: read(&self.bytes_used),
            waited: priorities.iter().map(|of| of.waited).sum(),
            priorities,
        }
    }
}

/// Name, help and value of a count.
type Count<T> = (&'static str, &'static str, fn(&T) -> String);

const OF_STORES: [Count<Metrics>; 5] = [
    (
        "frame_reads",
        "Frames of a cold pack that were read and decompressed.",
        |store| store.frames.reads.to_string(),
    ),
    (
        "frame_read_bytes",
        "Bytes of them in the pack's files.",
        |store| store.frames.bytes_read.to_string(),
    ),
    (
        "frame_hits",
        "Frames of a cold pack found in the cache of frames.",
        |store| store.frames.hits.to_string(),
    ),
    (
        "seeded_rows",
        "Rows that the profile put into the row cache.",
        |store| store.seeded_rows.to_string(),
    ),
    (
        "seed_failures",
        "Pieces of the profile's rows that could not be read.",
        |store| store.seed_failures.to_string(),
    ),
];

const OF_TABLES: [Count<TableMetrics>; 6] = [
    ("batches", "Batches looked up or submitted.", |table| {
        table.batches.to_string()
    }),
    ("rows", "Rows asked for.", |table| table.rows.to_string()),
    ("reads", "Reads of the drive.", |table| {
        table.reads.to_string()
    }),
    ("read_bytes", "Bytes that reads brought.", |table| {
        table.bytes_read.to_string()
    }),
    (
        "used_bytes",
        "Bytes of the rows wanted from reads.",
        |table| table.bytes_used.to_string(),
    ),
    (
        "wait_seconds",
        "Time that callers waited for rows.",
        |table| table.waited.as_secs_f64().to_string(),
    ),
];

const OF_PRIORITIES: [Count<PriorityMetrics>; 3] = [
    (
        "priority_batches",
        "Batches of a priority looked up or submitted.",
        |of| of.batches.to_string(),
    ),
    (
        "priority_rows",
        "Rows asked for by batches of a priority.",
        |of| of.rows.to_string(),
    ),
    (
        "priority_wait_seconds",
        "Time that callers waited for rows of a priority.",
        |of| of.waited.as_secs_f64().to_string(),
    ),
];

const OF_COLUMNS: [Count<ColumnMetrics>; 2] = [
    (
        "column_rows",
        "Rows asked for of a column on disk.",
        |column| column.rows.to_string(),
    ),
    (
        "column_cached_rows",
        "Rows of a column on disk found in the row cache.",
        |column| column.cached.to_string(),
    ),
];

impl Metrics {
    /// The counts as a JSON object of one line. The names are those of [`Self::to_prometheus`]; times are in
    /// nanoseconds, as `wait_ns`. Later releases may add fields.
    pub fn to_json(&self) -> String {
        let tables = self.tables.iter().map(|table| {
            let columns = table.columns.iter().map(|column| {
                json!({
                    "column": column.column,
                    "order": column.order,
                    "head": column.head,
                    "rows": column.rows,
                    "cached": column.cached,
                })
            });
            let priorities = table.priorities.iter().map(|of| {
                json!({
                    "priority": of.priority.as_str(),
                    "batches": of.batches,
                    "rows": of.rows,
                    "wait_ns": ns(of.waited),
                })
            });
            json!({
                "layer": table.layer,
                "batches": table.batches,
                "rows": table.rows,
                "reads": table.reads,
                "read_bytes": table.bytes_read,
                "used_bytes": table.bytes_used,
                "wait_ns": ns(table.waited),
                "priorities": priorities.collect::<Vec<_>>(),
                "columns": columns.collect::<Vec<_>>(),
            })
        });
        json!({
            "tables": tables.collect::<Vec<_>>(),
            "in_flight": self.in_flight,
            "cache_bytes": self.cache_bytes,
            "shared_cache_bytes": self.shared_cache_bytes,
            "frame_reads": self.frames.reads,
            "frame_read_bytes": self.frames.bytes_read,
            "frame_hits": self.frames.hits,
            "frame_cache_bytes": self.frames.cache_bytes,
            "pooled_bytes": self.pooled_bytes,
            "seeded_rows": self.seeded_rows,
            "seed_failures": self.seed_failures,
        })
        .to_string()
    }

    /// The counts in the text format of Prometheus.
    pub fn to_prometheus(&self) -> String {
        let mut text = format!(
            "# HELP engram_reads_in_flight Reads that are at the drive now.\n\
             # TYPE engram_reads_in_flight gauge\n\
             engram_reads_in_flight {}\n\
             # HELP engram_pooled_bytes Bytes of buffers that wait to be used again.\n\
             # TYPE engram_pooled_bytes gauge\n\
             engram_pooled_bytes {}\n\
             # HELP engram_cache_bytes Bytes that the row caches may fill.\n\
             # TYPE engram_cache_bytes gauge\n\
             engram_cache_bytes {}\n\
             # HELP engram_shared_cache_bytes Bytes of the row caches that other processes share.\n\
             # TYPE engram_shared_cache_bytes gauge\n\
             engram_shared_cache_bytes {}\n\
             # HELP engram_frame_cache_bytes Bytes that the cache of a cold pack's frames may fill.\n\
             # TYPE engram_frame_cache_bytes gauge\n\
             engram_frame_cache_bytes {}\n",
            self.in_flight,
            self.pooled_bytes,
            self.cache_bytes,
            self.shared_cache_bytes,
            self.frames.cache_bytes
        );
        for (name, help, count) in OF_STORES {
            write(
                &mut text,
                name,
                help,
                iter::once((String::new(), count(self))),
            );
        }
        for (name, help, count) in OF_TABLES {
            let values = self.tables.iter();
            let values = values.map(|t| (format!("{{layer=\"{}\"}}", t.layer), count(t)));
            write(&mut text, name, help, values);
        }
        for (name, help, count) in OF_PRIORITIES {
            let values = self.tables.iter().flat_map(|table| {
                let labels = |of: &PriorityMetrics| {
                    format!("{{layer=\"{}\",priority=\"{}\"}}", table.layer, of.priority)
                };
                let priorities = table.priorities.iter();
                priorities.map(move |of| (labels(of), count(of)))
            });
            write(&mut text, name, help, values);
        }
        for (name, help, count) in OF_COLUMNS {
            let columns = self.tables.iter().flat_map(|table| {
                let labels = |column: &ColumnMetrics| {
                    let (layer, order, head) = (table.layer, column.order, column.head);
                    format!("{{layer=\"{layer}\",order=\"{order}\",head=\"{head}\"}}")
                };
                let columns = table.columns.iter();
                columns.map(move |column| (labels(column), count(column)))
            });
            write(&mut text, name, help, columns);
        }
        text
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn write(
    text: &mut String,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (String, String)>,
) {
    let lines = values.map(|(labels, value)| format!("engram_{name}_total{labels} {value}\n"));
    let help = format!("# HELP engram_{name}_total {help}\n");
    let kind = format!("# TYPE engram_{name}_total counter\n");
    text.extend([help, kind].into_iter().chain(lines));
}
