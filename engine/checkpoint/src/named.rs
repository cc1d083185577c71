//! Tensors by the names that published checkpoints give them.

use crate::{
    error::CheckpointError,
    spellings::spellings,
    tensors::{Tensor, TensorFiles},
};

/// The parts, in row order, of the tensor that a published checkpoint calls `name`, after the model's `prefix`: itself,
/// or one for each rank of a tensor-parallel model. None if there is no such tensor.
pub(crate) fn find<'a>(
    files: &'a TensorFiles,
    prefix: &str,
    name: &str,
) -> Result<Vec<&'a Tensor>, CheckpointError> {
    let mut found = Vec::new();
    for spelling in spellings(name) {
        let parts = files.parts(&format!("{prefix}{spelling}"))?;
        if !parts.is_empty() {
            found.push(parts);
        }
    }
    if found.len() > 1 {
        let names = found.iter().map(|parts| parts[0].name.clone());
        return Err(files.ambiguous(name, names.collect()));
    }
    Ok(found.pop().unwrap_or_default())
}

/// As [`find`].
///
/// # Errors
/// As there, and no such tensor.
pub(crate) fn get<'a>(
    files: &'a TensorFiles,
    prefix: &str,
    name: &str,
) -> Result<Vec<&'a Tensor>, CheckpointError> {
    let found = find(files, prefix, name)?;
    if found.is_empty() {
        return Err(files.missing(name));
    }
    Ok(found)
}
