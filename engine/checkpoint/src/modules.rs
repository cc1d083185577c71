//! Modules beside the language model whose tensors are named as its own.

/// Beginnings of the modules of draft heads, which have layers and tables of their own.
const DRAFT_HEADS: [&str; 7] = [
    "mtp", "nextn", "draft", "eagle", "medusa", "specul", "dspark",
];
/// Beginnings of the modules of towers that read images or sound, which have layers but no tables.
const TOWERS: [&str; 6] = ["vis", "audio", "image", "speech", "video", "encoder"];

/// Whether tensors of this prefix are a draft head's.
pub(crate) fn is_draft(prefix: &str) -> bool {
    has_module(prefix, &DRAFT_HEADS)
}

/// Whether tensors of this prefix are a tower's.
pub(crate) fn is_tower(prefix: &str) -> bool {
    has_module(prefix, &TOWERS)
}

fn has_module(prefix: &str, beginnings: &[&str]) -> bool {
    prefix.split('.').any(|module| {
        beginnings
            .iter()
            .any(|beginning| module.starts_with(beginning))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft_heads_and_towers_are_told_from_the_model() {
        assert!(
            ["model.mtp.", "mtp_block.", "draft_model."]
                .iter()
                .all(|prefix| is_draft(prefix))
        );
        assert!(
            ["", "model.", "model.language_model."]
                .iter()
                .all(|prefix| !is_draft(prefix) && !is_tower(prefix))
        );
        assert!(is_tower("model.visual.") && is_tower("vision_tower.encoder."));
    }
}
