//! Names that converters give to the same tensor.

/// Parts of a name, between dots, that mean the same in the names of tables and their scales.
const SAME: [&[&str]; 2] = [
    &["embed", "embed_tokens", "embedding"],
    &["scale", "weight_scale", "weight_scale_inv"],
];
/// What stands before the scales of a module: some leave out that they are of its weight.
pub(crate) const WEIGHT: &str = "weight";
/// What stands for that in the names of its scales.
pub(crate) const SCALE: &str = "weight_scale";
/// The scale of a whole table whose rows have scales, too.
pub(crate) const TABLE_SCALE: &str = "weight_scale_2";
/// What begins the name of a part of a table, before its number.
const PART: &str = "shard_";
/// The same as modules of a list.
const PART_LISTS: [&str; 2] = ["shards", "shard"];

/// What begins the name of a column's table in a LongCat, before its number, and what in older ones.
const COLUMN: [&str; 2] = ["ngram_embeddings.embedders.", "oe_embed_tokens"];

/// Names of the tensor that a published checkpoint calls `name`, that one first.
pub(crate) fn spellings(name: &str) -> Vec<String> {
    let older = name.strip_prefix(COLUMN[0]);
    let older = older.map(|rest| format!("{}{rest}", COLUMN[1]));
    let names = std::iter::once(name.to_owned()).chain(older);
    names.flat_map(|name| spellings_of_parts(&name)).collect()
}

fn spellings_of_parts(name: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let parts: Vec<&str> = name.split('.').collect();
    for (place, part) in parts.iter().enumerate() {
        let is_table = parts
            .get(place + 1)
            .is_some_and(|next| [WEIGHT, TABLE_SCALE].contains(next) || SAME[1].contains(next));
        let choices: Vec<String> = match SAME.iter().position(|same| same.contains(part)) {
            // Only the module that holds the table, and the last part.
            Some(0) if is_table => others_of(part, SAME[0]),
            Some(1) if place + 1 == parts.len() => others_of(part, SAME[1]),
            _ => match part.strip_prefix(PART) {
                Some(number) => {
                    let lists = PART_LISTS.iter().map(|list| format!("{list}.{number}"));
                    std::iter::once((*part).into()).chain(lists).collect()
                }
                None => vec![(*part).into()],
            },
        };
        let dot = if place == 0 { "" } else { "." };
        let longer = |name: &String| {
            choices
                .iter()
                .map(|choice| format!("{name}{dot}{choice}"))
                .collect::<Vec<_>>()
        };
        names = names.iter().flat_map(longer).collect();
    }
    names
}

/// `part`, then the others of `same`.
fn others_of(part: &str, same: &[&str]) -> Vec<String> {
    let others = same.iter().filter(|other| **other != part);
    std::iter::once(part)
        .chain(others.copied())
        .map(Into::into)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converters_rename_the_table_and_its_scales_alone() {
        let names = |name| spellings(name);
        assert_eq!(names("a.b.weight"), ["a.b.weight"]);
        assert_eq!(
            names("e.shard_12.weight"),
            [
                "e.shard_12.weight",
                "e.shards.12.weight",
                "e.shard.12.weight"
            ]
        );
        assert_eq!(
            names("ngram_embeddings.embedders.3.weight"),
            [
                "ngram_embeddings.embedders.3.weight",
                "oe_embed_tokens3.weight"
            ]
        );
        let scales = names("layers.1.engram.embed.scale");
        assert_eq!(scales[0], "layers.1.engram.embed.scale");
        assert_eq!(scales.len(), 9);
        assert!(scales.contains(&"layers.1.engram.embed_tokens.weight_scale_inv".into()));
        let values = names("engram.multi_head_embedding.embedding.weight");
        assert!(
            values
                .iter()
                .all(|name| name.starts_with("engram.multi_head_embedding."))
        );
        assert_eq!(values.len(), 3);
    }
}
