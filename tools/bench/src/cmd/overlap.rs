use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use engram::{Config, LayerId, Reader, Request, RowIds, Sequence, Store, ValueType};
use engram_cuda::{Device, DeviceMemory, Ring, RingConfig, Staged, Stream};
use engram_kit::{
    envelope::Outcome,
    figure::Case,
    random::Random,
    report::{self, figure},
    say,
    stats::median,
    texts::read_trace,
};
use serde_json::json;

use crate::{device::DeviceArgs, pack::PackArgs, timing::float};

/// Decode with a synthetic model on a GPU, its rows from a pack in memory or on the drive, beside rows that are on the
/// device already
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pack: PackArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Token ids, little-endian u32, which the sequences begin at different places of; if not given, tokens are random,
    /// and hardly any row comes twice
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Read rows from the drive, not from memory
    #[arg(long)]
    drive: bool,
    /// Sequences that decode together
    #[arg(long, default_value_t = 512)]
    sequences: usize,
    /// Decoder layers of the synthetic model
    #[arg(long, default_value_t = 30)]
    layers: u32,
    /// What a layer takes, in microseconds
    #[arg(long, default_value_t = 300)]
    layer_us: u64,
    /// Steps of a round
    #[arg(long, default_value_t = 50)]
    steps: usize,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

#[derive(Debug)]
struct Report {
    device: String,
    backend: String,
    rows_per_step: usize,
    /// Medians of a step.
    on_device_us: f64,
    fetched_us: f64,
    /// Throughput lost, by the ratios of single rounds.
    lost: f64,
    /// Of a step, on the processor: hashing, then handing rows to the ring, which copies those in memory.
    hash_us: f64,
    stage_us: f64,
}

/// The synthetic model, and what feeds it.
struct Model<'a> {
    args: &'a Args,
    store: &'a Store,
    ring: Ring,
    stream: Stream,
    /// The layers with a table, and where their blocks take the values of a step.
    inputs: Vec<(LayerId, Arc<DeviceMemory>)>,
    sequences: Vec<Sequence>,
    rows: RowIds,
    hash: Duration,
    stage: Duration,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        ensure!(
            self.sequences > 0 && self.steps > 0 && self.rounds > 0,
            "--sequences, --steps and --rounds must be 1 or more"
        );
        let reader = if self.drive {
            Reader::Direct
        } else {
            Reader::Memory
        };
        let store = Arc::new(self.pack.open(Config::new().reader(reader))?);
        let last = store.scheme().layers.iter().map(|layer| layer.id).max();
        ensure!(
            last.is_none_or(|last| last.0 < self.layers),
            "--layers is {}, the pack has a table ahead of layer {}",
            self.layers,
            last.unwrap_or_default()
        );
        let device = self.device.open()?;
        let tokens = self.tokens(&store)?;
        let each = tokens.len() / self.sequences;
        ensure!(
            each > 0,
            "{} tokens for {} sequences, expected one for each at least",
            tokens.len(),
            self.sequences
        );
        let mut model = Model::new(&self, &device, &store)?;
        let (mut on_device, mut fetched, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = 0;
        for round in 0..=self.rounds {
            let without = model.round(None)?;
            let next = |step: usize| -> Vec<u32> {
                let token = |sequence: usize| tokens[sequence * each + (at + step) % each];
                (0..self.sequences).map(token).collect()
            };
            let with = model.round(Some(&next))?;
            at += self.steps;
            // The first round warms up.
            if round > 0 {
                on_device.push(without);
                fetched.push(with);
                lost.push(1.0 - without / with);
            } else {
                (model.hash, model.stage) = Default::default();
            }
        }
        let steps = float(self.rounds * self.steps);
        let report = Report {
            device: device.name(),
            backend: store.backend().to_string(),
            rows_per_step: model.rows_per_step(),
            on_device_us: 1e6 * median(on_device),
            fetched_us: 1e6 * median(fetched),
            lost: median(lost),
            hash_us: 1e6 * model.hash.as_secs_f64() / steps,
            stage_us: 1e6 * model.stage.as_secs_f64() / steps,
        };
        say!(
            "{}; {} layers of {} us, {} sequences, {} rows a step; rows by {}",
            report.device,
            self.layers,
            self.layer_us,
            self.sequences,
            report.rows_per_step,
            report.backend
        );
        let row = |name: &str, step: f64, lost: String| {
            let rate = float(self.sequences) * 1e6 / step;
            vec![name.into(), figure(step), figure(rate), lost]
        };
        let rows = [
            row("rows on the device", report.on_device_us, String::new()),
            row(
                "rows through the ring",
                report.fetched_us,
                format!("{:.2} %", 100.0 * report.lost),
            ),
        ];
        report::table(&["", "us a step", "tokens/s", "lost"], &rows)?;
        say!(
            "of a step, on the processor: hashing {} us, staging {} us",
            figure(report.hash_us),
            figure(report.stage_us)
        );
        self.outcome(&report)
    }
}

impl Args {
    /// What was measured, each figure by its name.
    fn outcome(&self, report: &Report) -> Result<Outcome> {
        let case = Case::new()
            .with("sequences", self.sequences)
            .with("drive", self.drive);
        let [on_device, through_ring] =
            ["on the device", "through the ring"].map(|rows| case.clone().with("rows", rows));
        let figures = vec![
            on_device.figure("step_time", "us", report.on_device_us),
            through_ring.figure("step_time", "us", report.fetched_us),
            through_ring.figure("throughput_lost", "1", report.lost),
            through_ring.figure("hash_time_per_step", "us", report.hash_us),
            through_ring.figure("stage_time_per_step", "us", report.stage_us),
        ];
        let settings = json!({
            "backend": report.backend,
            "layers": self.layers,
            "layer_us": self.layer_us,
            "sequences": self.sequences,
            "rows_per_step": report.rows_per_step,
            "steps": self.steps,
            "rounds": self.rounds,
        });
        let outcome = Outcome::new(&settings)?.of_pack(self.pack.folder());
        Ok(outcome.on_gpu(report.device.clone()).figures(figures))
    }

    fn tokens(&self, store: &Store) -> Result<Vec<u32>> {
        if let Some(path) = &self.trace {
            return read_trace(path);
        }
        let vocabulary = match store.hasher().token_map() {
            Some(map) => map.ids().len(),
            None => store.scheme().hashed_vocab_size as usize,
        };
        let mut random = Random::new(1);
        let count = self.sequences * self.steps * (self.rounds + 1);
        let tokens = (0..count).map(|_| u32::try_from(random.below(vocabulary as u64)));
        Ok(tokens.collect::<Result<_, _>>()?)
    }
}

impl<'a> Model<'a> {
    fn new(args: &'a Args, device: &Device, store: &'a Arc<Store>) -> Result<Self> {
        let rows = args.sequences * store.scheme().column_count();
        let config = RingConfig::new(rows).depth(2).value_type(ValueType::Bf16);
        let inputs = store.scheme().layers.iter().map(|layer| {
            let bytes = rows * store.codec(layer.id)?.width() * ValueType::Bf16.bytes();
            Ok((layer.id, Arc::new(device.memory(bytes)?)))
        });
        Ok(Self {
            args,
            store,
            ring: Ring::new(device, store.clone(), &config)?,
            stream: device.stream(0)?,
            inputs: inputs.collect::<Result<_>>()?,
            sequences: vec![Sequence::new(); args.sequences],
            rows: RowIds::new(),
            hash: Duration::ZERO,
            stage: Duration::ZERO,
        })
    }

    fn rows_per_step(&self) -> usize {
        self.args.sequences * self.store.scheme().column_count() * self.inputs.len()
    }

    /// Seconds of a step, on average over a round: with the tokens of each, or with rows that are there.
    fn round(&mut self, tokens: Option<&dyn Fn(usize) -> Vec<u32>>) -> Result<f64> {
        let start = Instant::now();
        for step in 0..self.args.steps {
            match tokens {
                Some(tokens) => self.step(&tokens(step))?,
                None => self.spin(0..self.args.layers)?,
            }
            // The next tokens are known once this step is done.
            self.stream.synchronize()?;
        }
        Ok(start.elapsed().as_secs_f64() / float(self.args.steps))
    }

    fn step(&mut self, tokens: &[u32]) -> Result<()> {
        // The device begins with what needs no rows.
        let first = self
            .inputs
            .iter()
            .map(|(layer, _)| layer.0)
            .min()
            .unwrap_or(0);
        self.spin(0..first)?;
        let mut staged = self.stage(tokens)?;
        let mut outcomes = Vec::with_capacity(staged.len());
        for layer in first..self.args.layers {
            let index = self.inputs.iter().position(|(of, _)| of.0 == layer);
            if let Some(index) = index {
                let input = &self.inputs[index].1;
                let staged = staged[index].take().expect("each block comes once");
                let (copied, outcome) =
                    staged.consume_on(&self.stream, |slot| slot.copy_on(&self.stream, input))?;
                copied?;
                outcomes.push(outcome);
            }
            self.spin(layer..layer + 1)?;
        }
        outcomes
            .into_iter()
            .try_for_each(|outcome| Ok(outcome.wait()?))
    }

    /// Hashes the tokens and hands the rows of all layers to the ring, in the order of layers.
    fn stage(&mut self, tokens: &[u32]) -> Result<Vec<Option<Staged>>> {
        let start = Instant::now();
        let mut requests: Vec<Request<'_>> = self
            .sequences
            .iter_mut()
            .zip(tokens)
            .map(|(sequence, token)| Request {
                sequence,
                tokens: std::slice::from_ref(token),
            })
            .collect();
        self.store
            .hasher()
            .extend_batch(&mut requests, &mut self.rows)?;
        self.hash += start.elapsed();
        let start = Instant::now();
        let mut all = Vec::with_capacity(self.inputs.len());
        for (index, (layer, _)) in self.inputs.iter().enumerate() {
            let staged = loop {
                match self.ring.stage(*layer, self.rows.layer(index))? {
                    Some(staged) => break staged,
                    None => std::thread::yield_now(),
                }
            };
            all.push(Some(staged));
        }
        self.stage += start.elapsed();
        Ok(all)
    }

    fn spin(&self, layers: std::ops::Range<u32>) -> Result<()> {
        let time = Duration::from_micros(self.args.layer_us);
        layers
            .into_iter()
            .try_for_each(|_| Ok(self.stream.spin(time)?))
    }
}
