use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use engram::{Batch, Config, LayerId, Reader, RowId, Store};
use engram_format::Column;
use engram_io::DirectFile;
use engram_kit::{
    envelope::Outcome,
    figure::{Case, Figure},
    plot::{self, Axes, Line},
    random::Random,
    report::{self, figure},
    say,
    stats::median,
};
use serde_json::json;

use crate::{
    caveat, cold, fio,
    pack::PackArgs,
    raw,
    row_choice::random_rows,
    timing::{Elapsed, Latencies, Stopwatch, rate},
};

/// Rows of the batches of which several are in flight.
const STREAM_ROWS: usize = 1_024;
/// Batches in flight.
const STREAM_TICKETS: usize = 8;
/// Rows of one token of DeepSeek-V4.1-Flash for one layer, and of eighteen.
const SMALL_BATCHES: [usize; 2] = [24, 432];
const SMALL_CALLS: usize = 150;

/// Read random rows from the drive, beside its limit in the same run
///
/// The pack should be larger than the memory.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pack: PackArgs,
    /// Rows of each run
    #[arg(long, default_value_t = 200_000)]
    rows: usize,
    /// Reads in flight
    #[arg(long, default_value_t = 256)]
    depth: u16,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seed of the rows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw reads a second over depth here as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// One way to read.
#[derive(Debug, Clone)]
struct Figures {
    name: String,
    rows_per_second: f64,
    of_limit: f64,
    cpu_us_per_row: f64,
    /// Not known of what the page cache reads.
    bytes_read_per_row: Option<f64>,
    latencies: Vec<BatchLatency>,
    cold: Cold,
    /// Why the share of the limit means nothing, if it does not.
    caveat: Option<String>,
}

/// How long single batches took, in microseconds.
#[derive(Debug, Clone, Copy)]
struct BatchLatency {
    rows: usize,
    p50: f64,
    p99: f64,
}

/// Whether the rows came from the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cold {
    /// They went past the page cache.
    Direct,
    /// The same again took at least five times less.
    Proven,
    /// It did not: the figures mean nothing.
    NotProven,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let manifest = self.pack.manifest()?;
        let paths = self.pack.files(&manifest)?;
        let files = raw::open(&paths)?;
        let layer = manifest.tables[0].layer;
        let columns: Vec<Column> = manifest.scheme.columns(0).collect();
        let mut random = Random::new(self.seed);
        let unit = files[0].unit().max(512);
        let stride = manifest.tables[0].layout().stride();
        say!(
            "{}: {} files, sectors of {unit} bytes, records of {stride}; {} rows a run, {} in flight, median of {}",
            self.pack.folder().display(),
            paths.len(),
            self.rows,
            self.depth,
            self.rounds
        );
        let by_fio = fio::random_reads(&paths[0], unit, self.depth);

        let configs = [
            ("io_uring", direct(Reader::Direct).io(1, self.depth)),
            ("threads", direct(Reader::DirectThreads).io(32, 1)),
        ];
        let mut stores = Vec::new();
        for (_, config) in &configs {
            let start = Instant::now();
            let store = self.pack.open(config.clone())?;
            let opened = 1e3 * start.elapsed().as_secs_f64();
            say!("opened in {} ms: {}", figure(opened), store.backend());
            stores.push(store);
        }
        // In turns, so that a slow minute of the drive slows all.
        let mut limits = Vec::new();
        let mut runs: Vec<Vec<Elapsed>> = vec![Vec::new(); stores.len()];
        for round in 0..self.rounds {
            let reads = raw::random_reads(&files, unit, self.rows, &mut random);
            limits.push(raw::run(&files, &reads, self.depth)?);
            // Fresh rows for each, and another first each time: the host may have a cache too.
            for turn in 0..stores.len() {
                let which = (round + turn) % stores.len();
                let rows = random_rows(&columns, self.rows, &mut random);
                runs[which].push(stream(&stores[which], layer, &rows)?);
            }
        }
        let mut all = vec![Figures {
            name: format!("bare ring of {unit}-byte reads"),
            latencies: Vec::new(),
            bytes_read_per_row: Some(f64::from(unit)),
            ..figures(&limits, self.rows)
        }];
        for ((store, runs), (name, _)) in stores.iter().zip(&runs).zip(&configs) {
            let table = &store.metrics().tables[0];
            let mut figures = figures(runs, self.rows);
            figures.name = (*name).into();
            figures.bytes_read_per_row = Some(ratio(table.bytes_read, table.rows));
            for rows in SMALL_BATCHES {
                figures
                    .latencies
                    .push(latency(store, layer, rows, &columns, &mut random)?);
            }
            all.push(figures);
        }
        for (name, reader) in [("mmap", Reader::Mmap), ("pread", Reader::Pread)] {
            all.push(self.buffered(name, reader, &paths, layer, &columns, &mut random)?);
        }
        if let Some(iops) = by_fio {
            all.push(Figures {
                name: format!("fio, {unit}-byte reads of one file"),
                rows_per_second: iops,
                of_limit: 0.0,
                cpu_us_per_row: f64::NAN,
                bytes_read_per_row: Some(f64::from(unit)),
                latencies: Vec::new(),
                cold: Cold::Direct,
                caveat: self.caveat(&files[..1], unit),
            });
        }
        let limit = all[0].rows_per_second;
        let small = self.caveat(&files, unit);
        for figures in &mut all {
            figures.of_limit = figures.rows_per_second / limit;
            let reason = figures.caveat.take().or_else(|| small.clone());
            figures.caveat = reason.or_else(|| caveat::above_limit(figures.of_limit));
        }
        print(&all)?;
        caveat::tell(all.iter().filter_map(|figures| figures.caveat.as_ref()));
        self.draw(&files, layer, &columns, &mut random)?;
        let report = json!({
            "files": paths.len(),
            "sector_bytes": unit,
            "record_bytes": stride,
            "rows": self.rows,
            "depth": self.depth,
            "rounds": self.rounds,
        });
        let figures = all.iter().flat_map(Figures::named).collect();
        Ok(Outcome::new(&report)?
            .of_pack(self.pack.folder())
            .figures(figures))
    }

    /// Why the reads of a run tell little of the drive with `files`, if they do.
    fn caveat(&self, files: &[DirectFile], unit: u32) -> Option<String> {
        let places = files.iter().map(|file| file.size() / u64::from(unit));
        caveat::repeated_reads((self.rows * self.rounds) as u64, places.sum())
    }

    /// A reader through the page cache, emptied before, and read again to prove it.
    fn buffered(
        &self,
        name: &str,
        reader: Reader,
        paths: &[PathBuf],
        layer: LayerId,
        columns: &[Column],
        random: &mut Random,
    ) -> Result<Figures> {
        // A hundredth of the rows: one read at a time takes long.
        let count = (self.rows / 100).max(1_000);
        let rows = random_rows(columns, count, random);
        cold::evict(paths)?;
        let store = self.pack.open(Config::new().reader(reader))?;
        let first = in_batches(&store, layer, &rows)?;
        let again = in_batches(&store, layer, &rows)?;
        let mut latencies = Vec::new();
        for rows in SMALL_BATCHES {
            latencies.push(latency(&store, layer, rows, columns, random)?);
        }
        Ok(Figures {
            name: format!("{name}, evicted"),
            latencies,
            cold: if cold::was_cold(first.wall, again.wall) {
                Cold::Proven
            } else {
                Cold::NotProven
            },
            ..figures(&[first], count)
        })
    }

    fn draw(
        &self,
        files: &Arc<[DirectFile]>,
        layer: LayerId,
        columns: &[Column],
        random: &mut Random,
    ) -> Result<()> {
        if self.plot.is_none() {
            return Ok(());
        }
        let unit = files[0].unit().max(512);
        let mut lines = ["bare ring", "engram"].map(|name| Line {
            name: name.into(),
            points: Vec::new(),
        });
        for depth in [1, 4, 16, 64, 256_u16] {
            let count = (self.rows / 4).min(usize::from(depth) * 4_000);
            let reads = raw::random_reads(files, unit, count, random);
            let limit = raw::run(files, &reads, depth)?;
            let config = direct(Reader::Direct).io(1, depth);
            let store = self.pack.open(config)?;
            let rows = random_rows(columns, count, random);
            let ours = stream(&store, layer, &rows)?;
            for (line, elapsed) in lines.iter_mut().zip([limit, ours]) {
                line.points.push((depth.into(), rate(count, elapsed.wall)));
            }
        }
        let axes = Axes {
            title: "Random rows from the drive",
            x: "reads in flight",
            y: "rows a second",
            x_log: true,
            y_log: false,
        };
        plot::lines(self.plot.as_deref(), axes, &lines)
    }
}

/// Every row from the drive.
fn direct(reader: Reader) -> Config {
    Config::new().reader(reader).cache_bytes(0)
}

/// Time to read `rows` with several batches in flight.
fn stream(store: &Store, layer: LayerId, rows: &[RowId]) -> Result<Elapsed> {
    let mut tickets = std::collections::VecDeque::new();
    let watch = Stopwatch::start();
    for rows in rows.chunks(STREAM_ROWS) {
        if tickets.len() == STREAM_TICKETS {
            let oldest: engram::Ticket = tickets.pop_front().context("a ticket")?;
            oldest.wait()?;
        }
        let buffer = store.buffer(layer, rows.len())?;
        tickets.push_back(store.submit(Batch::new(layer, rows), buffer)?);
    }
    for ticket in tickets {
        ticket.wait()?;
    }
    Ok(watch.stop())
}

/// Time to look `rows` up, one batch after another.
fn in_batches(store: &Store, layer: LayerId, rows: &[RowId]) -> Result<Elapsed> {
    let mut out = Vec::new();
    let row_bytes = store.codec(layer)?.row_bytes();
    let watch = Stopwatch::start();
    for rows in rows.chunks(STREAM_ROWS) {
        out.resize(rows.len() * row_bytes, 0);
        store.lookup(Batch::new(layer, rows), &mut out)?;
    }
    Ok(watch.stop())
}

/// Median and 99th percentile of lookups of `count` rows that nobody has read yet.
fn latency(
    store: &Store,
    layer: LayerId,
    count: usize,
    columns: &[Column],
    random: &mut Random,
) -> Result<BatchLatency> {
    let mut latencies = Latencies::default();
    let mut out = vec![0; count * store.codec(layer)?.row_bytes()];
    for _ in 0..SMALL_CALLS {
        let rows = random_rows(columns, count, random);
        latencies.time(|| store.lookup(Batch::new(layer, &rows), &mut out))?;
    }
    Ok(BatchLatency {
        rows: count,
        p50: latencies.percentile(50),
        p99: latencies.percentile(99),
    })
}

fn figures(runs: &[Elapsed], rows: usize) -> Figures {
    let median = |clock: fn(&Elapsed) -> Duration| {
        let all: Vec<f64> = runs.iter().map(|run| clock(run).as_secs_f64()).collect();
        Duration::from_secs_f64(median(all))
    };
    Figures {
        name: String::new(),
        rows_per_second: rate(rows, median(|run| run.wall)),
        of_limit: 1.0,
        cpu_us_per_row: 1e6 / rate(rows, median(|run| run.cpu)),
        bytes_read_per_row: None,
        latencies: Vec::new(),
        cold: Cold::Direct,
        caveat: None,
    }
}

impl Figures {
    /// Each by its name.
    fn named(&self) -> Vec<Figure> {
        let cold = match self.cold {
            Cold::Direct => "direct",
            Cold::Proven => "proven",
            Cold::NotProven => "not_proven",
        };
        let case = Case::new().with("reader", &*self.name).with("cold", cold);
        let rate = case.figure("row_rate", "rows/s", self.rows_per_second);
        let bytes = self.bytes_read_per_row.unwrap_or(f64::NAN);
        let mut all = vec![
            rate.of_limit(self.of_limit).caveat(self.caveat.clone()),
            case.figure("cpu_time_per_row", "us", self.cpu_us_per_row),
            case.figure("bytes_read_per_row", "bytes", bytes),
        ];
        for &BatchLatency { rows, p50, p99 } in &self.latencies {
            let case = case.clone().with("rows", rows);
            all.push(case.figure("lookup_latency_p50", "us", p50));
            all.push(case.figure("lookup_latency_p99", "us", p99));
        }
        all
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

fn print(all: &[Figures]) -> Result<()> {
    let [small, large] = SMALL_BATCHES;
    let head = [
        "",
        "rows/s",
        "of limit",
        "CPU us/row",
        "bytes/row",
        &format!("{small} rows p50 us"),
        "p99",
        &format!("{large} rows p50 us"),
        "p99",
        "cold",
    ];
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|figures| {
            let latency = |index: usize| match figures.latencies.get(index) {
                Some(of) => [figure(of.p50), figure(of.p99)],
                None => [const { String::new() }; 2],
            };
            let mut row = vec![
                figures.name.clone(),
                figure(figures.rows_per_second),
                caveat::percent(figures.of_limit, figures.caveat.as_ref()),
                figure(figures.cpu_us_per_row),
                figures.bytes_read_per_row.map_or("-".into(), figure),
            ];
            row.extend(latency(0));
            row.extend(latency(1));
            let cold = match figures.cold {
                Cold::Direct => "direct",
                Cold::Proven => "yes",
                Cold::NotProven => "NOT PROVEN",
            };
            row.push(cold.into());
            row
        })
        .collect();
    report::table(&head, &rows)
}
