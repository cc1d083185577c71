//! Tensors by the names that published checkpoints give them.

use crate::{
    error::CheckpointError,
    spellings::spellings,
    tensors::{Tensor, TensorFiles},
};

/// The tensor that a published checkpoint calls `name`, after the model's `prefix`.
pub(crate) fn find<'a>(
    files: &'a TensorFiles,
    prefix: &str,
    name: &str,
) -> Result<Option<&'a Tensor>, CheckpointError> {
    let mut found = Vec::new();
    for spelling in spellings(name) {
        found.extend(files.resolve(&format!("{prefix}{spelling}"))?);
    }
    match found.as_slice() {
        [] => Ok(None),
        [tensor] => Ok(Some(tensor)),
        _ => Err(files.ambiguous(
            name,
            found.iter().map(|tensor| tensor.name.clone()).collect(),
        )),
    }
}

/// As [`find`].
///
/// # Errors
/// As there, and no such tensor.
pub(crate) fn get<'a>(
    files: &'a TensorFiles,
    prefix: &str,
    name: &str,
) -> Result<&'a Tensor, CheckpointError> {
    find(files, prefix, name)?.ok_or_else(|| files.missing(name))
}
