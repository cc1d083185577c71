//! Memory that may be taken, mapped in large pages, or locked.

use std::fs;

use engram::MemoryLimit;
use engram_io::Limit;
use engram_kit::console::size;
use serde_json::json;

use super::{Finding, State};

/// Bytes of the buffers that a ring registers, which older kernels count as locked memory.
const RING_BYTES: u64 = 4 << 20;

pub(super) fn available() -> Finding {
    let Some(limit) = MemoryLimit::now() else {
        return Finding::new(
            "memory",
            State::Unknown,
            "the system does not say",
            json!({}),
        );
    };
    let values = json!({ "limit_bytes": limit.bytes, "available_bytes": limit.available });
    let (available, all) = (size(limit.available), size(limit.bytes));
    let said =
        format!("{available} of {all} can be taken, as control groups and the machine leave it");
    Finding::new("memory", State::Good, said, values)
}

pub(super) fn huge_pages() -> Finding {
    let name = "huge pages";
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(choices) = fs::read_to_string(path) else {
        let said = "the kernel has none that come by themselves";
        return Finding::new(name, State::None, said, json!({ "transparent": null }));
    };
    let chosen = chosen(&choices).unwrap_or("unknown");
    let values = json!({ "transparent": chosen });
    match chosen {
        "always" | "madvise" => {
            let said = format!("transparent, {chosen}");
            Finding::new(name, State::Good, said, values)
        }
        other => Finding::new(
            name,
            State::Limited,
            format!("transparent, {other}"),
            values,
        )
        .advice(format!(
            "caches of many GiB are faster with them: `echo madvise >{path}`"
        )),
    }
}

/// The choice in brackets, such as of `always [madvise] never`.
fn chosen(choices: &str) -> Option<&str> {
    let (_, rest) = choices.split_once('[')?;
    rest.split_once(']').map(|(chosen, _)| chosen)
}

pub(super) fn locked() -> Finding {
    let name = "locked memory";
    let Some(limit) = Limit::locked_memory() else {
        return Finding::new(name, State::Unknown, "the limit is not known", json!({}));
    };
    let values = json!({ "soft_bytes": limit.soft, "hard_bytes": limit.hard });
    match limit.soft {
        None => Finding::new(name, State::Good, "any amount", values),
        Some(soft) => {
            let state = if soft < RING_BYTES {
                State::Limited
            } else {
                State::Good
            };
            Finding::new(name, state, format!("up to {}", size(soft)), values)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("always madvise"), None);
    }
}
