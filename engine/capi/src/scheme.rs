//! Facts about a pack that never change while it is open.

use std::{ffi::c_char, ptr};

use engram::{Column, DEAD, LayerId, RowCodec};

use crate::{border::ask, store::engram_store};

/// The token that marks a position which reads no rows of its own, such as an image token; -1 as `int32_t`. Later
/// n-grams reach neither it nor anything before it.
pub const ENGRAM_DEAD: u32 = 0xFFFF_FFFF;
const _: () = assert!(ENGRAM_DEAD == DEAD);

/// A fact about a store; `otherwise` if it is NULL or has no such thing.
///
/// # Safety
/// `store` is NULL or open.
unsafe fn fact<T>(
    store: *const engram_store,
    otherwise: T,
    find: impl FnOnce(&engram_store) -> Option<T>,
) -> T
where
    T: Copy,
{
    ask(otherwise, || {
        // SAFETY: the caller's promise.
        let store = unsafe { store.as_ref() };
        store.and_then(find).unwrap_or(otherwise)
    })
}

fn codec(store: &engram_store, layer: u32) -> Option<RowCodec> {
    store.codec(LayerId(layer)).ok()
}

fn columns(store: &engram_store, layer: u32) -> Option<&[Column]> {
    store.store().columns(LayerId(layer)).ok()
}

fn column(store: &engram_store, layer: u32, index: usize) -> Option<Column> {
    columns(store, layer)?.get(index).copied()
}

/// Name of the addressing scheme, such as "deepseek-v4.1-flash". It lives as long as the store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_scheme_name(store: *const engram_store) -> *const c_char {
    // SAFETY: the store is NULL or open, as in all functions of this file.
    unsafe {
        fact(store, ptr::null(), |store| {
            Some(store.scheme_name().as_ptr())
        })
    }
}

/// Token ids are below this number (or `ENGRAM_DEAD`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_vocab_size(store: *const engram_store) -> usize {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(store.store().hasher().vocab_size())) }
}

/// Tokens of the longest n-gram, N: the orders are 2 to N, or 1 alone where N is 1 and the row of a token is its id.
/// Also the tokens of a window.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_max_order(store: *const engram_store) -> u32 {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(store.store().scheme().max_order)) }
}

/// Hashes of each order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_heads(store: *const engram_store) -> u32 {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(store.store().scheme().heads)) }
}

/// Columns of each layer, which is the number of rows that a token reads there: orders times heads, or as many as the
/// option `columns` chose. Where it chose other columns for each layer, those of the layer with the most;
/// `engram_layer_column_count` tells of one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_column_count(store: *const engram_store) -> usize {
    // SAFETY: as above.
    unsafe {
        fact(store, 0, |store| {
            let hasher = store.store().hasher();
            let layers = 0..hasher.scheme().layers.len();
            layers.map(|layer| hasher.columns(layer).len()).max()
        })
    }
}

/// Columns of `layer` that are open. 0 if it has no table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_column_count(
    store: *const engram_store,
    layer: u32,
) -> usize {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(columns(store, layer)?.len())) }
}

/// Layers that have a table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_count(store: *const engram_store) -> usize {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(store.store().scheme().layers.len())) }
}

/// The model's id of the layer at `index`, counted from 0 among those that have a table. All other functions take this
/// id. `UINT32_MAX` beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_id(store: *const engram_store, index: usize) -> u32 {
    // SAFETY: as above.
    unsafe {
        fact(store, u32::MAX, |store| {
            Some(store.store().scheme().layers.get(index)?.id.0)
        })
    }
}

/// Rows of `layer`, all columns together, open or not: row ids are below this number. 0 if it has no table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_row_count(store: *const engram_store, layer: u32) -> u64 {
    // SAFETY: as above.
    unsafe {
        fact(store, 0, |store| {
            let scheme = store.store().scheme();
            let layer = scheme.layer_index(LayerId(layer))?;
            Some(scheme.layers[layer].buckets.iter().sum())
        })
    }
}

/// Values of a row of `layer`. 0 if it has no table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_width(store: *const engram_store, layer: u32) -> usize {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(codec(store, layer)?.width())) }
}

/// Bytes of a stored row of `layer`: its values, then its scales. 0 if it has no table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_row_bytes(store: *const engram_store, layer: u32) -> usize {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(codec(store, layer)?.row_bytes())) }
}

/// Bytes of the values of a stored row of `layer`. 0 if it has no table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_value_bytes(store: *const engram_store, layer: u32) -> usize {
    // SAFETY: as above.
    unsafe {
        fact(store, 0, |store| {
            Some(codec(store, layer)?.plane_bytes()[0])
        })
    }
}

/// Bytes of the scales of a stored row of `layer`. 0 if it has none, or no table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_scale_bytes(store: *const engram_store, layer: u32) -> usize {
    // SAFETY: as above.
    unsafe {
        fact(store, 0, |store| {
            Some(codec(store, layer)?.plane_bytes()[1])
        })
    }
}

/// How rows of `layer` are stored, as the manifest says it: such as `bf16`, `fp8_e4m3_ue8m0` (a power of two scales
/// each group of values) or `q8_0`. format-spec/FORMAT.md has the list, which may grow. It lives as long as the store;
/// NULL if the layer has no table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_layer_codec(
    store: *const engram_store,
    layer: u32,
) -> *const c_char {
    // SAFETY: as above.
    unsafe {
        fact(store, ptr::null(), |store| {
            Some(store.codec_name(LayerId(layer))?.as_ptr())
        })
    }
}

/// Tokens of the n-grams of the column at `index` of `layer`, counted among those that are open. 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_column_order(
    store: *const engram_store,
    layer: u32,
    index: usize,
) -> u32 {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(column(store, layer, index)?.order)) }
}

/// Which of the hashes of its order the column at `index` of `layer` is, from 0. 0 if there is no such column.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_column_head(
    store: *const engram_store,
    layer: u32,
    index: usize,
) -> u32 {
    // SAFETY: as above.
    unsafe { fact(store, 0, |store| Some(column(store, layer, index)?.head)) }
}

/// Row id of the first row of the column at `index` of `layer`. 0 if there is no such column.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_column_first_row(
    store: *const engram_store,
    layer: u32,
    index: usize,
) -> u64 {
    // SAFETY: as above.
    unsafe {
        fact(store, 0, |store| {
            Some(column(store, layer, index)?.first_row)
        })
    }
}

/// Rows of the column at `index` of `layer`. 0 if there is no such column.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_column_row_count(
    store: *const engram_store,
    layer: u32,
    index: usize,
) -> u64 {
    // SAFETY: as above.
    unsafe {
        fact(store, 0, |store| {
            Some(column(store, layer, index)?.row_count)
        })
    }
}
