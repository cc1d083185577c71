use std::{
    collections::BTreeMap,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use engram::{Batch, Config, Reader, Resident, RowIds, Sequence, Store};
use engram_kit::{
    envelope::Outcome,
    figure::{Case, Figure},
    pack_facts::row_bytes,
    report::{self, figure},
    say,
    stats::median,
    texts::{Texts, trace_name},
};
use serde_json::json;

use crate::{
    caveat,
    pack::PackArgs,
    timing::{Latencies, float, rate},
};

/// Tokens looked up one by one at the beginning of a text, as in decoding.
const SINGLE: usize = CHUNK;
/// Tokens looked up at a time after those.
const CHUNK: usize = 512;
/// Longest time until the first rows of a profile are read.
const PATIENCE: Duration = Duration::from_mins(1);
/// Tokens of a text that count as its beginning.
const FIRST: usize = 4_096;

/// Look up texts that nobody has asked for, with and without a profile of others
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pack: PackArgs,
    /// Counts of n-grams, of other parts of the texts
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    #[command(flatten)]
    texts: Texts,
    /// Memory for rows in MiB; may be given more than once
    #[arg(long, value_name = "MIB", default_values_t = [256])]
    memory: Vec<usize>,
    /// Tokens of each text to look up, from its beginning
    #[arg(long, default_value_t = 40_960)]
    tokens: usize,
    /// Rounds; settings run in turns, and medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// How a pack is opened.
#[derive(Debug, Clone, Copy)]
struct Setting {
    name: &'static str,
    profile: bool,
    /// Whether all rows of the profile are in the cache before the text begins, or only the first.
    waits: bool,
    /// Whether half of the memory is for columns.
    columns: bool,
}

const SETTINGS: [Setting; 5] = [
    Setting {
        name: "cache",
        profile: false,
        waits: false,
        columns: false,
    },
    Setting {
        name: "cache, seeded",
        profile: true,
        waits: true,
        columns: false,
    },
    Setting {
        name: "cache, being seeded",
        profile: true,
        waits: false,
        columns: false,
    },
    Setting {
        name: "columns and cache",
        profile: false,
        waits: false,
        columns: true,
    },
    Setting {
        name: "columns and cache, seeded",
        profile: true,
        waits: true,
        columns: true,
    },
];

/// What happened to one text in one setting.
#[derive(Debug, Clone)]
struct Figures {
    open_ms: f64,
    seeded_rows: u64,
    /// Time until the cache was full, where the text began after that.
    seeding_seconds: Option<f64>,
    /// Orders of the columns in memory.
    columns: Vec<u32>,
    /// Share of the rows that took no read, by order: of the first tokens, and of all.
    first_hits: BTreeMap<u32, f64>,
    hits: BTreeMap<u32, f64>,
    /// Time until the rows of the first token were there, of all layers.
    first_token_ms: f64,
    /// Time of a layer's rows of one token.
    single_p50_us: f64,
    single_p99_us: f64,
    tokens_per_second: f64,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        ensure!(self.rounds > 0, "--rounds is 0, expected 1 or more");
        let mut all = BTreeMap::new();
        self.texts.each(|path, tokens| {
            let tokens = &tokens[..tokens.len().min(self.tokens)];
            for &memory in &self.memory {
                let name = trace_name(path);
                let mut runs: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
                for _ in 0..self.rounds {
                    for setting in SETTINGS {
                        let figures = self.measure(setting, memory, tokens)?;
                        runs.entry(setting.name).or_default().push(figures);
                    }
                }
                print(&format!("{name}, {memory} MiB"), &runs)?;
                all.insert((name, memory), runs);
            }
            Ok(())
        })?;
        let bytes = row_bytes(&self.pack.manifest()?);
        let mut figures = Vec::new();
        for ((text, memory), runs) in &all {
            let caveat = caveat::fits(bytes, (*memory as u64) << 20);
            caveat::tell(&caveat);
            for (setting, runs) in runs {
                let case = Case::new()
                    .with("text", &**text)
                    .with("memory_mib", *memory)
                    .with("setting", *setting);
                let named = named(&case, runs);
                figures.extend(named.into_iter().map(|of| of.caveat(caveat.clone())));
            }
        }
        let report = json!({ "tokens": self.tokens, "first_tokens": FIRST, "rounds": self.rounds });
        Ok(Outcome::new(&report)?
            .of_pack(self.pack.folder())
            .figures(figures))
    }

    fn measure(&self, setting: Setting, memory: usize, tokens: &[u32]) -> Result<Figures> {
        let bytes = memory << 20;
        let mut config = Config::new().reader(Reader::Direct).cache_bytes(bytes);
        if setting.columns {
            let half = Resident::Bytes(bytes as u64 / 2);
            config = config.cache_bytes(bytes / 2).resident(half);
        }
        if setting.profile {
            config = config.profile(&self.profile);
        }
        let start = Instant::now();
        let store = self.pack.open(config)?;
        let opened = start.elapsed();
        if setting.waits {
            let seeded = store.wait_seeded();
            seeded.map_err(|error| anyhow!("cannot seed the cache: {error}"))?;
        }
        let seeding = start.elapsed();
        while setting.profile && store.metrics().seeded_rows == 0 && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        let (first_token, mut singles, first_hits, elapsed) = look_up(&store, tokens)?;
        Ok(Figures {
            open_ms: 1e3 * opened.as_secs_f64(),
            seeded_rows: store.metrics().seeded_rows,
            seeding_seconds: setting.waits.then_some(seeding.as_secs_f64()),
            columns: columns_in_memory(&store),
            first_hits,
            hits: hits(&store, tokens.len()),
            first_token_ms: 1e3 * first_token.as_secs_f64(),
            single_p50_us: singles.percentile(50),
            single_p99_us: singles.percentile(99),
            tokens_per_second: rate(tokens.len(), elapsed),
        })
    }
}

/// The figures of all rounds in one setting, each by its name.
fn named(case: &Case, runs: &[Figures]) -> Vec<Figure> {
    let of = |case: &Case, name, unit, field: &dyn Fn(&Figures) -> f64| {
        let values = || runs.iter().map(field);
        case.figure(name, unit, median(values().collect()))
            .rounds(values())
    };
    let mut all = vec![
        of(case, "open_time", "ms", &|run| run.open_ms),
        #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
        of(case, "seeded_rows", "rows", &|run| run.seeded_rows as f64),
        of(case, "seeding_time", "s", &|run| {
            run.seeding_seconds.unwrap_or(f64::NAN)
        }),
        of(case, "columns_in_memory", "columns", &|run| {
            float(run.columns.len())
        }),
        of(case, "single_latency_p50", "us", &|run| run.single_p50_us),
        of(case, "single_latency_p99", "us", &|run| run.single_p99_us),
        of(case, "token_rate", "tokens/s", &|run| run.tokens_per_second),
    ];
    let orders = runs.first().into_iter().flat_map(|run| run.hits.keys());
    for order in orders {
        let case = case.clone().with("order", *order);
        let share = |hits: &BTreeMap<u32, f64>| hits.get(order).copied().unwrap_or(f64::NAN);
        all.push(of(&case, "hit_rate_of_first", "1", &|run| {
            share(&run.first_hits)
        }));
        all.push(of(&case, "hit_rate", "1", &|run| share(&run.hits)));
    }
    all
}

/// Looks up the rows of `tokens`: the time of the first one, the times of each layer of single ones, the hits of the
/// first, the time of all.
fn look_up(
    store: &Store,
    tokens: &[u32],
) -> Result<(Duration, Latencies, BTreeMap<u32, f64>, Duration)> {
    let (mut sequence, mut rows) = (Sequence::new(), RowIds::new());
    let (mut out, mut singles) = (Vec::new(), Latencies::default());
    let (mut first_token, mut first_hits) = (None, BTreeMap::new());
    let start = Instant::now();
    let (single, rest) = tokens.split_at(tokens.len().min(SINGLE));
    for chunk in single.chunks(1).chain(rest.chunks(CHUNK)) {
        store.hasher().extend(&mut sequence, chunk, &mut rows)?;
        for (index, table) in store.manifest().tables.iter().enumerate() {
            let (layer, rows) = (table.layer, rows.layer(index));
            out.resize(rows.len() * table.codec.row_bytes(), 0);
            let batch = Batch::new(layer, rows);
            if chunk.len() == 1 {
                singles.time(|| store.lookup(batch, &mut out))?;
            } else {
                store.lookup(batch, &mut out)?;
            }
        }
        first_token.get_or_insert_with(|| start.elapsed());
        if sequence.len() <= FIRST {
            first_hits = hits(store, sequence.len());
        }
    }
    let first_token = first_token.context("a text without tokens")?;
    Ok((first_token, singles, first_hits, start.elapsed()))
}

/// The share of the rows of `tokens` tokens that took no read, by order.
fn hits(store: &Store, tokens: usize) -> BTreeMap<u32, f64> {
    let scheme = store.scheme();
    let asked = tokens as u64 * u64::from(scheme.heads) * scheme.layers.len() as u64;
    let mut read: BTreeMap<u32, u64> = (scheme.first_order()..=scheme.max_order)
        .map(|order| (order, 0))
        .collect();
    for column in store
        .metrics()
        .tables
        .iter()
        .flat_map(|table| &table.columns)
    {
        *read.entry(column.order).or_default() += column.rows - column.cached;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = |read| 1.0 - read as f64 / asked as f64;
    read.into_iter()
        .map(|(order, read)| (order, share(read)))
        .collect()
}

/// Orders of the columns that are not on disk.
fn columns_in_memory(store: &Store) -> Vec<u32> {
    let tables = store.metrics().tables.into_iter().enumerate();
    let columns = tables.flat_map(|(index, table)| {
        let columns: Vec<_> = store.scheme().columns(index).collect();
        let on_disk: Vec<u32> = table.columns.iter().map(|column| column.column).collect();
        let columns = columns.into_iter();
        columns.filter(move |column| !on_disk.contains(&column.index))
    });
    columns.map(|column| column.order).collect()
}

fn print(name: &str, runs: &BTreeMap<&str, Vec<Figures>>) -> Result<()> {
    say!("\n{name}");
    let mut rows = Vec::new();
    for setting in SETTINGS {
        let runs = &runs[setting.name];
        let cell = |field: fn(&Figures) -> f64| figure(median(runs.iter().map(field).collect()));
        // Hits do not change from round to round, but for rows that are being seeded.
        let last = runs.last().expect("there is a round");
        let percent = |hits: &BTreeMap<u32, f64>| {
            let shares = hits.values().map(|share| format!("{:.1}", 100.0 * share));
            shares.collect::<Vec<_>>().join(" / ")
        };
        let orders: Vec<String> = last.columns.iter().map(u32::to_string).collect();
        rows.push(vec![
            setting.name.to_owned(),
            cell(|run| run.open_ms),
            last.seeded_rows.to_string(),
            cell(|run| run.seeding_seconds.unwrap_or(f64::NAN)),
            orders.join(" "),
            percent(&last.first_hits),
            percent(&last.hits),
            cell(|run| run.first_token_ms),
            cell(|run| run.single_p50_us),
            cell(|run| run.single_p99_us),
            cell(|run| run.tokens_per_second),
        ]);
    }
    let first = format!("hits of {FIRST} tokens, %");
    let head = [
        "",
        "open ms",
        "rows seeded",
        "seconds",
        "columns",
        &first,
        "of all, %",
        "first token, ms",
        "one token, us",
        "p99",
        "tokens/s",
    ];
    report::table(&head, &rows)
}
