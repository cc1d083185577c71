//! What a person or a program sees.

use std::{
    fmt::Arguments,
    io::{self, Write},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Prints a line to standard output, and returns from the function where that fails.
macro_rules! say {
    ($($line:tt)*) => {
        crate::console::print(format_args!($($line)*))?
    };
}

/// Prints a line; `println!` would panic where the reader has gone.
pub(crate) fn print(line: Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Whether the reader of our output has gone, of which nobody need be told.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A progress bar over `bytes`, visible on a terminal only.
pub(crate) fn progress_bar(bytes: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    );
    let style = style.expect("the template is valid");
    ProgressBar::new(bytes).with_style(style).with_message(what)
}

/// Prints `value` as JSON on one line.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// `bytes` in the largest binary unit that leaves a whole number before the point.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Bytes a second, in the same way.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people"
)]
pub(crate) fn rate(bytes: u64, seconds: f64) -> String {
    format!("{}/s", size((bytes as f64 / seconds.max(1e-9)) as u64))
}
