//! Time on the wall and on the processor.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A running measurement of the wall clock and of the processor time of all threads of this process.
#[derive(Debug)]
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

/// The time that a [`Stopwatch`] has measured.
#[derive(Debug, Clone, Copy)]
pub struct Elapsed {
    /// On the wall clock.
    pub wall: Duration,
    /// On the processor, the sum over all threads of this process.
    pub cpu: Duration,
}

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self {
            cpu: cpu(),
            wall: Instant::now(),
        }
    }

    /// The time since the start.
    pub fn stop(&self) -> Elapsed {
        Elapsed {
            wall: self.wall.elapsed(),
            cpu: cpu().saturating_sub(self.cpu),
        }
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
}

/// Durations of single calls.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Runs `call` and remembers how long it took.
    pub fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.0.push(start.elapsed());
        result
    }

    /// Adds a duration that was measured elsewhere.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// Calls that were measured.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of all durations.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// The duration that `percent` percent of the calls did not exceed, in microseconds.
    pub fn percentile(&mut self, percent: usize) -> f64 {
        self.permille(10 * percent)
    }

    /// The duration that `permille` thousandths of the calls did not exceed, in microseconds.
    pub fn permille(&mut self, permille: usize) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((self.0.len() * permille / 1_000).min(last))
            .map_or(f64::NAN, |duration| 1e6 * duration.as_secs_f64())
    }
}

/// How many per second.
pub fn rate(count: usize, time: Duration) -> f64 {
    float(count) / time.as_secs_f64().max(1e-9)
}

/// `count` as a figure for people.
#[expect(clippy::cast_precision_loss, reason = "nobody reads so many digits")]
pub fn float(count: usize) -> f64 {
    count as f64
}
