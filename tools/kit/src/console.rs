//! What a person or a program sees: text and JSON on standard output, errors and progress on standard error.

use std::{
    fmt::Arguments,
    io::{self, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Whether standard output is reserved for JSON, so that text goes to standard error.
///
/// Like standard output itself, this belongs to the process.
static JSON_ONLY: AtomicBool = AtomicBool::new(false);

/// Prints a line of text, and returns the error from the calling function where that fails.
///
/// `println!` would panic when the reader of a pipe has gone.
#[macro_export]
macro_rules! say {
    () => {
        $crate::say!("")
    };
    ($($line:tt)+) => {
        $crate::console::print(format_args!($($line)+))?
    };
}

/// Prints a line of text; [`say!`](crate::say) is the usual way to call this.
///
/// # Errors
/// An output that is closed, such as a pipe whose reader has gone.
pub fn print(line: Arguments<'_>) -> io::Result<()> {
    if JSON_ONLY.load(Ordering::Relaxed) {
        writeln!(io::stderr(), "{line}")
    } else {
        writeln!(io::stdout(), "{line}")
    }
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

/// The `--json` option of commands that also print tables.
///
/// With it, the report is the only line on standard output; tables go to standard error, where they can still be
/// watched.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub struct JsonReport {
    /// Report as JSON on standard output; text goes to standard error
    #[arg(long = "json")]
    wanted: bool,
}

impl JsonReport {
    /// Reserves standard output for the report, if one is wanted. Call it before anything is printed.
    pub fn begin(self) {
        JSON_ONLY.store(self.wanted, Ordering::Relaxed);
    }

    /// Prints the report, if it is wanted.
    ///
    /// # Errors
    /// As [`print_json`].
    pub fn print(self, report: &impl Serialize) -> anyhow::Result<()> {
        if self.wanted {
            print_json(report)?;
        }
        Ok(())
    }
}

/// The exit code of a command line that is wrong or asks for help, after its text is printed.
pub fn exit_with_usage(error: &clap::Error) -> ExitCode {
    // Where even that cannot be printed, the exit code still tells.
    let _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The exit code of a command, after its error is printed.
///
/// A broken pipe is not printed: whoever closed the pipe knows.
pub fn exit(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        if !is_broken_pipe(&error) {
            eprintln!("error: {error:#}");
        }
        ExitCode::FAILURE
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A progress bar over `bytes`, on standard error and only where that is a terminal.
#[expect(
    clippy::missing_panics_doc,
    reason = "the template is a constant that is valid"
)]
pub fn progress_bar(bytes: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    );
    let style = style.expect("the template is valid");
    ProgressBar::new(bytes).with_style(style).with_message(what)
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
