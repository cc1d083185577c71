//! What a store would choose.

use std::path::Path;

use anyhow::Result;
use engram::{Backend, Config, Store};
use engram_kit::console::size;
use serde_json::json;

use super::{Finding, State};

/// How the pack in `pack` is read with the configuration that nothing is changed in.
pub(super) fn of_pack(pack: &Path) -> Result<Finding> {
    let store = Store::open(pack, Config::new())?;
    let (backend, cache) = (store.backend(), store.metrics().cache_bytes);
    let threads = match backend {
        Backend::Direct { threads, .. } => threads,
        _ => 0,
    };
    let values = json!({
        "backend": backend.to_string(),
        "threads": threads,
        "cache_bytes": cache,
    });
    let said = format!("reads by {backend}; a cache of {}", size(cache));
    Ok(Finding::new("store", State::Good, said, values))
}

/// What is chosen whatever the pack.
pub(super) fn elsewhere() -> Finding {
    let cache = Config::new().cache_bytes_now();
    let values = json!({ "backend": null, "threads": null, "cache_bytes": cache });
    let said = format!(
        "a cache of {}; there is no pack here to try more with",
        size(cache as u64)
    );
    Finding::new("store", State::Good, said, values)
}
