//! Building, attaching, converting and verifying packs, which may take long.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use engram::{LayerId, read_manifest};
use engram_checkpoint::{Checkpoint, CheckpointOptions};
use engram_io::lock;
use engram_pack::{AttachOptions, BuildOptions, ConvertOptions, Stop, VerifyOptions};
use pyo3::{Bound, PyAny, PyResult, Python, pyfunction, types::PyAnyMethods};

use crate::errors::pack_error;

/// How often the caller's progress is told and signals are looked at.
const TICK: Duration = Duration::from_millis(50);

#[pyfunction]
#[pyo3(signature = (checkpoint, pack, *, stripes = Vec::new(), jobs = 0, resume = false, allow_nan = false,
    allow_zeros = false, tokenizer = None, scheme = None, progress = None))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub(crate) fn build(
    py: Python<'_>,
    checkpoint: PathBuf,
    pack: PathBuf,
    stripes: Vec<PathBuf>,
    jobs: usize,
    resume: bool,
    allow_nan: bool,
    allow_zeros: bool,
    tokenizer: Option<PathBuf>,
    scheme: Option<String>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<String> {
    let job = Job::default();
    let work = || {
        let checkpoint = open(&checkpoint, tokenizer.as_deref(), scheme.as_deref())?;
        job.total
            .store(engram_pack::source_bytes(&checkpoint), Ordering::Relaxed);
        let options = BuildOptions {
            jobs,
            resume,
            stripes,
            allow_nan,
            allow_zeros,
            stop: job.stop.clone(),
        };
        let report = engram_pack::build(&checkpoint, &pack, &options, &|bytes| job.add(bytes))?;
        Ok(serde_json::to_string(&report)?)
    };
    job.run(py, progress, work)
}

#[pyfunction]
#[pyo3(signature = (checkpoint, pack, *, allow_zeros = false, tokenizer = None, scheme = None))]
pub(crate) fn attach(
    py: Python<'_>,
    checkpoint: PathBuf,
    pack: PathBuf,
    allow_zeros: bool,
    tokenizer: Option<PathBuf>,
    scheme: Option<String>,
) -> PyResult<()> {
    Job::default().run(py, None, || {
        let checkpoint = open(&checkpoint, tokenizer.as_deref(), scheme.as_deref())?;
        engram_pack::attach_with(&checkpoint, &pack, &AttachOptions { allow_zeros })?;
        Ok(())
    })
}

#[pyfunction]
#[pyo3(signature = (pack, output, codec, *, keep_layers = Vec::new(), stripes = Vec::new(), jobs = 0, resume = false,
    checkpoint = None, moved_stripes = BTreeMap::new(), progress = None))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub(crate) fn convert(
    py: Python<'_>,
    pack: PathBuf,
    output: PathBuf,
    codec: &str,
    keep_layers: Vec<u32>,
    stripes: Vec<PathBuf>,
    jobs: usize,
    resume: bool,
    checkpoint: Option<PathBuf>,
    moved_stripes: BTreeMap<u32, PathBuf>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<String> {
    let job = Job::default();
    let work = || {
        let options = ConvertOptions {
            keep: keep_layers.into_iter().map(LayerId).collect(),
            jobs,
            resume,
            stripes,
            checkpoint,
            moved_stripes,
            stop: job.stop.clone(),
            ..ConvertOptions::to(codec.parse()?)
        };
        let bytes = options.source_bytes(&read_manifest(&pack)?)?;
        job.total.store(bytes, Ordering::Relaxed);
        let report = engram_pack::convert(&pack, &output, &options, &|bytes| job.add(bytes))?;
        Ok(serde_json::to_string(&report)?)
    };
    job.run(py, progress, work)
}

#[pyfunction]
#[pyo3(signature = (pack, *, jobs = 0, sample = None, checkpoint = None, stripes = BTreeMap::new(),
    progress = None))]
pub(crate) fn verify(
    py: Python<'_>,
    pack: PathBuf,
    jobs: usize,
    sample: Option<f64>,
    checkpoint: Option<PathBuf>,
    stripes: BTreeMap<u32, PathBuf>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<String> {
    let job = Job::default();
    let work = || {
        let bytes = engram_pack::pack_bytes(&read_manifest(&pack)?);
        job.total.store(bytes, Ordering::Relaxed);
        let options = VerifyOptions {
            jobs,
            sample,
            checkpoint,
            stripes,
            stop: job.stop.clone(),
        };
        let report = engram_pack::verify(&pack, &options, &|bytes| job.add(bytes))?;
        Ok(serde_json::to_string(&report)?)
    };
    job.run(py, progress, work)
}

fn open(path: &Path, tokenizer: Option<&Path>, scheme: Option<&str>) -> Result<Checkpoint> {
    let options = CheckpointOptions { tokenizer, scheme };
    Ok(Checkpoint::open_with(path, options)?)
}

/// A long piece of work, done by a thread of its own.
#[derive(Default)]
struct Job {
    /// Bytes of the work, as far as they are known.
    total: AtomicU64,
    done: AtomicU64,
    stop: Stop,
}

impl Job {
    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Does `work`, and calls `progress(done, total)` meanwhile, in bytes, on the thread that calls. An exception of
    /// it, or of a signal's handler such as that of Ctrl-C, ends the work first.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        progress: Option<Bound<'_, PyAny>>,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> PyResult<T> {
        thread::scope(|scope| {
            let (sender, receiver) = channel();
            let receiver = Mutex::new(receiver);
            scope.spawn(move || sender.send(work()));
            let mut told = 0;
            let mut tell = || -> PyResult<()> {
                let [done, total] = [&self.done, &self.total].map(|n| n.load(Ordering::Relaxed));
                match &progress {
                    Some(progress) if done != told => progress.call1((done, total)).map(drop)?,
                    _ => {}
                }
                told = done;
                py.check_signals()
            };
            loop {
                let next = || lock(&receiver).recv_timeout(TICK);
                match py.detach(next) {
                    Ok(result) => {
                        tell()?;
                        return result.map_err(|error| pack_error(&error));
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if let Err(error) = tell() {
                            self.stop.stop();
                            // It ends soon, and what it says then is not what stopped it.
                            let _ = py.detach(|| lock(&receiver).recv());
                            return Err(error);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(pack_error(&anyhow!("the work was ended by a bug")));
                    }
                }
            }
        })
    }
}
