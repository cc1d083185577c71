//! An open pack.

use std::{
    ffi::{CStr, CString, OsStr, c_char},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use engram::{Config, LayerId, LookupError, RowCodec, Store};
use engram_ffi::{ErrorKind, Failure};

use crate::{
    border::{ask, check_place, copy_text, give, shared, take_back, text},
    call::call,
    error::engram_error,
    status::engram_status,
};

/// An open pack: the tables of a model, and the scheme by which tokens address their rows. Any number of threads may
/// use it at the same time.
#[derive(Debug)]
pub struct engram_store {
    store: Store,
    scheme_name: CString,
    /// What the manifest calls the codec of each layer.
    codec_names: Vec<(LayerId, CString)>,
}

impl engram_store {
    fn open(path: &CStr, options: Option<&CStr>) -> Result<Self, Failure> {
        let config = match options {
            None => Config::new(),
            Some(options) => Config::from_json(options.to_str().map_err(|cause| {
                Failure::new(
                    ErrorKind::NotUtf8,
                    format!("the options are not UTF-8: {cause}"),
                )
            })?)?,
        };
        Self::with_config(Path::new(OsStr::from_bytes(path.to_bytes())), config)
    }

    pub(crate) fn with_config(path: &Path, config: Config) -> Result<Self, Failure> {
        let store = Store::open(path, config)?;
        let layers = store.scheme().layers.iter().map(|layer| layer.id);
        let codec_names = layers.map(|layer| Ok((layer, c_text(store.codec(layer)?.name()))));
        Ok(Self {
            scheme_name: c_text(&store.scheme().name),
            codec_names: codec_names.collect::<Result<_, Failure>>()?,
            store,
        })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn scheme_name(&self) -> &CStr {
        &self.scheme_name
    }

    pub(crate) fn codec_name(&self, layer: LayerId) -> Option<&CStr> {
        let mut names = self.codec_names.iter();
        Some(&names.find(|(id, _)| *id == layer)?.1)
    }

    pub(crate) fn codec(&self, layer: LayerId) -> Result<RowCodec, LookupError> {
        self.store.codec(layer)
    }
}

/// Text without the NULs that it may contain.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// Opens the pack in the folder `path`. It checks the manifest, the token map, and the size and header of every shard;
/// columns that are to be resident are loaded.
///
/// `options` is NULL or a JSON object in UTF-8, with any of these fields:
///
///     "reader"           "direct" (default), "direct_threads", "mmap", "pread" or "memory"
///     "check_seals"      true (default) or false
///     "checkpoint"       path of the checkpoint behind an attached pack, where it has moved
///     "stripes"          paths of stripes that have moved, by their number: {"1": "/mnt/drive/stripe"}
///     "columns"          "all" (default), {"rank": R, "ranks": N}, [START, END] or {"LAYER": [START, END]}: the
///                        columns of each layer that are open, such as those of a tensor-parallel rank
///     "resident"         "none" (default), {"orders": N} or {"bytes": SIZE}
///     "resident_folder"  path of a folder in which processes share resident columns
///     "cache_bytes"      SIZE of the cache of rows, 256 MiB by default
///     "cache_folder"     path of a folder in which processes share the cache
///     "profile"          path of a profile, by which the cache is filled and resident columns are chosen
///     "io_threads"       threads that read, 0 (default) for as many as suit
///     "io_depth"         reads in flight of each thread, 256 by default
///     "gather_threads"   threads that work on large batches
///     "pool_bytes"       SIZE of the memory that unused buffers keep, 64 MiB by default
///
/// A SIZE is a number of bytes or text such as "512 MiB".
///
/// The store keeps its files, memory and threads until `engram_store_close`.
///
/// Errors: `ENGRAM_OPTIONS_...`, `ENGRAM_NO_STRIPE`, `ENGRAM_BAD_COLUMNS`, `ENGRAM_NOT_UTF8`; those from
/// `ENGRAM_NOT_A_PACK` to `ENGRAM_UNUSABLE_COPY`, `ENGRAM_DAMAGED_COPY` and `ENGRAM_STRIPE_MISSING`; and what the
/// system refuses, from `ENGRAM_FILE` on. Then `*store` is not written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_store_open(
    path: *const c_char,
    options: *const c_char,
    store: *mut *mut engram_store,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or text that ends with a NUL; `store` is NULL or may be written to.
        unsafe {
            check_place(store, "store")?;
            let path = text(path, "path")?;
            let options = (!options.is_null()).then(|| text(options, "options"));
            give(
                store,
                engram_store::open(path, options.transpose()?)?,
                "store",
            )
        }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Closes a store. Tickets that were asked of it are still served, and batches, sequences and row ids do not need it.
/// NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_store_close(store: *mut engram_store) {
    // SAFETY: it is NULL, or was given by `engram_store_open` and is used no more.
    unsafe { take_back(store) };
}

/// How files are read, as far as the system allowed, for people: such as `io_uring, 1 thread`. Copied to the `capacity`
/// bytes at `buffer` as `snprintf` does; returns the length without the NUL, whatever the capacity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_store_backend(
    store: *const engram_store,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    ask(0, || {
        // SAFETY: the pointer is NULL or an open store.
        let store = unsafe { store.as_ref() };
        let backend = store.map_or(String::new(), |store| store.store.backend().to_string());
        // SAFETY: the caller says how large the buffer is.
        unsafe { copy_text(backend.as_bytes(), buffer, capacity) }
    })
}

/// Waits until the rows of the option "profile" are in the cache, as many as it had room for. `rows` may be NULL; it is
/// set to how many were read, 0 without a profile or a cache. Lookups need not wait for it.
///
/// Errors: `ENGRAM_DAMAGED`, `ENGRAM_UNREAD` and others of `engram_lookup`, of the first rows that could not be read.
/// The others have been taken in all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_store_wait_seeded(
    store: *const engram_store,
    rows: *mut u64,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointer is NULL or an open store.
        let seeded = unsafe { shared(store, "store")? }.store.wait_seeded()?;
        if !rows.is_null() {
            // SAFETY: then it may be written to.
            unsafe { rows.write(seeded) };
        }
        Ok(())
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}
