//! A server's traffic: many sequences decode while prompts arrive, and nobody waits for an answer before asking on.

mod figures;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use engram::{OwnedBatch, Ticket};
use engram_io::lock;
use engram_kit::{
    envelope::Outcome,
    pack_facts::row_bytes,
    plot,
    random::Random,
    report::{self, figure},
    say, stats,
};
use serde_json::json;

use crate::{
    caveat, cold,
    mixed::Contender,
    pack::PackArgs,
    timing::{Latencies, rate},
};
use traffic::{Event, What};

/// A storage that a server asks.
pub trait Server {
    /// How it reads, for the report.
    fn describe(&self) -> String;

    /// Asks for the rows of `batch`, and calls `done` when they are there or have failed. A storage that only has a
    /// call which waits does that here, as its server would.
    ///
    /// # Errors
    /// A batch that it does not take.
    fn ask(&mut self, batch: OwnedBatch, done: Done) -> Result<Option<Ticket>>;
}

/// Called when rows are there.
pub type Done = Box<dyn FnOnce() + Send>;

/// A storage whose only call waits.
pub struct Waiting {
    contender: Box<dyn Contender>,
    row_bytes: usize,
    out: Vec<u8>,
}

impl Waiting {
    /// The server over `contender`, whose rows have `row_bytes` bytes.
    pub fn new(contender: Box<dyn Contender>, row_bytes: usize) -> Self {
        let out = Vec::new();
        Self {
            contender,
            row_bytes,
            out,
        }
    }
}

impl Server for Waiting {
    fn describe(&self) -> String {
        self.contender.describe()
    }

    fn ask(&mut self, batch: OwnedBatch, done: Done) -> Result<Option<Ticket>> {
        let batch = batch.as_batch();
        self.out.resize(batch.len() * self.row_bytes, 0);
        let (layer, rows) = (batch.layer(), batch.row_ids());
        self.contender.gather(layer, rows, &mut self.out)?;
        done();
        Ok(None)
    }
}

/// How a server of a name is opened over a pack, with bytes of memory for rows.
pub type Open = fn(pack: &PackArgs, memory: u64) -> Result<Box<dyn Server>>;

/// Settings of the traffic.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    pack: PackArgs,
    /// Length of a run
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Sequences that decode all the time
    #[arg(long, default_value_t = 8)]
    sequences: usize,
    /// Tokens a second of each of them
    #[arg(long, default_value_t = 20.0)]
    tokens_per_second: f64,
    /// Prompts that arrive a second, at random times
    #[arg(long, default_value_t = 0.25)]
    prompts_per_second: f64,
    /// Tokens of a prompt; may be given more than once, for prompts in turn
    #[arg(long, value_name = "TOKENS", default_values_t = [8_192, 2_048])]
    prompt: Vec<usize>,
    /// Share of the prompts whose user goes away before a second has passed
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    cancelled: f64,
    /// Memory for rows, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    memory: u64,
    /// Storages to run; all if not given
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Rounds, in turns; medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seed of the rows and times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw the latencies of decode steps here, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What decode steps took, in microseconds, and what asking took the caller.
#[derive(Debug, Clone, Default)]
struct Figures {
    decode_p50_us: f64,
    decode_p99_us: f64,
    decode_p999_us: f64,
    /// The longest that the server's thread was kept by asking for a step.
    ask_step_most_us: f64,
    /// As before, for a prompt.
    ask_prompt_most_us: f64,
    /// Rows of prompts that came, for each second in which a prompt was waited for.
    prompt_rows_per_second: f64,
}

/// One storage, without and with prompts.
#[derive(Debug, Clone)]
struct Round {
    alone: Figures,
    beside_prompts: Figures,
}

/// What has come so far.
#[derive(Debug, Default)]
struct Board {
    state: Mutex<BoardState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BoardState {
    outstanding: usize,
    decode: Latencies,
    /// From when to when each was waited for, and its rows.
    prompts: Vec<(Instant, Instant, usize)>,
    cancelled: BTreeSet<usize>,
}

impl Args {
    /// Runs the traffic against each storage of `registry`.
    ///
    /// # Errors
    /// A pack or a storage that cannot be read.
    pub fn run(&self, registry: &[(&str, Open)]) -> Result<Outcome> {
        let manifest = self.pack.manifest()?;
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        let servers: Vec<_> = registry.iter().filter(|(name, _)| wanted(name)).collect();
        let mut rounds: BTreeMap<&str, Vec<Round>> = BTreeMap::new();
        say!(
            "{}: {} sequences of {} tokens/s; prompts of {:?} tokens, {} a second, {} of them cancelled; {} MiB",
            self.pack.folder().display(),
            self.sequences,
            self.tokens_per_second,
            self.prompt,
            self.prompts_per_second,
            self.cancelled,
            self.memory
        );
        for round in 0..self.rounds {
            for (name, open) in &servers {
                let mut server = None;
                let mut run = |with_prompts: bool| {
                    drop(server.take());
                    cold::evict(&self.pack.files(&manifest)?)?;
                    let server = server.insert(open(&self.pack, self.memory << 20)?);
                    let seed = self.seed + 2 * round as u64 + u64::from(with_prompts);
                    let mut random = Random::new(seed);
                    let events = traffic::events(self, &manifest, with_prompts, &mut random);
                    serve(&mut **server, events)
                };
                let (alone, beside_prompts) = (run(false)?, run(true)?);
                if round == 0 {
                    let about = server.map(|server| server.describe());
                    say!("{name}: {}", about.unwrap_or_default());
                }
                rounds.entry(name).or_default().push(Round {
                    alone,
                    beside_prompts,
                });
            }
        }
        let names: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
        print(&names, &rounds)?;
        let caveat = caveat::fits(row_bytes(&manifest), self.memory << 20);
        caveat::tell(&caveat);
        let figures = figures::figures(&rounds, caveat.as_ref());
        let groups = [
            ("alone", false, 990),
            ("beside prompts, p50", true, 500),
            ("beside prompts, p99", true, 990),
        ]
        .map(|(label, beside, quantile)| {
            let field = |round: &Round| {
                let figures = if beside {
                    &round.beside_prompts
                } else {
                    &round.alone
                };
                if quantile == 500 {
                    figures.decode_p50_us
                } else {
                    figures.decode_p99_us
                }
            };
            let values = names.iter().map(|name| median(&rounds[name], field));
            (label.to_owned(), values.collect::<Vec<_>>())
        });
        let title = "Rows of one token, beside prompts";
        plot::bars(self.plot.as_deref(), title, "microseconds", &names, &groups)?;
        let report = json!({
            "sequences": self.sequences,
            "tokens_per_second": self.tokens_per_second,
            "prompts_per_second": self.prompts_per_second,
            "prompt_tokens": self.prompt,
            "cancelled": self.cancelled,
            "memory_mib": self.memory,
            "seconds": self.seconds,
            "rounds": self.rounds,
        });
        Ok(Outcome::new(&report)?
            .of_pack(self.pack.folder())
            .figures(figures))
    }
}

/// Lets the events happen at their times.
fn serve(server: &mut dyn Server, events: Vec<Event>) -> Result<Figures> {
    let board = Arc::new(Board::default());
    let (mut ask_step, mut ask_prompt) = (Latencies::default(), Latencies::default());
    let mut tickets: Vec<(Option<usize>, Ticket)> = Vec::new();
    let start = Instant::now();
    for event in events {
        let due = start + event.at;
        let now = Instant::now();
        // Whoever is late has been kept by what it asked before, and its users wait already.
        let since = if now < due {
            thread::sleep(due - now);
            Instant::now()
        } else {
            due
        };
        check_done(&mut tickets)?;
        let (number, batches) = match event.what {
            What::Decode(batches) => (None, batches),
            What::Prompt(number, batches) => (Some(number), batches),
            What::Cancel(number) => {
                lock(&board.state).cancelled.insert(number);
                tickets.retain(|(of, _)| *of != Some(number));
                continue;
            }
        };
        let rows = batches.iter().map(|batch| batch.as_batch().len()).sum();
        let asking = Instant::now();
        let left = Arc::new(AtomicUsize::new(batches.len()));
        lock(&board.state).outstanding += 1;
        for batch in batches {
            let (board, left) = (board.clone(), left.clone());
            let done = move || {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    board.came(number, since, rows);
                }
            };
            let ticket = server.ask(batch, Box::new(done))?;
            tickets.extend(ticket.map(|ticket| (number, ticket)));
        }
        let asked = if number.is_some() {
            &mut ask_prompt
        } else {
            &mut ask_step
        };
        asked.push(asking.elapsed());
    }
    let mut state = lock(&board.state);
    while state.outstanding > 0 {
        let woken = board.changed.wait(state);
        state = woken.unwrap_or_else(PoisonError::into_inner);
    }
    check_done(&mut tickets)?;
    let (prompt_rows, prompt_time) = waited_for(&mut state.prompts);
    Ok(Figures {
        decode_p50_us: state.decode.percentile(50),
        decode_p99_us: state.decode.percentile(99),
        decode_p999_us: state.decode.permille(999),
        ask_step_most_us: ask_step.percentile(100),
        ask_prompt_most_us: ask_prompt.percentile(100),
        prompt_rows_per_second: rate(prompt_rows, prompt_time),
    })
}

impl Board {
    /// Notes that something has come that was asked for at `since`.
    fn came(&self, prompt: Option<usize>, since: Instant, rows: usize) {
        let mut state = lock(&self.state);
        match prompt {
            None => state.decode.push(since.elapsed()),
            // One that was cancelled before it came has not.
            Some(number) if state.cancelled.contains(&number) => {}
            Some(_) => state.prompts.push((since, Instant::now(), rows)),
        }
        state.outstanding -= 1;
        drop(state);
        self.changed.notify_all();
    }
}

/// Lets go of the tickets that are done.
fn check_done(tickets: &mut Vec<(Option<usize>, Ticket)>) -> Result<()> {
    for (_, ticket) in tickets.extract_if(.., |(_, ticket)| ticket.is_done()) {
        ticket.wait()?;
    }
    Ok(())
}

/// Rows of all prompts, and the time in which any of them was waited for.
fn waited_for(prompts: &mut [(Instant, Instant, usize)]) -> (usize, Duration) {
    prompts.sort_unstable();
    let (mut rows, mut time) = (0, Duration::ZERO);
    let mut end = None;
    for &(from, to, of_prompt) in &*prompts {
        let from = end.map_or(from, |end: Instant| end.max(from));
        time += to.saturating_duration_since(from);
        end = Some(end.map_or(to, |end| end.max(to)));
        rows += of_prompt;
    }
    (rows, time)
}

fn median(rounds: &[Round], field: impl Fn(&Round) -> f64) -> f64 {
    stats::median(rounds.iter().map(field).collect())
}

fn print(names: &[&str], rounds: &BTreeMap<&str, Vec<Round>>) -> Result<()> {
    let head = [
        "us",
        "p50 alone",
        "p99",
        "p99.9",
        "p50 beside prompts",
        "p99",
        "p99.9",
        "asking, step",
        "prompt",
        "prompt rows/s",
    ];
    let row = |name: &&str| {
        let cell = |field: &dyn Fn(&Round) -> f64| figure(median(&rounds[name], field));
        vec![
            (*name).to_owned(),
            cell(&|round| round.alone.decode_p50_us),
            cell(&|round| round.alone.decode_p99_us),
            cell(&|round| round.alone.decode_p999_us),
            cell(&|round| round.beside_prompts.decode_p50_us),
            cell(&|round| round.beside_prompts.decode_p99_us),
            cell(&|round| round.beside_prompts.decode_p999_us),
            cell(&|round| round.beside_prompts.ask_step_most_us),
            cell(&|round| round.beside_prompts.ask_prompt_most_us),
            cell(&|round| round.beside_prompts.prompt_rows_per_second),
        ]
    };
    report::table(&head, &names.iter().map(row).collect::<Vec<_>>())
}
