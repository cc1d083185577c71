//! Real and even traffic through any storage, each in a process of its own with the same memory.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use engram::{
    Batch, Config, Hasher, LayerId, Manifest, Reader, RowId, RowIds, Sequence, read_hasher,
};
use engram_format::Column;
use engram_kit::{
    cli,
    console::{self, print_json},
    envelope::Outcome,
    figure::{Case, Figure},
    pack_facts::row_bytes,
    plot,
    random::Random,
    report::{self, figure},
    say, stats,
    texts::{read_trace, trace_name},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    caveat,
    cgroup::{self, Limit},
    cold,
    pack::PackArgs,
    row_choice::random_rows,
    timing::{Latencies, Stopwatch, rate},
};

/// Rows of the single batches: eighteen tokens of DeepSeek-V4.1-Flash for one layer.
const SINGLE_TOKENS: usize = 18;
const SINGLES: usize = 40;
/// Tokens of a prefill chunk.
const CHUNK: usize = 512;
/// Sequences that decode at the same time.
const SEQUENCES: usize = 8;
const DECODE_STEPS: usize = 300;
/// Tokens that are decoded.
pub const DECODED: usize = SEQUENCES * DECODE_STEPS;
/// Memory of a process beside what it keeps of the pack.
const OVERHEAD: u64 = 96 << 20;

/// A storage that can be asked for rows.
pub trait Contender {
    /// What it found when it was opened, for the report.
    fn describe(&self) -> String {
        String::new()
    }

    /// Copies the rows of the table of `layer` to `out`, one after another.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()>;
}

/// How a contender of a name is opened over a pack, with bytes of memory for rows.
pub type Open = fn(pack: &PackArgs, memory: u64) -> Result<Box<dyn Contender>>;

/// Settings of a comparison.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    pack: PackArgs,
    /// Token ids of a real text, little-endian u32; may be given more than once
    #[arg(long, value_name = "FILE")]
    trace: Vec<PathBuf>,
    /// Memory of each contender, page cache included, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1_024)]
    memory: u64,
    /// Tokens of each trace to prefill
    #[arg(long, default_value_t = 40_960)]
    tokens: usize,
    /// Contenders to run; all if not given
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Rounds; contenders run in turns, and medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Draw the prefill's tokens a second here, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Runs one contender and prints its figures; for the processes that this command starts
    #[arg(long, hide = true, value_name = "NAME")]
    contender: Option<String>,
    #[arg(long, hide = true, value_name = "DIR")]
    group: Option<PathBuf>,
    /// Seed of the even rows of this round
    #[arg(long, hide = true, default_value_t = 0)]
    seed: u64,
}

/// What one contender did.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Figures {
    /// What the contender said of itself.
    about: String,
    /// Whether its memory was limited.
    limited: bool,
    /// Rows of the single batches.
    single_rows: usize,
    /// Median microseconds of a batch of even rows nobody has read, and of the same again.
    single_cold_us: f64,
    single_warm_us: f64,
    traces: BTreeMap<String, OnTrace>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct OnTrace {
    prefill_tokens_per_second: f64,
    cpu_us_per_row: f64,
    decode_p50_us: f64,
    decode_p99_us: f64,
}

impl Args {
    /// Whether this process runs one contender for another that compares them.
    pub fn runs_one(&self) -> bool {
        self.contender.is_some()
    }

    /// Runs the comparison between the contenders of `registry`.
    ///
    /// # Errors
    /// A pack, a trace or a contender that cannot be read or run.
    pub fn run(self, registry: &[(&str, Open)]) -> Result<Outcome> {
        match &self.contender {
            Some(name) => {
                self.run_one(name, registry)?;
                Ok(Outcome::default())
            }
            None => self.run_all(registry),
        }
    }

    fn run_all(&self, registry: &[(&str, Open)]) -> Result<Outcome> {
        let names: Vec<&str> = registry.iter().map(|(name, _)| *name).collect();
        for name in &self.only {
            ensure!(
                names.contains(&name.as_str()),
                "no contender {name}; there are {names:?}"
            );
        }
        let names: Vec<&str> = names
            .into_iter()
            .filter(|name| self.only.is_empty() || self.only.iter().any(|only| only == name))
            .collect();
        let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); names.len()];
        for round in 0..self.rounds {
            for (name, runs) in names.iter().zip(&mut runs) {
                runs.push(self.start_one(name, round as u64)?);
            }
        }
        self.print(&names, &runs)?;
        self.draw(&names, &runs)?;
        let caveat = caveat::fits(row_bytes(&self.pack.manifest()?), self.memory << 20);
        caveat::tell(&caveat);
        let figures = (names.iter().zip(&runs)).flat_map(|(name, runs)| named(name, runs));
        let figures = figures.map(|of| of.caveat(caveat.clone())).collect();
        let about = |(name, runs): (&&str, &Vec<Figures>)| {
            let run = runs.first();
            let about = run.map(|run| json!({ "about": run.about, "limited": run.limited }));
            ((*name).to_owned(), about)
        };
        let report = json!({
            "memory_mib": self.memory,
            "tokens": self.tokens,
            "rounds": self.rounds,
            "storages": names.iter().zip(&runs).map(about).collect::<BTreeMap<_, _>>(),
        });
        Ok(Outcome::new(&report)?
            .of_pack(self.pack.folder())
            .figures(figures))
    }

    /// Runs a contender in a process of its own.
    fn start_one(&self, name: &str, seed: u64) -> Result<Figures> {
        let limit = Limit::new(name, (self.memory << 20) + OVERHEAD);
        let mut command = cli::again()?;
        command.arg("--contender").arg(name);
        command.arg("--seed").arg(seed.to_string());
        match &limit {
            Ok(limit) => drop(command.arg("--group").arg(limit.folder())),
            Err(error) => console::note(format!("{name}: page cache without limit: {error:#}")),
        }
        let output = command.output().context("cannot start a process")?;
        ensure!(
            output.status.success(),
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).with_context(|| format!("the figures of {name}"))
    }

    fn run_one(&self, name: &str, registry: &[(&str, Open)]) -> Result<()> {
        let (_, open) = registry
            .iter()
            .find(|(known, _)| *known == name)
            .context("a contender")?;
        let manifest = self.pack.manifest()?;
        let hasher = read_hasher(self.pack.folder())?;
        cold::evict(&self.pack.files(&manifest)?)?;
        if let Some(group) = &self.group {
            cgroup::join(group)?;
        }
        let mut contender = open(&self.pack, self.memory << 20)?;
        let mut random = Random::new(self.seed);
        let (single_cold_us, single_warm_us) = singles(&mut *contender, &manifest, &mut random)?;
        self.check_rows(&mut *contender, &manifest, &mut random)?;
        let mut traces = BTreeMap::new();
        for path in &self.trace {
            let tokens = read_trace(path)?;
            let found = on_trace(&mut *contender, &manifest, &hasher, &tokens, self.tokens)?;
            traces.insert(trace_name(path), found);
        }
        let vocabulary = hasher.vocab_size();
        let even: Vec<u32> = (0..self.tokens / 4 + DECODED)
            .map(|_| u32::try_from(random.below(vocabulary as u64)).expect("a token"))
            .collect();
        let found = on_trace(&mut *contender, &manifest, &hasher, &even, self.tokens / 4)?;
        traces.insert("even".into(), found);
        let figures = Figures {
            about: contender.describe(),
            limited: self.group.is_some(),
            single_rows: SINGLE_TOKENS * manifest.scheme.column_count(),
            single_cold_us,
            single_warm_us,
            traces,
        };
        print_json(&figures)
    }

    /// Compares some rows with those that the pack's own seals vouch for.
    fn check_rows(
        &self,
        contender: &mut dyn Contender,
        manifest: &Manifest,
        random: &mut Random,
    ) -> Result<()> {
        let store = self.pack.open(Config::new().reader(Reader::Pread))?;
        for (index, table) in manifest.tables.iter().enumerate() {
            let columns: Vec<Column> = manifest.scheme.columns(index).collect();
            let rows = random_rows(&columns, 10 * columns.len(), random);
            let mut out = [(); 2].map(|()| vec![0; rows.len() * table.codec.row_bytes()]);
            let [expected, found] = &mut out;
            let layer = table.layer;
            store.lookup(Batch::new(layer, &rows), expected)?;
            contender.gather(layer, &rows, found)?;
            ensure!(
                found == expected,
                "it brings other rows of layer {layer} than the pack has"
            );
        }
        Ok(())
    }

    fn draw(&self, names: &[&str], runs: &[Vec<Figures>]) -> Result<()> {
        let groups = traces(runs).map(|trace| {
            let speed = |run: &Figures| run.traces[trace].prefill_tokens_per_second;
            (
                trace.clone(),
                runs.iter().map(|runs| median(runs, &speed)).collect(),
            )
        });
        let title = format!("Prefill, {} MiB of memory", self.memory);
        let groups: Vec<_> = groups.collect();
        plot::bars(
            self.plot.as_deref(),
            &title,
            "tokens a second",
            names,
            &groups,
        )
    }

    fn print(&self, names: &[&str], runs: &[Vec<Figures>]) -> Result<()> {
        say!(
            "{}: {} MiB of memory each, median of {} rounds in turns",
            self.pack.folder().display(),
            self.memory,
            self.rounds
        );
        let mut rows = Vec::new();
        for (name, runs) in names.iter().zip(runs) {
            let cold = median(runs, &|run| run.single_cold_us);
            let warm = median(runs, &|run| run.single_warm_us);
            let proven = cold::was_cold(
                Duration::from_secs_f64(cold / 1e6),
                Duration::from_secs_f64(warm / 1e6),
            );
            let mark = if proven { "" } else { " *" };
            rows.push(vec![(*name).to_owned(), figure(cold) + mark, figure(warm)]);
            for run in runs.iter().take(1) {
                let limit = if run.limited {
                    ""
                } else {
                    " MEMORY WITHOUT LIMIT"
                };
                say!("{name}: {}{limit}", run.about);
            }
        }
        let single_rows = runs.iter().flatten().map(|run| run.single_rows).max();
        say!("\nbatches of {} even rows, us", single_rows.unwrap_or(0));
        report::table(&["", "cold", "again"], &rows)?;
        say!("* again took more than a fifth: it keeps nothing, or the first was not cold");
        for trace in traces(runs) {
            say!("\n{trace}");
            let mut rows = Vec::new();
            for (name, runs) in names.iter().zip(runs) {
                let cell = |field: &dyn Fn(&OnTrace) -> f64| {
                    figure(median(runs, &|run| field(&run.traces[trace])))
                };
                rows.push(vec![
                    (*name).to_owned(),
                    cell(&|on| on.prefill_tokens_per_second),
                    cell(&|on| on.cpu_us_per_row),
                    cell(&|on| on.decode_p50_us),
                    cell(&|on| on.decode_p99_us),
                ]);
            }
            let head = ["", "prefill tokens/s", "CPU us/row", "decode p50 us", "p99"];
            report::table(&head, &rows)?;
        }
        Ok(())
    }
}

/// The figures of all rounds of the storage `name`, each by its name.
fn named(name: &str, runs: &[Figures]) -> Vec<Figure> {
    let of = |case: &Case, name, unit, field: &dyn Fn(&Figures) -> f64| {
        let values = || runs.iter().map(field);
        case.figure(name, unit, stats::median(values().collect()))
            .rounds(values())
    };
    let storage = Case::new().with("storage", name);
    let rows = runs.first().map_or(0, |run| run.single_rows);
    let single = storage.clone().with("rows", rows);
    let [cold, warm] = [true, false].map(|cold| single.clone().with("cold", cold));
    let mut all = vec![
        of(&cold, "lookup_latency_p50", "us", &|run| run.single_cold_us),
        of(&warm, "lookup_latency_p50", "us", &|run| run.single_warm_us),
    ];
    for trace in runs.first().into_iter().flat_map(|run| run.traces.keys()) {
        let case = storage.clone().with("text", &**trace);
        let on = |run: &Figures| run.traces[trace].clone();
        all.extend([
            of(&case, "prefill_rate", "tokens/s", &|run| {
                on(run).prefill_tokens_per_second
            }),
            of(&case, "cpu_time_per_row", "us", &|run| {
                on(run).cpu_us_per_row
            }),
            of(&case, "decode_latency_p50", "us", &|run| {
                on(run).decode_p50_us
            }),
            of(&case, "decode_latency_p99", "us", &|run| {
                on(run).decode_p99_us
            }),
        ]);
    }
    all
}

/// Names of the traces.
fn traces(runs: &[Vec<Figures>]) -> impl Iterator<Item = &String> {
    let run = runs.first().and_then(|runs| runs.first());
    run.into_iter().flat_map(|run| run.traces.keys())
}

/// The median of `field` over the rounds.
fn median(runs: &[Figures], field: &dyn Fn(&Figures) -> f64) -> f64 {
    stats::median(runs.iter().map(field).collect())
}

/// Microseconds of batches of rows that nobody has read, and of the same again.
fn singles(
    contender: &mut dyn Contender,
    manifest: &Manifest,
    random: &mut Random,
) -> Result<(f64, f64)> {
    let table = &manifest.tables[0];
    let columns: Vec<Column> = manifest.scheme.columns(0).collect();
    let count = SINGLE_TOKENS * columns.len();
    let mut out = vec![0; count * table.codec.row_bytes()];
    let (mut cold, mut warm) = (Latencies::default(), Latencies::default());
    for _ in 0..SINGLES {
        let rows = random_rows(&columns, count, random);
        cold.time(|| contender.gather(table.layer, &rows, &mut out))?;
        warm.time(|| contender.gather(table.layer, &rows, &mut out))?;
    }
    Ok((cold.percentile(50), warm.percentile(50)))
}

/// Prefills a text in chunks, then decodes several sequences of it at a time.
fn on_trace(
    contender: &mut dyn Contender,
    manifest: &Manifest,
    hasher: &Hasher,
    tokens: &[u32],
    prefill: usize,
) -> Result<OnTrace> {
    let mut out = Vec::new();
    let mut latencies = Latencies::default();
    let watch = Stopwatch::start();
    let mut prefilled = None;
    replay(hasher, tokens, prefill, |phase, rows| match phase {
        Phase::Prefill => gather_all(contender, manifest, rows, &mut out),
        Phase::Decode => {
            prefilled.get_or_insert_with(|| watch.stop());
            latencies.time(|| gather_all(contender, manifest, rows, &mut out))
        }
    })?;
    let elapsed = prefilled.context("decoding follows the prefill")?;
    let rows = prefill * manifest.scheme.column_count() * manifest.tables.len();
    Ok(OnTrace {
        prefill_tokens_per_second: rate(prefill, elapsed.wall),
        cpu_us_per_row: 1e6 / rate(rows, elapsed.cpu),
        decode_p50_us: latencies.percentile(50),
        decode_p99_us: latencies.percentile(99),
    })
}

/// What a model does with tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A chunk of one text.
    Prefill,
    /// One token of each of several sequences.
    Decode,
}

/// Calls `each` with the rows of every call of a run: `prefill` of the `tokens` in chunks, then steps of
/// several sequences of those that follow.
///
/// # Errors
/// Too few tokens, a token beyond the vocabulary, or what `each` returns.
pub fn replay(
    hasher: &Hasher,
    tokens: &[u32],
    prefill: usize,
    mut each: impl FnMut(Phase, &RowIds) -> Result<()>,
) -> Result<()> {
    ensure!(
        tokens.len() >= prefill + DECODED,
        "a trace of {} tokens, expected {prefill} to prefill and {DECODED} to decode",
        tokens.len()
    );
    let (text, rest) = tokens.split_at(prefill);
    let mut rows = RowIds::new();
    let mut sequence = Sequence::new();
    for chunk in text.chunks(CHUNK) {
        hasher.extend(&mut sequence, chunk, &mut rows)?;
        each(Phase::Prefill, &rows)?;
    }
    let mut sequences = [(); SEQUENCES].map(|()| Sequence::new());
    for step in 0..DECODE_STEPS {
        let next = sequences.iter_mut().zip(rest.chunks_exact(DECODE_STEPS));
        let mut requests: Vec<_> = next
            .map(|(sequence, tokens)| engram::Request {
                sequence,
                tokens: &tokens[step..=step],
            })
            .collect();
        hasher.extend_batch(&mut requests, &mut rows)?;
        each(Phase::Decode, &rows)?;
    }
    Ok(())
}

/// The sequences that [`replay`] hashes: the text that is prefilled, and those that are decoded.
pub fn sequences(tokens: &[u32], prefill: usize) -> impl Iterator<Item = &[u32]> {
    let (text, rest) = tokens.split_at(prefill);
    let decoded = rest.chunks_exact(DECODE_STEPS).take(SEQUENCES);
    std::iter::once(text).chain(decoded)
}

/// Gathers the rows of some tokens in all layers, one layer after another.
fn gather_all(
    contender: &mut dyn Contender,
    manifest: &Manifest,
    rows: &RowIds,
    out: &mut Vec<u8>,
) -> Result<()> {
    for (index, table) in manifest.tables.iter().enumerate() {
        let rows = rows.layer(index);
        out.resize(rows.len() * table.codec.row_bytes(), 0);
        contender.gather(table.layer, rows, out)?;
    }
    Ok(())
}
