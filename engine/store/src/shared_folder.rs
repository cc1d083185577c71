//! The files that processes share: their names, and what of them lies in a folder.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use engram_format::{Digest, LayerId, Manifest};
use engram_io::IoError;

const PREFIX: &str = "engram-";
const COPY: &str = ".shard";
const LOCK: &str = ".lock";
const CACHE: &str = ".cache";

/// Name of the copy of the shard whose data have this digest, so that it is no other shard's.
pub(crate) fn copy_name(shard: Digest) -> String {
    format!("{PREFIX}{shard}{COPY}")
}

/// Name of a file that becomes that copy when it is complete. No other process gives it the same `number`.
pub(crate) fn unfinished_name(shard: Digest, number: u64) -> String {
    format!("{PREFIX}{shard}{COPY}.{number:016x}")
}

/// Name of the file that is locked while that copy is made.
pub(crate) fn lock_name(shard: Digest) -> String {
    format!("{PREFIX}{shard}{LOCK}")
}

/// Name of the cache of a layer with so many words: another pack, or another size, is another file.
pub(crate) fn cache_name(manifest: &Manifest, layer: LayerId, words: usize) -> String {
    format!("{PREFIX}{}-layer-{layer}-{words}{CACHE}", digest(manifest))
}

fn digest(manifest: &Manifest) -> Digest {
    Digest::of(manifest.to_text().as_bytes())
}

/// What a file is that processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SharedFileKind {
    /// A copy of a resident column, of [`Config::resident_folder`](crate::Config::resident_folder).
    ResidentColumn,
    /// The cache of a layer, of [`Config::cache_folder`](crate::Config::cache_folder).
    Cache,
    /// A copy that is being made, or whose making was interrupted. The next process that makes a copy in the folder
    /// removes it in that case.
    Unfinished,
    /// An empty file that is locked while a copy is made. It may be removed when no copy is being made.
    Lock,
}

/// A file that processes share, or have shared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub kind: SharedFileKind,
    /// 32 hexadecimal digits: of a cache, the digest of its pack's manifest; else the digest of a shard's data in its
    /// pack's manifest. [`Self::belongs_to`] compares it.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
    /// Whether a process uses it; none if that cannot be told, since only root may see what processes of other users
    /// have mapped. Processes outside this one's container are not seen at all.
    pub in_use: Option<bool>,
}

impl SharedFile {
    /// Whether it is of the pack with this manifest.
    pub fn belongs_to(&self, manifest: &Manifest) -> bool {
        if self.kind == SharedFileKind::Cache {
            return self.digest == digest(manifest).to_string();
        }
        let mut shards = manifest.tables.iter().flat_map(|table| &table.shards);
        shards.any(|shard| self.digest == shard.data.to_string())
    }

    /// Removes the file. Processes that use it go on with its memory, which is free when the last of them has ended;
    /// those that open the pack later make the file anew.
    ///
    /// # Errors
    /// A file that this user may not remove, or that is gone.
    pub fn remove(&self) -> Result<(), IoError> {
        fs::remove_file(&self.path).map_err(IoError::os("remove", &self.path))
    }
}

/// The files in `folder` that stores share, of all packs, in the order of their names. `folder` is the
/// [`Config::resident_folder`](crate::Config::resident_folder) or
/// [`cache_folder`](crate::Config::cache_folder) of some store. Looks at every process to tell which are in use.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// // Remove what no process uses, of whatever pack.
/// for file in engram::shared_files(folder.path())? {
///     if file.in_use == Some(false) {
///         file.remove()?;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A folder that cannot be read.
pub fn shared_files(folder: impl AsRef<Path>) -> Result<Vec<SharedFile>, IoError> {
    let folder = folder.as_ref();
    let unreadable = || IoError::os("read the folder", folder);
    let mapped = Mapped::now();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable())? {
        let entry = entry.map_err(unreadable())?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        let Some((kind, digest)) = parse(name) else {
            continue;
        };
        // One that has gone meanwhile is no longer there.
        let Ok(found) = entry.metadata() else {
            continue;
        };
        let in_use = match kind {
            SharedFileKind::ResidentColumn | SharedFileKind::Cache => {
                mapped.contains(found.ino(), name)
            }
            SharedFileKind::Unfinished | SharedFileKind::Lock => {
                is_locked(&folder.join(format!("{PREFIX}{digest}{LOCK}")))
            }
        };
        files.push(SharedFile {
            path: entry.path(),
            kind,
            digest: digest.into(),
            bytes: found.len(),
            in_use,
        });
    }
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Kind and digest of a file with this name, if processes share such.
fn parse(name: &str) -> Option<(SharedFileKind, &str)> {
    let (digest, rest) = name.strip_prefix(PREFIX)?.split_at_checked(32)?;
    if !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let kind = match rest {
        COPY => SharedFileKind::ResidentColumn,
        LOCK => SharedFileKind::Lock,
        _ if rest.starts_with(COPY) => SharedFileKind::Unfinished,
        _ if rest.ends_with(CACHE) => SharedFileKind::Cache,
        _ => return None,
    };
    Some((kind, digest))
}

/// Removes copies in `folder` whose making was interrupted: those of the shard with digest `mine`, whose lock the
/// caller holds, and those of others that nobody is making.
pub(crate) fn remove_interrupted(folder: &Path, mine: Digest) {
    let mine = mine.to_string();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let Some((SharedFileKind::Unfinished, digest)) = name.to_str().and_then(parse) else {
            continue;
        };
        let lock = folder.join(format!("{PREFIX}{digest}{LOCK}"));
        if digest == mine || is_locked(&lock) == Some(false) {
            // Another user's stays where only its owner may remove it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a process holds the lock at `path`; none if that cannot be told.
fn is_locked(path: &Path) -> Option<bool> {
    match File::open(path).ok()?.try_lock() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// What the processes have mapped that this one may look at.
struct Mapped {
    /// Inodes and names.
    files: HashSet<(u64, String)>,
    /// Whether these are all processes.
    complete: bool,
}

impl Mapped {
    fn now() -> Self {
        let mut mapped = Self {
            files: HashSet::new(),
            complete: true,
        };
        let Ok(processes) = fs::read_dir("/proc") else {
            mapped.complete = false;
            return mapped;
        };
        for process in processes.flatten() {
            let name = process.file_name();
            if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            match fs::read(process.path().join("maps")) {
                Ok(maps) => mapped.add(&String::from_utf8_lossy(&maps)),
                Err(e) if e.kind() == ErrorKind::PermissionDenied => mapped.complete = false,
                // It has ended.
                Err(_) => {}
            }
        }
        mapped
    }

    /// Adds what `/proc/PID/maps` says: address, rights, offset, device, inode, path.
    fn add(&mut self, maps: &str) {
        for line in maps.lines().filter(|line| line.contains(PREFIX)) {
            let mut fields = line.split_ascii_whitespace().skip(4);
            let inode = fields.next().and_then(|inode| inode.parse().ok());
            let name = line.rsplit_once('/').map(|(_, name)| name);
            if let (Some(inode), Some(name)) = (inode, name) {
                self.files.insert((inode, name.into()));
            }
        }
    }

    fn contains(&self, inode: u64, name: &str) -> Option<bool> {
        let found = self.files.contains(&(inode, name.to_owned()));
        (found || self.complete).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_is() {
        let digest = Digest(0xab << 64);
        let text = digest.to_string();
        let cache = format!("engram-{text}-layer-3-1000.cache");
        for (name, kind) in [
            (copy_name(digest), SharedFileKind::ResidentColumn),
            (unfinished_name(digest, 7), SharedFileKind::Unfinished),
            (
                format!("{}.partial", unfinished_name(digest, 7)),
                SharedFileKind::Unfinished,
            ),
            (
                format!("{}.partial", copy_name(digest)),
                SharedFileKind::Unfinished,
            ),
            (lock_name(digest), SharedFileKind::Lock),
            (cache, SharedFileKind::Cache),
        ] {
            assert_eq!(parse(&name), Some((kind, &*text)), "{name}");
        }
        for name in [
            "engram-",
            "engram-abc.shard",
            "other.shard",
            &format!("engram-{text}"),
            &format!("engram-{}.shard", text.replace('a', "x")),
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
