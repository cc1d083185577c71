mod bare;
mod edited;

use std::{path::PathBuf, rc::Rc, sync::Arc};

use anyhow::{Result, ensure};
use engram::{Batch, Config, LayerId, Reader, RowId, Store};
use engram_format::Column;
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
    caveat,
    pack::PackArgs,
    row_choice::random_rows,
    timing::{Latencies, float, rate},
};

use bare::Bare;

/// Rows of a call: eight sequences that decode, one layer of DeepSeek-V4.1-Flash; and prefills of 64, 680 and 2,720
/// tokens.
const CALLS: [usize; 4] = [8 * 24, 64 * 24, 680 * 24, 2_720 * 24];

/// Read random rows from memory, beside a bare prefetching copy in the same run
///
/// The pack must fit in memory six times.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pack: PackArgs,
    /// Rows of each run
    #[arg(long, default_value_t = 2_000_000)]
    rows: usize,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seed of the rows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also with so many rows edited, none of those read or one in a hundred of them
    #[arg(long, value_name = "N")]
    overlay: Option<usize>,
    /// Draw nanoseconds a row over rows a call here, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Which of those that copy has a cache.
const CACHE: usize = 4;

/// Medians of the rounds.
#[derive(Debug)]
struct Figures {
    name: &'static str,
    rows_per_call: usize,
    rows_per_second: f64,
    ns_per_row: f64,
    /// Of the bare copy's rows a second.
    of_limit: f64,
    call_p50_us: f64,
    call_p99_us: f64,
    /// Why the share of the limit means nothing, if it does not.
    caveat: Option<String>,
}

/// What copies rows.
enum Copier {
    Bare(Rc<Bare>),
    /// The same with a look at the seals, but no search for where a row lies.
    BareSealed(Rc<Bare>),
    Store(Box<Store>),
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let manifest = self.pack.manifest()?;
        let layer = manifest.tables[0].layer;
        let columns: Vec<Column> = manifest.scheme.columns(0).collect();
        let table_rows: u64 = columns.iter().map(|column| column.row_count).sum();
        let row_bytes = manifest.tables[0].codec.row_bytes();
        let bare = Rc::new(Bare::open(&self.pack, &manifest, &columns)?);
        let one_thread = |config: Config| config.gather_threads(1);
        let open = |config: Config| {
            Ok::<_, anyhow::Error>(Copier::Store(Box::new(self.pack.open(config)?)))
        };
        // Room for every row of a table in its share.
        let tables = manifest.tables.len() as u64;
        let cache_bytes = usize::try_from(tables * table_rows)? * (row_bytes + 40) * 5 / 4;
        let cached = Config::new()
            .reader(Reader::Direct)
            .cache_bytes(cache_bytes);
        let memory = Config::new().reader(Reader::Memory);
        let unchecked = memory.clone().check_seals(false);
        let mut copiers = vec![
            ("bare prefetching copy", Copier::Bare(bare.clone())),
            ("bare copy with seals", Copier::BareSealed(bare)),
            ("memory", open(one_thread(memory.clone()))?),
            ("memory, seals unchecked", open(one_thread(unchecked))?),
            ("row cache", open(one_thread(cached))?),
            (
                "mmap, in the page cache",
                open(one_thread(Config::new().reader(Reader::Mmap)))?,
            ),
            (
                "memory, large calls by several threads",
                open(memory.clone())?,
            ),
        ];
        // A fresh choice each round would also measure the page tables; these rows stay.
        let rows = random_rows(&columns, self.rows, &mut Random::new(self.seed));
        if let Some(edits) = self.overlay {
            let edited = |hits| edited::rows(&manifest, &columns, &rows, edits, hits, self.seed);
            let none = one_thread(memory.clone().tier(Arc::new(edited(false)?)));
            copiers.push(("memory, rows edited, none of those read", open(none)?));
            let some = one_thread(memory.tier(Arc::new(edited(true)?)));
            copiers.push(("memory, rows edited, 1 % of those read", open(some)?));
        }
        let mut out = vec![0; CALLS.into_iter().max().unwrap_or(0) * row_bytes];
        // Of each copier and size of a call, every round's times.
        let mut times = vec![[(); CALLS.len()].map(|()| Vec::new()); copiers.len()];
        let mut filled = (0, 0);
        for round in 0..=self.rounds {
            for ((_, copier), times) in copiers.iter().zip(&mut times) {
                for (&call, times) in CALLS.iter().zip(times) {
                    let found = copier.time(layer, &rows, call, &mut out)?;
                    // The first fills the cache and the page tables.
                    if round > 0 {
                        times.push(found);
                    }
                }
            }
            if round == 0 {
                filled = copiers[CACHE].1.cached();
            }
        }
        let (looks, hits) = copiers[CACHE].1.cached();
        let (looks, hits) = (looks - filled.0, hits - filled.1);
        ensure!(
            hits * 10 > 8 * looks,
            "only {hits} of {looks} rows came from the cache"
        );
        say!(
            "{} rows of {row_bytes} bytes at random out of {table_rows}, one thread if not said, median of {}",
            rows.len(),
            self.rounds
        );
        let names = copiers.iter().map(|(name, _)| *name);
        let mut all = figures(names, times, rows.len());
        let small = caveat::in_processor_cache(table_rows * row_bytes as u64);
        for figures in &mut all {
            let above = || caveat::above_limit(figures.of_limit);
            // Large calls are gathered by several threads, the copy that they are held against by one.
            figures.caveat = small.clone().or_else(above);
        }
        print(&all)?;
        caveat::tell(all.iter().filter_map(|figures| figures.caveat.as_ref()));
        self.draw(&all)?;
        let report = json!({
            "rows": rows.len(),
            "rounds": self.rounds,
            "row_bytes": row_bytes,
            "table_rows": table_rows,
            "edited_rows": self.overlay,
        });
        let figures = all.iter().flat_map(Figures::named).collect();
        Ok(Outcome::new(&report)?
            .of_pack(self.pack.folder())
            .figures(figures))
    }

    fn draw(&self, all: &[Figures]) -> Result<()> {
        let lines = all.chunk_by(|a, b| a.name == b.name).map(|figures| Line {
            name: figures[0].name.to_owned(),
            points: figures
                .iter()
                .map(|figures| (float(figures.rows_per_call), figures.ns_per_row))
                .collect(),
        });
        let axes = Axes {
            title: "Random rows from memory",
            x: "rows a call",
            y: "nanoseconds a row",
            x_log: true,
            y_log: false,
        };
        plot::lines(self.plot.as_deref(), axes, &lines.collect::<Vec<_>>())
    }
}

impl Copier {
    /// Times of calls of `call` rows each.
    fn time(
        &self,
        layer: LayerId,
        rows: &[RowId],
        call: usize,
        out: &mut [u8],
    ) -> Result<Latencies> {
        let store = match self {
            Self::Bare(bare) => return Ok(bare.copy(rows, call, out)),
            Self::BareSealed(bare) => return Ok(bare.copy_sealed(rows, call, out)),
            Self::Store(store) => store,
        };
        let row_bytes = store.codec(layer)?.row_bytes();
        let mut latencies = Latencies::default();
        for rows in rows.chunks(call) {
            let out = &mut out[..rows.len() * row_bytes];
            latencies.time(|| store.lookup(Batch::new(layer, rows), out))?;
        }
        Ok(latencies)
    }

    /// Looks at the cache, and hits among them.
    fn cached(&self) -> (u64, u64) {
        let Self::Store(store) = self else {
            return (0, 0);
        };
        let table = &store.metrics().tables[0];
        let columns = table.columns.iter();
        (table.rows, columns.map(|column| column.cached).sum())
    }
}

impl Figures {
    /// Each by its name.
    fn named(&self) -> [Figure; 4] {
        let case = Case::new()
            .with("reader", self.name)
            .with("rows_per_call", self.rows_per_call);
        let rate = case.figure("row_rate", "rows/s", self.rows_per_second);
        [
            rate.of_limit(self.of_limit).caveat(self.caveat.clone()),
            case.figure("time_per_row", "ns", self.ns_per_row),
            case.figure("call_latency_p50", "us", self.call_p50_us),
            case.figure("call_latency_p99", "us", self.call_p99_us),
        ]
    }
}

/// The medians, the bare copy's first.
fn figures(
    names: impl Iterator<Item = &'static str>,
    times: Vec<[Vec<Latencies>; CALLS.len()]>,
    rows: usize,
) -> Vec<Figures> {
    let mut limits = Vec::new();
    let mut all = Vec::new();
    for (name, times) in names.zip(times) {
        for (at, (rows_per_call, mut times)) in CALLS.into_iter().zip(times).enumerate() {
            let mut median_of = |figure: &dyn Fn(&mut Latencies) -> f64| {
                median(times.iter_mut().map(figure).collect())
            };
            let rows_per_second = median_of(&|times| rate(rows, times.total()));
            if limits.len() == at {
                limits.push(rows_per_second);
            }
            all.push(Figures {
                name,
                rows_per_call,
                rows_per_second,
                ns_per_row: 1e9 / rows_per_second,
                of_limit: rows_per_second / limits[at],
                call_p50_us: median_of(&|times| times.percentile(50)),
                call_p99_us: median_of(&|times| times.percentile(99)),
                caveat: None,
            });
        }
    }
    all
}

fn print(all: &[Figures]) -> Result<()> {
    for call in CALLS {
        say!("\n{call} rows a call");
        let of_call = all.iter().filter(|figures| figures.rows_per_call == call);
        let cells = of_call.map(|figures| {
            vec![
                figures.name.into(),
                figure(figures.rows_per_second),
                figure(figures.ns_per_row),
                caveat::percent(figures.of_limit, figures.caveat.as_ref()),
                figure(figures.call_p50_us),
                figure(figures.call_p99_us),
            ]
        });
        let head = ["", "rows/s", "ns/row", "of limit", "call p50 us", "p99"];
        report::table(&head, &cells.collect::<Vec<_>>())?;
    }
    Ok(())
}
