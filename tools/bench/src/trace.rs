//! Tokens of real texts.

use std::path::Path;

pub use engram_pack::read_trace as read;

/// What a file of tokens is called in reports.
pub(crate) fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.trim_start_matches("trace_").to_owned()
}
