//! What stands before the names of the model's tensors, and not of a draft head's.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::CheckpointError,
    layouts::TableTensors,
    modules::{is_draft, is_tower},
    spellings::spellings,
    tensors::TensorFiles,
};

const LAYERS: &str = "layers";

/// The prefix of the model's tensors, and what a reader should know of others that were left out.
pub(crate) struct ModelPrefix {
    pub(crate) prefix: String,
    pub(crate) notes: Vec<String>,
}

/// Finds the prefix that the tables of all layers have in common.
///
/// # Errors
/// None, or several, or one that is a draft head's.
pub(crate) fn model_prefix(
    files: &TensorFiles,
    tables: &[TableTensors],
) -> Result<ModelPrefix, CheckpointError> {
    let candidates: Vec<Candidates> = tables
        .iter()
        .map(|table| Candidates::find(files, table))
        .collect();
    if let Some(missing) = candidates
        .iter()
        .find(|candidates| candidates.full_names.is_empty())
    {
        return Err(files.missing(&missing.name));
    }
    let mut common: BTreeSet<&str> = candidates[0].prefixes().collect();
    for candidates in &candidates[1..] {
        common.retain(|prefix| candidates.full_names.contains_key(*prefix));
    }
    common.retain(|prefix| !is_draft(prefix));
    if common.is_empty() {
        return Err(CheckpointError::NoCommonPrefix {
            folder: files.folder().into(),
            found: candidates
                .iter()
                .flat_map(|candidates| candidates.full_names.values().cloned())
                .collect(),
        });
    }
    let layers = Layers::of(files);
    // The model has all layers, a second copy some of them.
    let most: Vec<&str> = common
        .iter()
        .copied()
        .filter(|prefix| common.iter().all(|other| !layers.has_less(prefix, other)))
        .collect();
    let &[prefix] = most.as_slice() else {
        return Err(CheckpointError::AmbiguousTensor {
            folder: files.folder().into(),
            name: candidates[0].name.clone(),
            found: most
                .iter()
                .map(|prefix| candidates[0].full_names[*prefix].clone())
                .collect(),
        });
    };
    let full_name = |candidates: &Candidates| candidates.full_names[prefix].clone();
    // A draft head lies in a module of the model, so its tensors have a prefix.
    let other = layers.with_more(prefix).filter(|_| !prefix.is_empty());
    if let Some(other) = other {
        return Err(CheckpointError::PartialPrefix {
            folder: files.folder().into(),
            tensor: full_name(&candidates[0]),
            layers: layers.of_prefix(prefix).into(),
            others: layers.of_prefix(other).into(),
            other: other.into(),
        });
    }
    let note = |candidates: &Candidates| {
        let others = candidates
            .full_names
            .iter()
            .filter(|(other, _)| other.as_str() != prefix);
        let others: Vec<String> = others.map(|(_, name)| format!("`{name}`")).collect();
        (!others.is_empty()).then(|| {
            let taken = full_name(candidates);
            format!(
                "`{taken}` was taken, which has the prefix of all layers, and not {}",
                others.join(" or ")
            )
        })
    };
    Ok(ModelPrefix {
        prefix: prefix.into(),
        notes: candidates.iter().filter_map(note).collect(),
    })
}

/// The tensors that may be the first of a table.
struct Candidates {
    /// Its name without a prefix.
    name: String,
    /// By prefix.
    full_names: BTreeMap<String, String>,
}

impl Candidates {
    fn find(files: &TensorFiles, table: &TableTensors) -> Self {
        let name = table.values[0].name.clone();
        let names = table
            .whole
            .iter()
            .chain([&name])
            .flat_map(|name| spellings(name));
        let full_names = names.flat_map(|name| {
            let named = files.ending_with(&name);
            named
                .map(move |(prefix, full)| (prefix.to_owned(), full.to_owned()))
                .collect::<Vec<_>>()
        });
        Self {
            full_names: full_names.collect(),
            name,
        }
    }

    fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.full_names.keys().map(String::as_str)
    }
}

/// Numbers of the layers whose tensors have a prefix, for each prefix.
struct Layers(BTreeMap<String, BTreeSet<u64>>);

impl Layers {
    fn of(files: &TensorFiles) -> Self {
        let mut layers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for name in files.names() {
            let Some((prefix, number)) = layer_of(name) else {
                continue;
            };
            match layers.get_mut(prefix) {
                Some(numbers) => _ = numbers.insert(number),
                None => _ = layers.insert(prefix.into(), BTreeSet::from([number])),
            }
        }
        Self(layers)
    }

    fn of_prefix(&self, prefix: &str) -> Vec<u64> {
        self.0.get(prefix).into_iter().flatten().copied().collect()
    }

    /// Whether all layers of `prefix` are among those of `other`, which has more.
    fn has_less(&self, prefix: &str, other: &str) -> bool {
        match (self.0.get(prefix), self.0.get(other)) {
            (Some(few), Some(many)) => few.len() < many.len() && few.is_subset(many),
            _ => false,
        }
    }

    /// Another prefix of the language model's with all the layers of `prefix` and more.
    fn with_more(&self, prefix: &str) -> Option<&str> {
        let others = self
            .0
            .keys()
            .map(String::as_str)
            .filter(|other| !is_tower(other));
        others
            .into_iter()
            .find(|other| self.has_less(prefix, other))
    }
}

/// What precedes `layers` in the name of a layer's tensor, and the layer's number.
fn layer_of(name: &str) -> Option<(&str, u64)> {
    let mut start = 0;
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        if part == LAYERS
            && let Some(number) = parts.peek().and_then(|number| number.parse().ok())
        {
            return Some((&name[..start], number));
        }
        start += part.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_from_their_prefix() {
        assert_eq!(layer_of("layers.7.norm"), Some(("", 7)));
        assert_eq!(
            layer_of("model.mtp.layers.1.x.layers.2"),
            Some(("model.mtp.", 1))
        );
        assert_eq!(layer_of("model.layers.x"), None);
        assert_eq!(layer_of("norm.weight"), None);
    }
}
