use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use engram::{Config, LayerId, Reader, RowId, Store};
use engram_cuda::{
    Device, Gatherer, HotRows, MappedColumns, OutputSlot, Ring, RingConfig, Stopwatch, Stream,
    Transfer, ValueType,
};
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

use crate::{caveat, device::DeviceArgs, pack::PackArgs, row_choice::random_rows, timing::float};

/// Rows of a pass, where no other are asked for: a token of one layer of DeepSeek-V4.1-Flash twice, up to the rows of a
/// prefill of 8,000 tokens.
const CALLS: [usize; 6] = [48, 192, 1_536, 16_384, 65_536, 200_000];

/// Passes that are on their way at once.
const DEPTH: usize = 3;

/// Bring random rows of a pack in memory to a GPU, each way beside the limit of its bus in the same run
///
/// The pack must fit in memory.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pack: PackArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Rows of a pass; may be given more than once
    #[arg(long, value_name = "COUNT")]
    rows: Vec<usize>,
    /// Passes of a round
    #[arg(long, default_value_t = 30)]
    passes: usize,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seed of the rows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw rows a second over rows a pass here, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Medians of the rounds.
#[derive(Debug)]
struct Figures {
    name: &'static str,
    rows_per_pass: usize,
    us_per_pass: f64,
    rows_per_second: f64,
    /// Bytes of rows as they are stored; for copies within the device, bytes read.
    gigabytes_per_second: f64,
    /// Of the rate of the copy that it is held against.
    of_limit: Option<f64>,
    /// Why that share means nothing, if it does not.
    caveat: Option<String>,
}

impl Figures {
    /// Each by its name.
    fn named(&self) -> [Figure; 3] {
        let case = Case::new()
            .with("way", self.name)
            .with("rows_per_pass", self.rows_per_pass);
        let rate = case.figure("row_rate", "rows/s", self.rows_per_second);
        let of_limit = self.of_limit.unwrap_or(f64::NAN);
        [
            rate.of_limit(of_limit).caveat(self.caveat.clone()),
            case.figure("pass_time", "us", self.us_per_pass),
            case.figure("throughput", "GB/s", self.gigabytes_per_second),
        ]
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    BusLimit,
    Staged,
    StagedDevice,
    ZeroCopy,
    DeviceLimit,
    Hot,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::BusLimit,
        Self::Staged,
        Self::StagedDevice,
        Self::ZeroCopy,
        Self::DeviceLimit,
        Self::Hot,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::BusLimit => "limit: pinned copy to the device",
            Self::Staged => "staged, from the store to values",
            Self::StagedDevice => "staged, the device's part",
            Self::ZeroCopy => "zero-copy gather",
            Self::DeviceLimit => "limit: copy within the device",
            Self::Hot => "hot rows",
        }
    }

    fn limit(self) -> Option<Self> {
        match self {
            Self::BusLimit | Self::DeviceLimit => None,
            Self::Staged | Self::StagedDevice | Self::ZeroCopy => Some(Self::BusLimit),
            Self::Hot => Some(Self::DeviceLimit),
        }
    }
}

impl Args {
    pub(crate) fn run(mut self) -> Result<Outcome> {
        ensure!(
            self.passes > 0 && self.rounds > 0 && self.rows.iter().all(|&rows| rows > 0),
            "--passes, --rounds and --rows must be 1 or more"
        );
        let device = self.device.open()?;
        let config = Config::new().reader(Reader::Memory);
        let store = Arc::new(self.pack.open(config)?);
        if self.rows.is_empty() {
            self.rows = CALLS.to_vec();
        }
        let layer = store.manifest().tables[0].layer;
        let codec = store.codec(layer)?;
        let table_rows: u64 = store.columns(layer)?.iter().map(|c| c.row_count).sum();
        let table_bytes = table_rows * codec.row_bytes() as u64;
        say!(
            "{}; rows of {} bytes at random out of {table_rows}, as bf16; median of {} rounds of {} passes",
            device.name(),
            codec.row_bytes(),
            self.rounds,
            self.passes
        );
        let mapped = match MappedColumns::register(&device, &store, layer) {
            Ok(mapped) => Some(mapped),
            Err(reason) => {
                say!("no zero-copy gather and no hot rows: {reason}");
                None
            }
        };
        let mut figures = Vec::new();
        for &rows in &self.rows {
            let mut pass = Pass::new(
                &device,
                &store,
                mapped.as_ref(),
                rows,
                self.passes,
                self.seed,
            )?;
            let mut seconds: [Vec<f64>; 6] = Default::default();
            // The first round warms up; ways take turns, for the machine may change.
            for round in 0..=self.rounds {
                for (way, seconds) in Way::ALL.into_iter().zip(&mut seconds) {
                    let Some(took) = pass.time(way)? else {
                        continue;
                    };
                    if round > 0 {
                        seconds.push(took.as_secs_f64() / float(self.passes));
                    }
                }
            }
            let seconds = seconds.map(median);
            figures.extend(of_ways(rows, codec.row_bytes(), &seconds));
        }
        print(&self.rows, &figures)?;
        caveat::tell(figures.iter().filter_map(|figures| figures.caveat.as_ref()));
        self.draw(&figures)?;
        let report = json!({
            "row_bytes": codec.row_bytes(),
            "table_bytes": table_bytes,
            "passes": self.passes,
            "rounds": self.rounds,
        });
        let outcome = Outcome::new(&report)?.of_pack(self.pack.folder());
        let figures = figures.iter().flat_map(Figures::named).collect();
        Ok(outcome.on_gpu(device.name()).figures(figures))
    }

    fn draw(&self, figures: &[Figures]) -> Result<()> {
        let lines = Way::ALL.map(|way| Line {
            name: way.name().into(),
            points: figures
                .iter()
                .filter(|figures| figures.name == way.name())
                .map(|figures| (float(figures.rows_per_pass), figures.rows_per_second / 1e6))
                .collect(),
        });
        let axes = Axes {
            title: "Random rows to a GPU",
            x: "rows a pass",
            x_log: true,
            y: "million rows a second",
            y_log: true,
        };
        plot::lines(self.plot.as_deref(), axes, &lines)
    }
}

/// Everything that brings so many rows to the device.
struct Pass {
    layer: LayerId,
    bytes: usize,
    /// Different ones for each pass.
    batches: Vec<Vec<RowId>>,
    stream: Stream,
    transfer: Transfer,
    ring: Ring,
    /// From host memory, and where all rows are hot; none where columns cannot be registered.
    gatherers: Option<[Gatherer; 2]>,
}

impl Pass {
    fn new(
        device: &Device,
        store: &Arc<Store>,
        mapped: Option<&Arc<MappedColumns>>,
        rows: usize,
        passes: usize,
        seed: u64,
    ) -> Result<Self> {
        let layer = store.manifest().tables[0].layer;
        let row_bytes = store.codec(layer)?.row_bytes();
        let mut random = Random::new(seed);
        let columns = store.columns(layer)?;
        let batches: Vec<Vec<RowId>> = (0..passes)
            .map(|_| random_rows(columns, rows, &mut random))
            .collect();
        let gatherers = mapped.map(|mapped| {
            // Room for all rows, twice their bytes, for the table that finds them.
            let wanted = batches.concat();
            let room = wanted.len() * 2 * (row_bytes + 32);
            let hot = HotRows::load(device, store, layer, &wanted, room)?;
            ensure!(
                wanted.iter().all(|&row| hot.contains(row)),
                "not all rows are hot"
            );
            let new = |hot| Gatherer::new(device, mapped.clone(), hot, rows, ValueType::Bf16);
            Ok([new(None)?, new(Some(hot))?])
        });
        let config = RingConfig::new(rows).depth(DEPTH).timed();
        Ok(Self {
            layer,
            bytes: rows * row_bytes,
            batches,
            stream: device.stream(0)?,
            transfer: Transfer::new(device, rows * row_bytes)?,
            ring: Ring::new(device, store.clone(), &config)?,
            gatherers: gatherers.transpose()?,
        })
    }

    /// What all passes took; none for a way that there is not.
    fn time(&mut self, way: Way) -> Result<Option<Duration>> {
        let bytes = self.bytes;
        let took = match way {
            Way::BusLimit => self
                .on_device(|pass, _| Ok(pass.transfer.host_to_device_on(&pass.stream, bytes)?)),
            Way::DeviceLimit => {
                self.on_device(|pass, _| Ok(pass.transfer.in_device_on(&pass.stream, bytes)?))
            }
            Way::ZeroCopy | Way::Hot => {
                if self.gatherers.is_none() {
                    return Ok(None);
                }
                let which = usize::from(way == Way::Hot);
                self.on_device(|pass, at| {
                    let gatherers = pass.gatherers.as_mut().expect("there, as was asked");
                    gather(&mut gatherers[which], &pass.stream, &pass.batches[at])
                })
            }
            Way::Staged => Ok(self.staged()?.0),
            Way::StagedDevice => Ok(self.staged()?.1),
        };
        took.map(Some)
    }

    /// From the first pass to the last, by the device's clock.
    fn on_device(
        &mut self,
        mut put: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<Duration> {
        let stopwatch = Stopwatch::start(&self.stream)?;
        for at in 0..self.batches.len() {
            put(self, at)?;
        }
        Ok(stopwatch.stop(&self.stream)?)
    }

    /// From the first request until the last pass is consumed, and what the device took of it.
    fn staged(&self) -> Result<(Duration, Duration)> {
        let start = Instant::now();
        let mut on_device = Duration::ZERO;
        let mut outcomes = Vec::with_capacity(self.batches.len());
        for rows in &self.batches {
            let staged = loop {
                match self.ring.stage(self.layer, rows)? {
                    Some(staged) => break staged,
                    None => std::thread::yield_now(),
                }
            };
            let (slot, outcome) = staged.consume_on(&self.stream, Clone::clone)?;
            outcomes.push((slot, outcome));
            // The oldest pass is done before its slot is used again, so its time can still be had.
            if outcomes.len() == DEPTH {
                let (slot, outcome) = outcomes.remove(0);
                outcome.wait()?;
                on_device += device_time(&slot)?;
            }
        }
        for (slot, outcome) in outcomes {
            outcome.wait()?;
            on_device += device_time(&slot)?;
        }
        self.stream.synchronize()?;
        Ok((start.elapsed(), on_device))
    }
}

fn device_time(slot: &OutputSlot) -> Result<Duration> {
    let time = slot.device_time()?;
    time.context("the ring is not timed")
}

fn gather(gatherer: &mut Gatherer, stream: &Stream, rows: &[RowId]) -> Result<()> {
    while !gatherer.gather_on(stream, rows)? {
        std::thread::yield_now();
    }
    Ok(())
}

fn of_ways(rows: usize, row_bytes: usize, seconds: &[f64; 6]) -> Vec<Figures> {
    let time = |way: Way| seconds[way as usize];
    let measured = Way::ALL.into_iter().filter(|&way| time(way).is_finite());
    let figures = measured.map(|way| {
        let of_limit = way.limit().map(|limit| time(limit) / time(way));
        Figures {
            name: way.name(),
            rows_per_pass: rows,
            us_per_pass: 1e6 * time(way),
            rows_per_second: float(rows) / time(way),
            gigabytes_per_second: float(rows * row_bytes) / time(way) / 1e9,
            of_limit,
            caveat: of_limit.and_then(caveat::above_limit),
        }
    });
    figures.collect()
}

fn print(calls: &[usize], all: &[Figures]) -> Result<()> {
    for &call in calls {
        say!("\n{call} rows a pass");
        let of_call = all.iter().filter(|figures| figures.rows_per_pass == call);
        let cells = of_call.map(|figures| {
            vec![
                figures.name.into(),
                figure(figures.us_per_pass),
                figure(figures.rows_per_second),
                figure(figures.gigabytes_per_second),
                figures.of_limit.map_or(String::new(), |share| {
                    caveat::percent(share, figures.caveat.as_ref())
                }),
            ]
        });
        let head = ["", "us a pass", "rows/s", "GB/s", "of limit"];
        report::table(&head, &cells.collect::<Vec<_>>())?;
    }
    Ok(())
}
