//! Tables in GGUF files, which carry the constants of their hash and their token map themselves.

mod columns;
mod cursor;
mod deepseek;
mod error;
mod files;
mod gemma;
mod header;
mod keys;
mod model;
mod qwen;
mod table;
mod tensor_type;

use std::path::Path;

use crate::error::CheckpointError;
use files::GgufFiles;
use header::ARCHITECTURE_KEY;

pub use error::GgufError;
pub(crate) use model::GgufModel;

const EXTENSION: &str = "gguf";

/// Whether `path` names a GGUF file, by its extension.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION))
}

/// File names of the GGUF model that the file `name` is, or is a part of; none if it is no GGUF file.
///
/// ```
/// use engram_checkpoint::gguf_parts;
///
/// assert_eq!(gguf_parts("model.gguf"), Some(vec!["model.gguf".to_owned()]));
/// assert_eq!(gguf_parts("m-00002-of-00002.gguf").map(|parts| parts.len()), Some(2));
/// assert_eq!(gguf_parts("model.safetensors"), None);
/// ```
pub fn gguf_parts(name: &str) -> Option<Vec<String>> {
    is_gguf(Path::new(name)).then(|| files::parts(name))
}

/// The tables in the file `path` and, where that is one part of several, in the others.
///
/// # Errors
/// As [`Checkpoint::open`](crate::Checkpoint::open).
pub(crate) fn open(path: &Path, tokenizer: Option<&Path>) -> Result<GgufModel, CheckpointError> {
    let files = GgufFiles::open(path)?;
    let architecture = files.keys().text(ARCHITECTURE_KEY)?;
    let keys = files.keys().of(&architecture);
    if keys.has("ple.layers") {
        qwen::open(&files, &keys, tokenizer)
    } else if keys.has("engram.layer_ids") {
        deepseek::open(&files, &keys, tokenizer)
    } else if gemma::is_known(&keys) {
        gemma::open(&files, &keys, &architecture, tokenizer)
    } else {
        Err(files.fault(GgufError::NoTable { architecture }))
    }
}
