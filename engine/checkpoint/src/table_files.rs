//! Which files of a checkpoint hold its tables, before they are there.

use std::{collections::BTreeSet, path::Path};

use crate::{
    error::CheckpointError,
    layouts::{CONFIG_FILE, Family, Scales, TableTensors},
    modules::is_draft,
    spellings::spellings,
    tensors::{SINGLE_FILE, read_index},
    token_map::read_token_map,
};

/// Names of the files in which the tables of the checkpoint in `folder` lie, by its configuration and its index. The
/// files themselves need not be there. `tokenizer` is as for [`Checkpoint::open`](crate::Checkpoint::open).
///
/// # Errors
/// A configuration, tokenizer or index that is missing or makes no sense. A checkpoint without an index has one file.
pub fn table_files(
    folder: &Path,
    tokenizer: Option<&Path>,
) -> Result<BTreeSet<String>, CheckpointError> {
    let family = Family::read(folder)?;
    let token_map = family
        .compresses()
        .then(|| read_token_map(folder, tokenizer))
        .transpose()?;
    let scheme = family.scheme(token_map.as_ref());
    let scheme = scheme.map_err(|cause| CheckpointError::Scheme {
        path: folder.join(CONFIG_FILE),
        cause,
    })?;
    let index = read_index(folder)?;
    if index.is_empty() {
        return Ok([SINGLE_FILE.to_owned()].into());
    }
    let tables = (0..scheme.layers.len()).map(|layer| family.table_tensors(&scheme, layer));
    let wanted: Vec<String> = tables.flat_map(|table| names(&table)).collect();
    let is_wanted = |full: &str| {
        wanted.iter().any(|name| {
            full.strip_suffix(name.as_str()).is_some_and(|prefix| {
                (prefix.is_empty() || prefix.ends_with('.')) && !is_draft(prefix)
            })
        })
    };
    let files = index.into_iter().filter(|(name, _)| is_wanted(name));
    Ok(files.map(|(_, file)| file).collect())
}

/// Names that the tensors of a table may have.
fn names(table: &TableTensors) -> Vec<String> {
    let scales = match &table.scales {
        Scales::None => None,
        Scales::Rows { name, .. } | Scales::Named { name } | Scales::Single { name } => Some(name),
    };
    let values = table.values.iter().map(|tensor| &tensor.name);
    let published = values.chain(&table.whole).chain(scales);
    published.flat_map(|name| spellings(name)).collect()
}
