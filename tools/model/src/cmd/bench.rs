use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use engram::{Config, Reader};
use engram_bench::{median, report, trace};
use engram_model::{Engram, Memory, Model, RowTimes};
use serde::Serialize;

use crate::open::ModelArgs;

/// Compare rows from the drive with rows in memory and with none, in prefill and decode
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
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    chunk: usize,
    /// Tokens that follow one by one
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    decode: usize,
    /// How often each is measured, in turns, with other parts of the text
    #[arg(long, value_name = "COUNT", default_value_t = 7)]
    rounds: usize,
    /// Write the figures here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
struct Line {
    rows: &'static str,
    prefill_ms: f64,
    /// A token.
    decode_ms: f64,
    /// Against the first line, by the ratios of single rounds.
    prefill_ratio: f64,
    decode_ratio: f64,
    /// Waited for rows, of all blocks.
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

const NAMES: [&str; 4] = ["memory", "drive, cold", "drive, again", "none"];

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let tokens = trace::read(&self.trace)?;
        let used = self.prefill + self.decode;
        ensure!(
            [self.prefill, self.chunk, self.decode, self.rounds]
                .iter()
                .all(|&count| count > 0),
            "--prefill, --chunk, --decode and --rounds must be 1 or more"
        );
        ensure!(
            tokens.len() >= used * self.rounds,
            "{} has {} tokens, {} rounds of {used} need more",
            self.trace.display(),
            tokens.len(),
            self.rounds
        );
        let model = self.model.load_model()?;
        let memory = self
            .model
            .engram_with(Config::new().reader(Reader::Memory))?;
        println!("rows in memory by {}", memory.store().backend());
        let mut rounds: [Vec<Round>; 4] = Default::default();
        let stride = tokens.len() / self.rounds;
        for round in 0..=self.rounds {
            // The first round only warms up the processor.
            let text = &tokens[round.saturating_sub(1) * stride..][..used];
            // A new store has an empty row cache, and its reads go past the page cache.
            let drive = self.model.load_engram()?;
            let measured = [
                self.with_rows(&model, &memory, text)?,
                self.with_rows(&model, &drive, text)?,
                self.with_rows(&model, &drive, text)?,
                self.measure(&model, &mut (), text, |()| Duration::ZERO)?,
            ];
            if round == 0 {
                println!("rows on the drive by {}\n", drive.store().backend());
                continue;
            }
            for (rounds, measured) in rounds.iter_mut().zip(measured) {
                rounds.push(measured);
            }
        }
        let lines: Vec<Line> = NAMES
            .into_iter()
            .zip(&rounds)
            .map(|(rows, of)| Self::line(rows, of, &rounds[0]))
            .collect();
        print(&lines)?;
        report::json(self.json.as_deref(), &lines)
    }

    fn with_rows(&self, model: &Model, engram: &Engram, text: &[u32]) -> Result<Round> {
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
    fn measure<M: Memory>(
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

    fn line(rows: &'static str, of: &[Round], first: &[Round]) -> Line {
        let middle = |figure: fn(&Round) -> f64| median(of.iter().map(figure).collect());
        let ratio = |figure: fn(&Round) -> f64| {
            let ratios = of.iter().zip(first).map(|(a, b)| figure(a) / figure(b));
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
