//! How far a command is.

use std::{
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::console::{rate, size};

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(5);

/// How progress is shown on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressForm {
    /// A bar, where standard error is a terminal
    #[default]
    Auto,
    /// A line every five seconds and at the end, for logs
    Plain,
    /// The same as lines of JSON
    Json,
    /// Not at all
    None,
}

/// The form of this process's progress.
static FORM: AtomicU8 = AtomicU8::new(ProgressForm::Auto as u8);

/// Chooses the form for this process.
pub(crate) fn choose(form: ProgressForm) {
    FORM.store(form as u8, Ordering::Relaxed);
}

/// Work of a known number of bytes that is going on. Threads share it.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    all: u64,
    done: AtomicU64,
    start: Instant,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    /// Until when no line is due.
    Lines {
        json: bool,
        next: Mutex<Instant>,
    },
    Not,
}

impl Progress {
    /// `what` begins, of `bytes` bytes; 0 where their number is not known.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the template is a constant that is valid"
    )]
    pub fn new(bytes: u64, what: &'static str) -> Self {
        let form = FORM.load(Ordering::Relaxed);
        let is = |other: ProgressForm| form == other as u8;
        let shown = if is(ProgressForm::None) {
            Shown::Not
        } else if is(ProgressForm::Auto) {
            let style = ProgressStyle::with_template(
                "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
            );
            let style = style.expect("the template is valid");
            Shown::Bar(ProgressBar::new(bytes).with_style(style).with_message(what))
        } else {
            Shown::Lines {
                json: is(ProgressForm::Json),
                next: Mutex::new(Instant::now() + PERIOD),
            }
        };
        Self {
            what,
            all: bytes,
            done: AtomicU64::new(0),
            start: Instant::now(),
            shown,
        }
    }

    /// So many bytes more are done.
    pub fn add(&self, bytes: u64) {
        match &self.shown {
            Shown::Bar(bar) => bar.inc(bytes),
            Shown::Lines { json, next } => {
                self.done.fetch_add(bytes, Ordering::Relaxed);
                // Whoever finds it locked leaves the line to who has locked it.
                if let Ok(mut next) = next.try_lock()
                    && Instant::now() >= *next
                {
                    *next = Instant::now() + PERIOD;
                    self.line(*json);
                }
            }
            Shown::Not => {}
        }
    }

    /// All is done.
    pub fn finish(self) {
        match &self.shown {
            Shown::Bar(bar) => bar.finish_and_clear(),
            Shown::Lines { json, next } => {
                let _last = next.lock().unwrap_or_else(PoisonError::into_inner);
                self.line(*json);
            }
            Shown::Not => {}
        }
    }

    fn line(&self, as_json: bool) {
        let (what, all) = (self.what, self.all);
        let done = self.done.load(Ordering::Relaxed);
        let seconds = self.start.elapsed().as_secs_f64();
        let line = if as_json {
            let of = (all > 0).then_some(all);
            json!({ "progress": what, "bytes": done, "of": of, "seconds": seconds }).to_string()
        } else {
            let (done, rate) = (size(done), rate(done, seconds));
            let of = if all > 0 {
                format!(" of {}", size(all))
            } else {
                String::new()
            };
            format!("{what}: {done}{of}, {rate}")
        };
        // Progress that nobody reads is no reason to stop.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
