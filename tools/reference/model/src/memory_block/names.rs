//! Names of the tensors of blocks in checkpoints.

use engram::LayerId;
use engram_checkpoint::Family;

/// Whether the tensor `name` of a checkpoint is part of a block or its table.
pub(crate) fn is_part_of_block(name: &str) -> bool {
    let layer = name.split_once("layers.").map(|(_, rest)| rest);
    let part = layer.and_then(|rest| rest.split_once('.'));
    part.is_some_and(|(_, part)| part.starts_with("engram.") || part.starts_with("ple."))
}

/// What the names of a block's tensors begin with, after whatever the checkpoint puts before layers.
pub(super) fn block_name(family: &Family, layer: LayerId) -> String {
    let block = match family {
        Family::Qwen(_) => "ple",
        _ => "engram",
    };
    format!("layers.{layer}.{block}")
}

/// Whether the tensor `name` is none of a block's weights: it belongs to the decoder or to a table.
pub(super) fn is_left_out(family: &Family, name: &str) -> bool {
    !is_part_of_block(name) || is_of_table(family, name)
}

/// Whether the tensor `name` is part of a table or of what addresses it.
fn is_of_table(family: &Family, name: &str) -> bool {
    let part = match family {
        Family::DeepSeek(_) => ".engram.embed.",
        Family::Demo(_) => ".engram.multi_head_embedding.",
        Family::Qwen(_) => ".ple.ple_embedding.",
        // They have no blocks.
        Family::LongCat(_) | Family::Gemma(_) | Family::OverEncoding(_) => return false,
    };
    name.contains(part)
}
