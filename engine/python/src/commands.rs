//! The commands that come with the package.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use pyo3::{Python, pyfunction};

/// Runs `engram-pack` with `args`, the first of which is the program's name. Returns its exit code.
#[pyfunction]
pub(crate) fn run_pack(py: Python<'_>, args: Vec<OsString>) -> u8 {
    run(py, || engram_pack::cli::run(args))
}

/// As `run_pack`, of `engram-bench`.
#[pyfunction]
pub(crate) fn run_bench(py: Python<'_>, args: Vec<OsString>) -> u8 {
    run(py, || engram_bench::cli::run(args))
}

fn run(py: Python<'_>, command: impl FnOnce() -> ExitCode + Send) -> u8 {
    py.detach(|| {
        let ended = command();
        // What Rust's own `main` does at its end. If nobody reads it any more, nobody wants to know.
        let _ = io::stdout().flush();
        let mut codes = 0..=u8::MAX;
        let code = codes.find(|&code| ExitCode::from(code) == ended);
        code.expect("every exit code is a byte")
    })
}
