//! What a store has done, as text.

use std::ffi::c_char;

use engram::Metrics;

use crate::{
    border::{ask, copy_text},
    store::engram_store,
};

/// What the store has done since it was opened, as a JSON object of one line:
///
///     {"tables": [{"layer": 1, "batches": 2, "rows": 96, "reads": 40, "read_bytes": 163840, "used_bytes": 10560,
///                  "wait_ns": 250000,
///                  "priorities": [{"priority": "decode", "batches": 2, "rows": 96, "wait_ns": 250000}],
///                  "columns": [{"column": 0, "order": 2, "head": 0, "rows": 8, "cached": 3}]}],
///      "in_flight": 0, "cache_bytes": 268435456, "shared_cache_bytes": 0, "frame_reads": 0, "frame_read_bytes": 0,
///      "frame_hits": 0, "frame_cache_bytes": 0, "pooled_bytes": 4096, "seeded_rows": 0, "seed_failures": 0}
///
/// "columns" are those whose rows are fetched from the drive; "frame..." are about cold packs. Later releases may add
/// fields. Copied to the `capacity` bytes at `buffer` as `snprintf` does; returns the length without the NUL, whatever
/// the capacity. It may be longer at the next call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_metrics_json(
    store: *const engram_store,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { copy(store, buffer, capacity, Metrics::to_json) }
}

/// As `engram_metrics_json`, in the text format of Prometheus.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_metrics_prometheus(
    store: *const engram_store,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { copy(store, buffer, capacity, Metrics::to_prometheus) }
}

/// Copies the metrics of a store to C; nothing of NULL.
///
/// # Safety
/// `store` is NULL or open, and `buffer` has room for `capacity` bytes.
unsafe fn copy(
    store: *const engram_store,
    buffer: *mut c_char,
    capacity: usize,
    write: impl FnOnce(&Metrics) -> String,
) -> usize {
    ask(0, || {
        // SAFETY: the caller's promise.
        let store = unsafe { store.as_ref() };
        let text = store.map_or(String::new(), |store| write(&store.store().metrics()));
        // SAFETY: the caller's promise.
        unsafe { copy_text(text.as_bytes(), buffer, capacity) }
    })
}

#[cfg(test)]
mod tests {
    use std::{path::Path, ptr};

    use engram::{Batch, Config, LayerId, Reader, RowId};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn metrics_are_json() {
        let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../format-spec/vectors/deepseek");
        let config = Config::new().reader(Reader::DirectThreads);
        let store = engram_store::with_config(&pack, config).unwrap();
        let rows = [RowId(0), RowId(30), RowId(0)];
        let mut out = [0; 3 * 66];
        store
            .store()
            .lookup(Batch::new(LayerId(3), &rows), &mut out)
            .unwrap();
        // SAFETY: the store is open, and the buffer as long as the first call says and a NUL.
        let text = unsafe {
            let length = engram_metrics_json(&raw const store, ptr::null_mut(), 0);
            let mut text = vec![0_u8; length + 1];
            assert_eq!(
                engram_metrics_json(&raw const store, text.as_mut_ptr().cast(), text.len()),
                length
            );
            assert_eq!(text.pop(), Some(0));
            text
        };
        let metrics: Value = serde_json::from_slice(&text).unwrap();
        let table = &metrics["tables"][1];
        assert_eq!(table["layer"], 3);
        assert_eq!((&table["batches"], &table["rows"]), (&json!(1), &json!(3)));
        let decode = &table["priorities"][0];
        assert_eq!(
            (&decode["priority"], &decode["rows"]),
            (&json!("decode"), &json!(3))
        );
        let columns = table["columns"].as_array().unwrap();
        let rows: u64 = columns
            .iter()
            .map(|column| column["rows"].as_u64().unwrap())
            .sum();
        assert_eq!((rows, &metrics["in_flight"]), (3, &json!(0)));
    }
}
