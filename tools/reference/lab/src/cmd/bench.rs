use std::{
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use engram::{Config, Reader};
use engram_kit::{envelope::Outcome, report, say, stats::median, texts::read_trace};
use engram_model::{EngramBlocks, LayerHook, Model, RowTimes};
use serde::Serialize;

use crate::open::{ModelArgs, ReaderName};

/// Compare rows from the drive with rows in memory and with no Engram, in prefill and decode
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids, little-endian u32
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Tokens of a prompt
    #[arg(long, value_name = "COUNT", default_value_t = 512)]
    prefill: usize,
    /// Tokens of a prompt to compute at a time
    #[arg(long, value_name = "COUNT", default_value = "128")]
    chunk: NonZeroUsize,
    /// Tokens that follow one by one
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    decode: usize,
    /// How often each is measured, in turns, with other parts of the text
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    rounds: usize,
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
struct Line {
    rows: &'static str,
    prefill_ms: f64,
    /// Of one token.
    decode_ms: f64,
    /// Time relative to the first line: the median of the ratios of single rounds.
    prefill_ratio: f64,
    decode_ratio: f64,
    /// Time that all blocks waited for rows.
    prefill_waited_ms: f64,
    decode_waited_ms: f64,
}

/// Seconds of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    prefill: f64,
    decode: f64,
    prefill_waited: f64,
    decode_waited: f64,
}

/// Where rows come from: all from memory, all from the drive, from the drive and the row cache, or no rows at all.
const NAMES: [&str; 4] = ["memory", "drive alone", "drive and cache", "none"];

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let tokens = read_trace(&self.trace)?;
        let used = self.prefill.saturating_add(self.decode);
        ensure!(
            [self.prefill, self.decode, self.rounds]
                .iter()
                .all(|&count| count > 0),
            "--prefill, --decode and --rounds must be 1 or more"
        );
        ensure!(
            tokens.len() / used > self.rounds,
            "{} has {} tokens, {} rounds of {used} need more",
            self.trace.display(),
            tokens.len(),
            self.rounds + 1
        );
        let direct = [ReaderName::Direct, ReaderName::DirectThreads];
        ensure!(
            direct.contains(&self.model.reader) && self.model.resident.is_none(),
            "rows must come from the drive: --reader must be direct or direct-threads, and --resident not given"
        );
        let model = self.model.load_model()?;
        let stores = [
            Config::new().reader(Reader::Memory),
            self.model.config()?.cache_bytes(0),
            self.model.config()?,
        ];
        let stores = stores.map(|config| self.model.blocks_with(config));
        let stores = stores.into_iter().collect::<Result<Vec<_>>>()?;
        for (name, engram) in NAMES.iter().zip(&stores) {
            say!("{name}: {}", engram.store().backend());
        }
        say!();
        let mut rounds: [Vec<Round>; 4] = Default::default();
        let stride = tokens.len() / (self.rounds + 1);
        // The first round warms up processor, memory and cache.
        for round in 0..=self.rounds {
            let text = &tokens[round * stride..][..used];
            // Take turns: the first of a round may find the machine in another state than the last.
            for turn in 0..NAMES.len() {
                let place = (round + turn) % NAMES.len();
                let measured = match stores.get(place) {
                    Some(engram) => self.with_rows(&model, engram, text)?,
                    None => self.measure(&model, &mut (), text, |()| Duration::ZERO)?,
                };
                if round > 0 {
                    rounds[place].push(measured);
                }
            }
        }
        let lines: Vec<Line> = NAMES
            .into_iter()
            .zip(&rounds)
            .map(|(rows, own)| Self::line(rows, own, &rounds[0]))
            .collect();
        print(&lines)?;
        Ok(Outcome::new(&lines)?.of_pack(&self.model.pack))
    }

    fn with_rows(&self, model: &Model, engram: &EngramBlocks, text: &[u32]) -> Result<Round> {
        let mut session = engram.session(1);
        self.measure(model, &mut session, text, |session| {
            session
                .times()
                .iter()
                .map(|times: &RowTimes| times.waited)
                .sum()
        })
    }

    /// One prompt and the tokens after it, always those of the text.
    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    fn measure<M: LayerHook>(
        &self,
        model: &Model,
        memory: &mut M,
        text: &[u32],
        waited: impl Fn(&M) -> Duration,
    ) -> Result<Round> {
        let mut cache = model.cache(1);
        let (prompt, rest) = text.split_at(self.prefill);
        let start = Instant::now();
        model.prefill(&[prompt], self.chunk, &mut cache, memory)?;
        let prefill = start.elapsed().as_secs_f64();
        let prefill_waited = waited(memory);
        let start = Instant::now();
        for token in rest {
            model.forward_last(&[&[*token]], &mut cache, memory)?;
        }
        let per_token = |seconds: f64| seconds / self.decode as f64;
        Ok(Round {
            prefill,
            decode: per_token(start.elapsed().as_secs_f64()),
            prefill_waited: prefill_waited.as_secs_f64(),
            decode_waited: per_token(waited(memory).saturating_sub(prefill_waited).as_secs_f64()),
        })
    }

    fn line(rows: &'static str, rounds: &[Round], first: &[Round]) -> Line {
        let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        let ratio = |figure: fn(&Round) -> f64| {
            let ratios = rounds.iter().zip(first).map(|(a, b)| figure(a) / figure(b));
            median(ratios.collect())
        };
        Line {
            rows,
            prefill_ms: 1e3 * middle(|round| round.prefill),
            decode_ms: 1e3 * middle(|round| round.decode),
            prefill_ratio: ratio(|round| round.prefill),
            decode_ratio: ratio(|round| round.decode),
            prefill_waited_ms: 1e3 * middle(|round| round.prefill_waited),
            decode_waited_ms: 1e3 * middle(|round| round.decode_waited),
        }
    }
}

fn print(lines: &[Line]) -> Result<()> {
    let cells = lines.iter().map(|line| {
        vec![
            line.rows.into(),
            report::figure(line.prefill_ms),
            format!("{:+.1} %", 100.0 * (line.prefill_ratio - 1.0)),
            report::figure(line.prefill_waited_ms),
            report::figure(line.decode_ms),
            format!("{:+.1} %", 100.0 * (line.decode_ratio - 1.0)),
            report::figure(line.decode_waited_ms),
        ]
    });
    let head = [
        "rows from",
        "prefill, ms",
        "overhead",
        "waited",
        "decode, ms a token",
        "overhead",
        "waited",
    ];
    report::table(&head, &cells.collect::<Vec<_>>())
}
