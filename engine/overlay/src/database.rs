//! The database behind an overlay: what is stored, and under which keys.
//!
//! One column family a table has its entries. A key is the kind of the entry, 0 for a row or the order of an n-gram,
//! then the row id in 8 bytes or each id of the n-gram in 4, big-endian; a value is the entry's rows. The default
//! column family says whose edits these are and which version they have, and which keys the last versions changed, so
//! that readers need not read everything again.

mod options;
mod record;

use std::{fs, io::ErrorKind, path::Path};

use engram::LayerId;
use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode, Options, ReadOptions, WriteBatch};

use crate::{
    edits::{CheckedEdit, Edits, Key},
    overlay_error::OverlayError,
    shape::Shape,
};

pub use options::Durability;
use options::{options, write_options};
use record::{decode_key, encode_key, listed_keys, log_key};

const FORMAT_KEY: &[u8] = b"format";
const FORMAT: &[u8] = b"engram-overlay 1";
const PACK_KEY: &[u8] = b"pack";
const VERSION_KEY: &[u8] = b"version";

/// Versions whose changed keys are kept.
const LISTED_VERSIONS: u64 = 1_024;
/// Keys of a version that are listed at most; readers who meet more read everything again.
const LISTED_KEYS: usize = 4_096;

/// An open database of one pack's edits.
pub(crate) struct Database {
    db: DB,
    /// Column families by the index of their table.
    families: Vec<String>,
}

impl Database {
    /// Opens the database in `path` to write it, and makes it if there is none.
    pub(crate) fn open(path: &Path, shape: &Shape) -> Result<Self, OverlayError> {
        check_folder(path)?;
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        if has_database(path) {
            check_families(path, shape, &options)?;
        }
        let database = Self::opened(path, shape, |families| {
            DB::open_cf_descriptors(&options, path, families)
        })?;
        if database.is_empty(path)? {
            let mut batch = WriteBatch::default();
            batch.put(FORMAT_KEY, FORMAT);
            batch.put(PACK_KEY, shape.identity().to_string());
            batch.put(VERSION_KEY, 0_u64.to_be_bytes());
            let written = database
                .db
                .write_opt(batch, &write_options(Durability::Drive));
            written.map_err(|cause| OverlayError::of_database(path, "make", &cause))?;
        }
        database.check_identity(path, shape)?;
        Ok(database)
    }

    /// Opens the database in `path` beside the process that writes it. What this one has to write, such as a log, goes
    /// to the folder `own`.
    pub(crate) fn open_beside(
        path: &Path,
        own: &Path,
        shape: &Shape,
    ) -> Result<Self, OverlayError> {
        check_folder(path)?;
        if !has_database(path) {
            return Err(OverlayError::foreign(path, "it has no database"));
        }
        let options = options();
        check_families(path, shape, &options)?;
        let database = Self::opened(path, shape, |families| {
            DB::open_cf_descriptors_as_secondary(&options, path, own, families)
        })?;
        database.catch_up(path)?;
        database.check_identity(path, shape)?;
        Ok(database)
    }

    fn opened(
        path: &Path,
        shape: &Shape,
        open: impl FnOnce(Vec<ColumnFamilyDescriptor>) -> Result<DB, rocksdb::Error>,
    ) -> Result<Self, OverlayError> {
        let families: Vec<String> = shape.layers().map(family).collect();
        let names = families.iter().map(String::as_str);
        let names = std::iter::once(rocksdb::DEFAULT_COLUMN_FAMILY_NAME).chain(names);
        let all = names.map(|name| ColumnFamilyDescriptor::new(name, options()));
        let db = open(all.collect());
        Ok(Self {
            db: db.map_err(|cause| OverlayError::of_database(path, "open", &cause))?,
            families,
        })
    }

    /// Sees what the writing process has written since.
    pub(crate) fn catch_up(&self, path: &Path) -> Result<(), OverlayError> {
        let caught_up = self.db.try_catch_up_with_primary();
        caught_up.map_err(|cause| OverlayError::of_database(path, "read", &cause))
    }

    /// Whether nothing has been written.
    fn is_empty(&self, path: &Path) -> Result<bool, OverlayError> {
        match self.db.iterator(IteratorMode::Start).next() {
            None => Ok(true),
            Some(Ok(_)) => Ok(false),
            Some(Err(cause)) => Err(OverlayError::of_database(path, "read", &cause)),
        }
    }

    fn check_identity(&self, path: &Path, shape: &Shape) -> Result<(), OverlayError> {
        let text = |key: &[u8]| {
            let found = self.meta(path, key)?;
            let found = found.map(|found| String::from_utf8_lossy(&found).into_owned());
            Ok::<_, OverlayError>(found)
        };
        let format = text(FORMAT_KEY)?;
        if format.as_deref().map(str::as_bytes) != Some(FORMAT) {
            let found = format.unwrap_or_else(|| "none".into());
            let reason = format!("its format is {found:?}, expected \"engram-overlay 1\"");
            return Err(OverlayError::foreign(path, reason));
        }
        let (found, expected) = (
            text(PACK_KEY)?.unwrap_or_default(),
            shape.identity().to_string(),
        );
        if found != expected {
            return Err(OverlayError::OtherPack {
                path: path.into(),
                found,
                expected,
            });
        }
        Ok(())
    }

    fn meta(&self, path: &Path, key: &[u8]) -> Result<Option<Vec<u8>>, OverlayError> {
        let found = self.db.get(key);
        found.map_err(|cause| OverlayError::of_database(path, "read", &cause))
    }

    /// The number of the last version.
    pub(crate) fn version(&self, path: &Path) -> Result<u64, OverlayError> {
        let found = self.meta(path, VERSION_KEY)?;
        let number = found.as_deref().and_then(|bytes| bytes.try_into().ok());
        number.map(u64::from_be_bytes).ok_or_else(|| {
            OverlayError::foreign(path, "it does not say which version its edits have")
        })
    }

    /// Writes checked `edits` as the version `number`, all or none.
    pub(crate) fn write(
        &self,
        path: &Path,
        edits: &[CheckedEdit<'_>],
        number: u64,
        durability: Durability,
    ) -> Result<(), OverlayError> {
        let mut batch = WriteBatch::default();
        let mut list = Vec::new();
        for edit in edits {
            let key = encode_key(edit.key);
            let family = self.family(edit.table);
            match &edit.bytes {
                Some(bytes) => batch.put_cf(family, &key, bytes),
                None => batch.delete_cf(family, &key),
            }
            if edits.len() <= LISTED_KEYS {
                record::list_key(&mut list, edit.table, &key);
            }
        }
        batch.put(VERSION_KEY, number.to_be_bytes());
        batch.put(log_key(number), list);
        if let Some(old) = number.checked_sub(LISTED_VERSIONS) {
            batch.delete(log_key(old));
        }
        let written = self.db.write_opt(batch, &write_options(durability));
        written.map_err(|cause| OverlayError::of_database(path, "write", &cause))
    }

    /// Brings all batches to the drive.
    pub(crate) fn sync(&self, path: &Path) -> Result<(), OverlayError> {
        let synced = self.db.flush_wal(true);
        synced.map_err(|cause| OverlayError::of_database(path, "sync", &cause))
    }

    /// All entries, as edits.
    pub(crate) fn entries(&self, path: &Path, shape: &Shape) -> Result<Edits, OverlayError> {
        let mut edits = Edits::new();
        for (table, layer) in shape.layers().enumerate() {
            let mut reading = ReadOptions::default();
            reading.set_verify_checksums(true);
            let family = self.family(table);
            for entry in self
                .db
                .iterator_cf_opt(family, reading, IteratorMode::Start)
            {
                let entry = entry.map_err(|cause| OverlayError::of_database(path, "read", &cause));
                let (key, rows) = entry?;
                edits.set(layer, known_key(path, layer, &key)?, rows.into_vec());
            }
        }
        Ok(edits)
    }

    /// What was changed after version `from` up to version `to`, as edits; none if that is not known any more.
    pub(crate) fn changes(
        &self,
        path: &Path,
        shape: &Shape,
        from: u64,
        to: u64,
    ) -> Result<Option<Edits>, OverlayError> {
        let layers: Vec<LayerId> = shape.layers().collect();
        let mut edits = Edits::new();
        // An earlier version than the one that was seen is of another overlay in the place of the first.
        if to
            .checked_sub(from)
            .is_none_or(|versions| versions >= LISTED_VERSIONS)
        {
            return Ok(None);
        }
        for number in from + 1..=to {
            let list = self.meta(path, &log_key(number))?.unwrap_or_default();
            if list.is_empty() {
                return Ok(None);
            }
            for listed in listed_keys(&list) {
                let found = listed.and_then(|(table, key)| Some((table, *layers.get(table)?, key)));
                let (table, layer, bytes) = found.ok_or_else(|| {
                    OverlayError::foreign(path, format!("the keys of version {number} are cut"))
                })?;
                let key = known_key(path, layer, bytes)?;
                let rows = self.db.get_cf(self.family(table), bytes);
                let rows = rows.map_err(|cause| OverlayError::of_database(path, "read", &cause));
                match rows? {
                    Some(rows) => edits.set(layer, key, rows),
                    None => edits.remove(layer, key),
                };
            }
        }
        Ok(Some(edits))
    }

    fn family(&self, table: usize) -> &rocksdb::ColumnFamily {
        let family = self.db.cf_handle(&self.families[table]);
        family.expect("it was opened with the database")
    }
}

fn known_key(path: &Path, layer: LayerId, bytes: &[u8]) -> Result<Key, OverlayError> {
    decode_key(bytes).ok_or_else(|| {
        OverlayError::foreign(path, format!("layer {layer} has the key {bytes:02x?}"))
    })
}

/// The column family of a layer's table.
fn family(layer: LayerId) -> String {
    format!("layer-{:02}", layer.0)
}

fn has_database(path: &Path) -> bool {
    path.join("CURRENT").exists()
}

/// Refuses a folder that has other files than those of a database.
fn check_folder(path: &Path) -> Result<(), OverlayError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|cause| OverlayError::Folder {
            path: path.into(),
            cause,
        })?,
    };
    for entry in entries {
        let entry = entry.map_err(|cause| OverlayError::Folder {
            path: path.into(),
            cause,
        })?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = ["CURRENT", "IDENTITY", "LOCK"].contains(&&*name)
            || ["LOG", "MANIFEST-", "OPTIONS-"]
                .iter()
                .any(|start| name.starts_with(start))
            || [".log", ".sst", ".dbtmp"]
                .iter()
                .any(|end| name.ends_with(end));
        if !is_ours {
            return Err(OverlayError::foreign(path, format!("it has a file {name}")));
        }
    }
    Ok(())
}

/// Refuses a database that has other tables than the pack.
fn check_families(path: &Path, shape: &Shape, options: &Options) -> Result<(), OverlayError> {
    let found = DB::list_cf(options, path);
    let found = found.map_err(|cause| OverlayError::of_database(path, "open", &cause))?;
    let known: Vec<String> = shape.layers().map(family).collect();
    let is_known =
        |name: &&String| *name == rocksdb::DEFAULT_COLUMN_FAMILY_NAME || known.contains(name);
    if let Some(name) = found.iter().find(|name| !is_known(name)) {
        let reason = format!("it has a table {name}, the pack has {}", known.join(", "));
        return Err(OverlayError::foreign(path, reason));
    }
    if found.len() <= known.len() {
        // Tables are made before anything is written. So this is one that was left while it was made, or somebody
        // else's, which must not be given any.
        let opened = DB::open_for_read_only(options, path, false);
        let database = opened.map_err(|cause| OverlayError::of_database(path, "open", &cause))?;
        if database.iterator(IteratorMode::Start).next().is_some() {
            return Err(OverlayError::foreign(
                path,
                "it has no tables for the pack's layers",
            ));
        }
    }
    Ok(())
}
