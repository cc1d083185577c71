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
use traffic::{Event, Traffic, What};

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
    /// Rows of steps that came meanwhile.
    step_rows_per_second: f64,
}

/// One storage under each traffic.
#[derive(Debug, Clone)]
struct Round {
    steps: Figures,
    prompts: Figures,
    both: Figures,
}

impl Round {
    fn of(&self, traffic: Traffic) -> &Figures {
        match traffic {
            Traffic::Steps => &self.steps,
            Traffic::Prompts => &self.prompts,
            Traffic::Both => &self.both,
        }
    }

    /// Rows of prompts and steps together, of those that prompts alone bring: 1 where prompts lose no more than the
    /// steps take.
    fn kept(&self) -> f64 {
        let both = self.both.prompt_rows_per_second + self.both.step_rows_per_second;
        both / self.prompts.prompt_rows_per_second
    }
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
    /// When each step came, and its rows.
    steps: Vec<(Instant, usize)>,
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
                let mut run = |traffic: Traffic| {
                    drop(server.take());
                    cold::evict(&self.pack.files(&manifest)?)?;
                    let server = server.insert(open(&self.pack, self.memory << 20)?);
                    // The same times for each traffic, but other rows: the drive may keep those it has just read.
                    let seed = self.seed + 4 * round as u64;
                    let times = &mut Random::new(seed);
                    let rows = &mut Random::new(seed + 1 + traffic as u64);
                    let events = traffic::events(self, &manifest, traffic, times, rows);
                    serve(&mut **server, events)
                };
                let found = Round {
                    steps: run(Traffic::Steps)?,
                    prompts: run(Traffic::Prompts)?,
                    both: run(Traffic::Both)?,
                };
                if round == 0 {
                    let about = server.map(|server| server.describe());
                    say!("{name}: {}", about.unwrap_or_default());
                }
                rounds.entry(name).or_default().push(found);
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
                let figures = if beside { &round.both } else { &round.steps };
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
    let Waited {
        prompt_rows,
        step_rows,
        time,
    } = Waited::of(&mut state);
    Ok(Figures {
        decode_p50_us: state.decode.percentile(50),
        decode_p99_us: state.decode.percentile(99),
        decode_p999_us: state.decode.permille(999),
        ask_step_most_us: ask_step.percentile(100),
        ask_prompt_most_us: ask_prompt.percentile(100),
        prompt_rows_per_second: rate(prompt_rows, time),
        step_rows_per_second: rate(step_rows, time),
    })
}

impl Board {
    /// Notes that something has come that was asked for at `since`.
    fn came(&self, prompt: Option<usize>, since: Instant, rows: usize) {
        let mut state = lock(&self.state);
        match prompt {
            None => {
                let now = Instant::now();
                state.decode.push(now - since);
                state.steps.push((now, rows));
            }
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

/// What came while any prompt was waited for.
struct Waited {
    /// Rows of all prompts.
    prompt_rows: usize,
    /// Rows of steps that came in that time.
    step_rows: usize,
    time: Duration,
}

impl Waited {
    fn of(state: &mut BoardState) -> Self {
        state.prompts.sort_unstable();
        state.steps.sort_unstable();
        let mut found = Self {
            prompt_rows: 0,
            step_rows: 0,
            time: Duration::ZERO,
        };
        let mut end = None;
        for &(from, to, rows) in &state.prompts {
            let from = end.map_or(from, |end: Instant| end.max(from));
            let to = to.max(from);
            let [first, next] =
                [from, to].map(|time| state.steps.partition_point(|(came, _)| *came <= time));
            found.step_rows += state.steps[first..next]
                .iter()
                .map(|(_, rows)| rows)
                .sum::<usize>();
            found.prompt_rows += rows;
            found.time += to - from;
            end = Some(to);
        }
        found
    }
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
        "prompt rows/s alone",
        "beside steps",
        "steps' rows/s meanwhile",
        "together, of alone",
    ];
    let row = |name: &&str| {
        let cell = |field: &dyn Fn(&Round) -> f64| figure(median(&rounds[name], field));
        vec![
            (*name).to_owned(),
            cell(&|round| round.steps.decode_p50_us),
            cell(&|round| round.steps.decode_p99_us),
            cell(&|round| round.steps.decode_p999_us),
            cell(&|round| round.both.decode_p50_us),
            cell(&|round| round.both.decode_p99_us),
            cell(&|round| round.both.decode_p999_us),
            cell(&|round| round.both.ask_step_most_us),
            cell(&|round| round.both.ask_prompt_most_us),
            cell(&|round| round.prompts.prompt_rows_per_second),
            cell(&|round| round.both.prompt_rows_per_second),
            cell(&|round| round.both.step_rows_per_second),
            caveat::percent(median(&rounds[name], Round::kept), None),
        ]
    };
    report::table(&head, &names.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_while_a_prompt_is_waited_for() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut state = BoardState {
            // Two overlap, one lies within another, one comes later.
            prompts: vec![
                (at(20), at(22), 7),
                (at(4), at(10), 300),
                (at(2), at(8), 500),
                (at(5), at(6), 20),
            ],
            // Before, at the beginning, in the overlap, at the end, between, and in the last.
            steps: [22, 1, 2, 7, 10, 15].map(|second| (at(second), 48)).into(),
            ..BoardState::default()
        };
        let found = Waited::of(&mut state);
        assert_eq!(
            (found.prompt_rows, found.step_rows, found.time),
            (827, 3 * 48, Duration::from_secs(8 + 2))
        );
    }
}
