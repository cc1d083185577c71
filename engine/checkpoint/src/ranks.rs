//! Files that hold the parts of one rank of a tensor-parallel model each.

/// The rank whose parts the file `name` holds, by its name: `model3-mp8.safetensors`,
/// `model-rank-3-part-0.safetensors`, `model-tp3.safetensors`.
pub(crate) fn rank_of(name: &str) -> Option<u32> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let words: Vec<&str> = stem.split(['-', '_', '.']).collect();
    for (place, word) in words.iter().enumerate() {
        let next = words.get(place + 1);
        let number = match *word {
            "rank" | "tp" => next.and_then(|next| digits(next)),
            // Of a file for each of several ranks, the first word has the rank: `mp` says of how many.
            word if next.is_some_and(|next| after(next, "mp").is_some()) => {
                digits(word.trim_start_matches(|c: char| !c.is_ascii_digit()))
            }
            word => after(word, "rank").or_else(|| after(word, "tp")),
        };
        if number.is_some() {
            return number;
        }
    }
    None
}

/// The number that follows `start` and is the rest of `word`.
fn after(word: &str, start: &str) -> Option<u32> {
    digits(word.strip_prefix(start)?)
}

fn digits(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_told_by_the_names_of_files() {
        for (name, rank) in [
            ("model3-mp8.safetensors", 3),
            ("model-rank-12-part-0.safetensors", 12),
            ("table_rank0.safetensors", 0),
            ("ngram-tp1.safetensors", 1),
            ("tp_07_of_08.safetensors", 7),
        ] {
            assert_eq!(rank_of(name), Some(rank), "{name}");
        }
        for name in [
            "model.safetensors",
            "model-00047-of-00048.safetensors",
            "http1.safetensors",
            "ranking-3.safetensors",
            "model3-mp.safetensors",
        ] {
            assert_eq!(rank_of(name), None, "{name}");
        }
    }
}
