//! What a person or a program sees: results on standard output, all else on standard error.

use std::{
    fmt::Arguments,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::Serialize;

/// Whether standard output is reserved for JSON, so that text is not printed.
///
/// Like standard output itself, this belongs to the process.
static JSON_ONLY: AtomicBool = AtomicBool::new(false);

/// Whether notes are not printed.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Prints a line of a command's result, and returns the error from the calling function where that fails.
///
/// `println!` would panic when the reader of a pipe has gone. Nothing is printed where standard output has the report
/// as JSON.
#[macro_export]
macro_rules! say {
    () => {
        $crate::say!("")
    };
    ($($line:tt)+) => {
        $crate::console::print(format_args!($($line)+))?
    };
}

/// Whether standard output is for text, and not for the report as JSON.
pub fn has_text() -> bool {
    !JSON_ONLY.load(Ordering::Relaxed)
}

/// Prints a line of text; [`say!`](crate::say) is the usual way to call this.
///
/// # Errors
/// An output that is closed, such as a pipe whose reader has gone.
pub fn print(line: Arguments<'_>) -> io::Result<()> {
    if !has_text() {
        return Ok(());
    }
    writeln!(io::stdout(), "{line}")
}

/// Prints a line on standard error that a command's user should know, unless `--quiet` is given.
pub fn note(line: impl AsRef<str>) {
    if !QUIET.load(Ordering::Relaxed) {
        // A closed standard error is no reason to stop.
        let _ = writeln!(io::stderr(), "note: {}", line.as_ref());
    }
}

/// Says what this process prints.
pub(crate) fn begin(json_only: bool, quiet: bool) {
    JSON_ONLY.store(json_only, Ordering::Relaxed);
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Prints `value` as one line of JSON on standard output.
///
/// # Errors
/// A value that has no form in JSON, or an output that is closed.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(value)?;
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

/// Whether `error` is that a reader has closed its pipe, which it knows itself.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// `bytes` in the largest binary unit that leaves a whole number before the point.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Bytes per second, in the units of [`size`].
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people"
)]
pub fn rate(bytes: u64, seconds: f64) -> String {
    format!("{}/s", size((bytes as f64 / seconds.max(1e-9)) as u64))
}

/// `seconds` in the unit that fits best, such as `5 minutes`.
pub fn duration(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    indicatif::HumanDuration(seconds).to_string()
}
