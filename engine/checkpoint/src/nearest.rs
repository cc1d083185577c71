//! Names that are most like one that is missing.

use std::collections::BTreeSet;

/// Names that an error shows.
const SHOWN: usize = 3;
/// Names that are compared letter by letter: those with most parts in common.
const COMPARED: usize = 200;

/// Those of `names` that are most like `name`, which may be the end of one.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let parts: BTreeSet<&str> = name.split('.').collect();
    let common = |other: &str| other.split('.').filter(|part| parts.contains(part)).count();
    let mut likely: Vec<&str> = names.filter(|other| common(other) > 0).collect();
    likely.sort_by_key(|other| usize::MAX - common(other));
    likely.truncate(COMPARED);
    likely.sort_by_key(|other| distance(name, other));
    likely.into_iter().take(SHOWN).map(Into::into).collect()
}

/// Edits (Levenshtein) that make `name` the end of `full`.
fn distance(name: &str, full: &str) -> usize {
    let full = full.as_bytes();
    // A beginning of `full` is a prefix, which costs nothing.
    let mut row = vec![0; full.len() + 1];
    for (done, byte) in name.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (at, other) in full.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[full.len()]
}

/// The names, as a sentence lists them.
pub(crate) fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "none".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// What an error says of names that are most like one that is missing.
pub(crate) fn nearest_of(nearest: &[String]) -> String {
    match nearest {
        [] => "none is like it".into(),
        nearest => format!("the nearest are {}", quoted(nearest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_differ_least_at_their_end() {
        let names = [
            "model.layers.1.engram.embed.wait",
            "layers.2.engram.embed.weight",
            "lm_head",
            "norm.weight",
        ];
        assert_eq!(
            nearest("layers.1.engram.embed.weight", names.into_iter()),
            [
                "layers.2.engram.embed.weight",
                "model.layers.1.engram.embed.wait",
                "norm.weight"
            ]
        );
        assert_eq!(distance("abc", "x.abc"), 0);
        assert_eq!(distance("abc", "x.abd"), 1);
        assert!(nearest("a.b", ["c.d"].into_iter()).is_empty());
    }
}
